"""A server that is replaced while clients keep their sessions, and clients that click without a pause."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
from http.cookies import SimpleCookie

from moving import environment


@contextlib.contextmanager
def listening():
    """Gives a socket on which one server after the other accepts: connections in between wait in its queue."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        listener.set_inheritable(True)
        yield listener


class Server:
    """Gunicorn with the project that moves, on a socket that outlives it."""

    def __init__(self, listener, settings, workers=1, **more):
        number = listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "moving_shop.wsgi", f"--bind=fd://{number}", f"--workers={workers}",
             "--threads=4", "--graceful-timeout=30", "--no-control-socket", "--log-level=warning"],
            env=environment(settings, **more), pass_fds=[number])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Has the server end the requests that it has begun, and waits for its end."""
        self.process.terminate()
        try:
            assert self.process.wait(timeout=60) == 0
        finally:
            self.process.kill()


class Client:
    """A browser that is signed in as a user, and that counts its clicks."""

    def __init__(self, port, name):
        self.port, self.name = port, name
        self.cookie = None
        self.clicks = self.tries = 0
        self.is_clicking = False
        self.faults = []

    def send(self, path):
        """Sends a request; returns the status and the body, and keeps the cookie."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
        if self.cookie:
            headers["Cookie"] = f"sessionid={self.cookie}"
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            sent = SimpleCookie(response.headers.get("Set-Cookie", ""))
            if "sessionid" in sent:
                self.cookie = sent["sessionid"].value or None
            return response.status, body
        finally:
            connection.close()

    def log_in(self):
        """Signs in."""
        status, body = self.send(f"/log_in?name={self.name}")
        assert status == 200 and self.cookie, body

    def user(self):
        """Returns the user that the application sees, and keeps what is wrong with the answer in `faults`."""
        self.is_clicking = True
        status, body = self.send("/click")
        self.is_clicking = False
        self.tries += 1
        if status != 200:
            self.faults.append(f"status {status}")
            return None
        told = json.loads(body)
        if told["user"] is not None:
            self.clicks += 1
            if told["clicks"] != self.clicks:
                self.faults.append(f"{told['clicks']} clicks instead of {self.clicks}")
        return told["user"]

    def click(self):
        """Clicks as a user whose login must be there."""
        if self.user() != self.name:
            self.faults.append(f"no login after {self.clicks} clicks")


class Load:
    """Threads that have all clients click, round after round."""

    def __init__(self, clients, threads=8):
        self.clients = clients
        self.news = threading.Condition()
        self.stopping = False
        self.errors = []
        shares = [clients[number::threads] for number in range(threads)]
        self.threads = [threading.Thread(target=self._run, args=(share,)) for share in shares]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def begin(self):
        """Begins to click."""
        for thread in self.threads:
            thread.start()

    def end(self):
        """Ends with the click that has begun."""
        self.stopping = True
        for thread in self.threads:
            if thread.ident is not None:
                thread.join()

    def _run(self, clients):
        try:
            while not self.stopping:
                for client in clients:
                    if self.stopping:
                        return
                    client.click()
                    with self.news:
                        self.news.notify_all()
        except Exception as error:  # of a connection: the test must not wait for this thread
            with self.news:
                self.errors.append(error)
                self.news.notify_all()

    def wait_for_round(self):
        """Waits until each client has begun a click, and got its answer, since the call began."""
        with self.news:
            # A click that is under way may have begun before.
            waiting = {client: client.tries + (2 if client.is_clicking else 1) for client in self.clients}

            def is_over():
                for client in [client for client, wanted in waiting.items() if client.tries >= wanted]:
                    del waiting[client]
                return self.errors or not waiting

            assert self.news.wait_for(is_over, timeout=300) and not self.errors, self.errors
