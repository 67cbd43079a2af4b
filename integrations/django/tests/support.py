"""A browser, and a view of the database from outside of the application."""

import contextlib
import http.client
import io
import json
import threading
import time
import wsgiref.simple_server
from http.cookies import SimpleCookie
from socketserver import ThreadingMixIn

import django
from psycopg.rows import namedtuple_row

IS_ASYNC = django.VERSION >= (5, 1)
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Server(ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """Serves each request in a thread of its own."""

    daemon_threads = True


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    """Prints nothing."""

    def log_message(self, *_):
        """Is called for each request."""


def with_address(application):
    """Sets REMOTE_ADDR from a header, because servers report addresses in different forms."""

    def answer(environ, start_response):
        address = environ.pop("HTTP_X_ADDRESS", None)
        if address == "absent":
            del environ["REMOTE_ADDR"]
        elif address is not None:
            environ["REMOTE_ADDR"] = json.loads(address)
        return application(environ, start_response)

    return answer


@contextlib.contextmanager
def serving(application):
    """Serves a WSGI application, and gives its port."""
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, with_address(application), Server, Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Answer:
    """A response."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.cookie = SimpleCookie()
        for header in response.headers.get_all("Set-Cookie", ()):
            self.cookie.load(header)

    def json(self):
        """The body, decoded."""
        return json.loads(self.body)


class Browser:
    """A client that keeps its cookie in `key`."""

    port = None
    database = None
    traces = io.StringIO()

    def __init__(self, key=None):
        self.key = key

    def send(self, method, path, body=None, **headers):
        """Sends a request; `body` becomes JSON, and an underscore in the name of a header a hyphen."""
        from project import tools

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers.setdefault("User-Agent", USER_AGENT)
        if self.key is not None:
            headers.setdefault("Cookie", f"sessionid={self.key}")
        tools.statements.clear()
        try:
            connection.request(method, "/" + path, None if body is None else json.dumps(body), headers)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        if "sessionid" in answer.cookie:
            cookie = answer.cookie["sessionid"]
            ends = cookie["max-age"] != "" and int(cookie["max-age"]) <= 0
            self.key = None if ends else cookie.value
        return answer

    def get(self, path, **headers):
        """Sends a GET request."""
        return self.send("GET", path, **headers)

    def post(self, path, body=None, expected=200, **headers):
        """Sends a POST request, and expects a status."""
        answer = self.send("POST", path, body, **headers)
        assert answer.status == expected, f"{path} gave {answer.status}: {self.traces.getvalue()}"
        return answer

    def whoami(self, **headers):
        """Returns what the application knows: key, user and data."""
        answer = self.get("whoami", **headers)
        assert answer.status == 200, f"whoami gave {answer.status}: {self.traces.getvalue()}"
        return answer.json()

    def log_in(self, name, password="secret", **more):
        """Signs in."""
        return self.post("log_in", {"name": name, "password": password, **more})

    def row(self):
        """Returns the row of the session table, or None."""
        return self.database.row(
            """SELECT id, user_id, data, host(ip) AS ip, user_agent, client_hints, created_at, authenticated_at,
                      updated_at, last_seen_at, expires_at, idle_timeout, NULLIF(deadline, 'infinity') AS deadline, version
               FROM qsessions.session WHERE digest = sha256(%s::text::bytea)""",
            self.key)


class Database:
    """A connection as superuser, beside those of Django."""

    def __init__(self, connection):
        self.connection = connection

    def rows(self, statement, *arguments):
        """Returns all rows, as named tuples."""
        with self.connection.cursor(row_factory=namedtuple_row) as cursor:
            cursor.execute(statement, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def row(self, statement, *arguments):
        """Returns the only row, or None."""
        rows = self.rows(statement, *arguments)
        assert len(rows) < 2, rows
        return rows[0] if rows else None

    def value(self, statement, *arguments):
        """Returns the only value."""
        (value,) = self.row(statement, *arguments)
        return value

    def sessions(self):
        """The number of rows."""
        return self.value("SELECT count(*) FROM qsessions.session")

    def has_session(self, key):
        """Whether a key opens a session."""
        return self.value("SELECT qsessions.session_exists(%s)", key)

    def listed(self, user):
        """The ids of a user's sessions."""
        return {row.id for row in self.rows("SELECT id FROM qsessions.user_sessions(%s)", user.pk)}

    def revoke_all(self, user):
        """Ends a user's sessions."""
        return self.value("SELECT qsessions.revoke_user_sessions(%s)", user.pk)

    def change_password(self, user, password):
        """Changes a password behind Django's back."""
        from django.contrib.auth.hashers import make_password

        self.rows("UPDATE auth_user SET password = %s WHERE id = %s", make_password(password), user.pk)

    def end(self, key):
        """Ends a session that is live."""
        assert self.value("SELECT qsessions.logout(%s)", key)


def assert_belongs_to(browser, user):
    """Asserts that the session belongs to the user, and that revoking the user's sessions ends it."""
    database = browser.database
    row = browser.row()
    assert row is not None and row.user_id == user.pk, row
    assert browser.whoami()["user"] == user.pk
    assert row.id in database.listed(user)
    assert database.revoke_all(user) >= 1
    until(lambda: browser.whoami()["user"] is None)
    assert not database.has_session(browser.key or "none at all")


def until(condition):
    """Waits until a condition holds: a cache knows what another program has changed after some milliseconds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def kinds(*views):
    """Returns the names of views, and of those that do the same asynchronously where this Django has them."""
    return [*views, *(f"async_{view}" for view in views if IS_ASYNC)]
