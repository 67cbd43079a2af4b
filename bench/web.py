"""A handler of axum that reads the session, behind each of several layers. The program in the folder web serves it."""

import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from statistics import median

from server import SUPERUSER, Failure, Server, end_with_parent
from table import DATA, USER_AGENT

CONNECTIONS = 16
# A first request of each session records the visit, a second one loads the session into the cache.
WARM_UP_PASSES = 3
PATIENCE = 120
# A process that goes on after a stop has missed seconds: it first reads what has come meanwhile.
SETTLE_SECONDS = 0.2

_HERE = pathlib.Path(__file__).resolve().parent
_PROGRAM = _HERE.parent / "target" / "bench" / "release" / "qsessions-web-bench"
# The pools of all processes need more connections than the default of the other parts.
_SETTINGS = "max_connections = 100\n"
_TABLE = """
CREATE EXTENSION qsessions;
CREATE TABLE users (id bigint PRIMARY KEY);
INSERT INTO users SELECT n FROM generate_series(1, {sessions}) AS n;
SELECT qsessions.create_session_table('users');
"""


@dataclass(frozen=True)
class Layer:
    """A layer around the handler: its name for the program and for people, and the file of its cookies."""

    name: str
    title: str
    cookies: str


NONE = Layer("none", "without sessions", "qsessions")
CACHED = Layer("qsessions-cached", "qsessions, cached", "qsessions")
UNCACHED = Layer("qsessions", "qsessions", "qsessions")
TOWER_CACHED = Layer("tower-cached", "tower-sessions, cached", "tower")
TOWER = Layer("tower", "tower-sessions", "tower")
BOTH_CACHED = Layer("qsessions-tower-cached", "qsessions in tower-sessions, cached", "qsessions-tower")
BOTH = Layer("qsessions-tower", "qsessions in tower-sessions", "qsessions-tower")
LAYERS = [NONE, CACHED, TOWER_CACHED, BOTH_CACHED, UNCACHED, TOWER, BOTH]
# A layer, another one, and the least ratio of their speeds.
COMPARISONS = [
    (CACHED, NONE, 0.9), (CACHED, TOWER_CACHED, 1), (CACHED, TOWER, 1), (UNCACHED, TOWER, 1),
    (BOTH_CACHED, TOWER_CACHED, None), (BOTH, TOWER, None)]

_LINE = "{:<36} {:>10} {:>11} {:>14}"
_RATIO = "{:<36} {:<24} {:>6} {:>7} {:>8} {:>10} {:>7}  {}"


def measure(sessions, rounds, seconds, say):
    """The lines of the report, and whether all ratios are high enough."""
    if not _PROGRAM.exists():
        raise Failure(f"no {_PROGRAM}; `make bench` builds it")
    if not shutil.which("wrk"):
        raise Failure("there is no wrk; `scripts/setup bench` unpacks it")
    with Server(_SETTINGS) as server, tempfile.TemporaryDirectory(prefix="qsessions-bench-web-") as folder:
        say(f"a handler of axum with {sessions:,} sessions")
        server.sql("CREATE DATABASE web", "postgres")
        server.sql(_TABLE.format(sessions=sessions), "web")
        folder = pathlib.Path(folder)
        _fill(server, sessions, folder)
        server.sql("VACUUM ANALYZE", "web")
        with contextlib.ExitStack() as stack:
            handlers = []
            for layer in LAYERS:
                say(f"warming up: {layer.title}")
                handlers.append(stack.enter_context(Handler(server, layer, sessions, folder)))
                handlers[-1].hold()
            server.sql("VACUUM ANALYZE", "web")
            say(f"{rounds} rounds of {len(LAYERS)} layers")
            turns = [_round(server, handlers, number, seconds) for number in range(rounds)]
    return _report(turns)


def _environment(server, sessions):
    settings = {
        "BENCH_POSTGRES": f"host={server.folder} user={SUPERUSER} dbname=web",
        "BENCH_SOCKET_FOLDER": server.folder, "BENCH_USER": SUPERUSER, "BENCH_DATABASE": "web",
        "BENCH_DATA": DATA, "BENCH_SESSIONS": sessions, "BENCH_WORKERS": _workers()}
    return os.environ | {name: str(value) for name, value in settings.items()}


def _workers():
    """Threads of a server. The other half of the processors is for wrk and PostgreSQL."""
    return max((os.cpu_count() or 1) // 2, 1)


def _fill(server, sessions, folder):
    done = subprocess.run(
        [_PROGRAM, "fill", folder], env=_environment(server, sessions), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"the sessions cannot be made: {done.stderr.strip()}")


class Handler:
    """A server with the handler behind a layer, and a wrk that sends requests to it; started and warmed up by `with`."""

    def __init__(self, server, layer, sessions, folder):
        self.server, self.layer, self.sessions, self.folder = server, layer, sessions, folder
        self.processes = []

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self):
        self.log = self.folder / f"{self.layer.name}.log"
        with open(self.log, "wb") as log:
            self.server_process = subprocess.Popen(
                [_PROGRAM, "serve", self.layer.name], env=_environment(self.server, self.sessions), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log, preexec_fn=end_with_parent)
            self.processes.append(self.server_process)
            port = self.server_process.stdout.readline().decode().strip()
            if not port:
                raise self._failure("does not start")
            self.address = f"127.0.0.1:{port}"
            threads = str(_workers())
            self.processes.append(subprocess.Popen(
                ["wrk", "--threads", threads, "--connections", str(CONNECTIONS), "--duration", "24h",
                 "--script", _HERE / "web" / "requests.lua", f"http://{self.address}/", "--",
                 self.folder / self.layer.cookies, USER_AGENT],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_parent))
        deadline = time.monotonic() + PATIENCE
        while self.count() < WARM_UP_PASSES * self.sessions:
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                raise self._failure(f"does not answer {WARM_UP_PASSES * self.sessions:,} requests in {PATIENCE} s")
            time.sleep(0.1)

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        if self.processes:
            self.server_process.stdout.close()

    def hold(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGSTOP)

    def go_on(self):
        for process in self.processes:
            process.send_signal(signal.SIGCONT)

    def count(self):
        """How many requests had the right answer."""
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=PATIENCE)) as connection:
            connection.request("GET", "/count")
            read, failed = map(int, connection.getresponse().read().split())
        if failed:
            raise self._failure(f"has answered {failed} requests without a session")
        return read

    def processor_seconds(self):
        """The processor time that all threads of the server have used."""
        nanoseconds = 0
        for thread in pathlib.Path(f"/proc/{self.server_process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                nanoseconds += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
        return nanoseconds / 1e9

    def _failure(self, text):
        return Failure(f"the handler {self.layer.title} {text}: " + self.log.read_text(errors="replace").strip())


@dataclass(frozen=True)
class Turn:
    """What a handler has done in its turn."""

    requests: int
    seconds: float
    processor: float
    postgres: float

    def speed(self):
        return self.requests / self.seconds

    def processor_speed(self):
        return self.requests / (self.processor + self.postgres)


def _round(server, handlers, number, seconds):
    """A turn of each of them. The last one is the first one next time."""
    turns = {}
    for handler in handlers if number % 2 == 0 else reversed(handlers):
        handler.go_on()
        time.sleep(SETTLE_SECONDS)
        before = _look(server, handler)
        time.sleep(seconds)
        after = _look(server, handler)
        handler.hold()
        turns[handler.layer] = Turn(*(late - early for late, early in zip(after, before, strict=True)))
    return turns


def _look(server, handler):
    return handler.count(), time.monotonic(), handler.processor_seconds(), server.processor_seconds()


def _report(rounds):
    lines = [_LINE.format("handler", "requests/s", "handler us", "PostgreSQL us")]
    for layer in LAYERS:
        turns = [turns[layer] for turns in rounds]
        lines.append(_LINE.format(
            layer.title, f"{median(turn.speed() for turn in turns):,.0f}",
            f"{median(1e6 * turn.processor / turn.requests for turn in turns):,.1f}",
            f"{median(1e6 * turn.postgres / turn.requests for turn in turns):,.1f}"))
    lines += ["", _RATIO.format(
        "requests/s", "against", "ratio", "lowest", "highest", "processor", "wanted", "").rstrip()]
    all_good = True
    for ours, theirs, wanted in COMPARISONS:
        ratios = [turns[ours].speed() / turns[theirs].speed() for turns in rounds]
        processor = [turns[ours].processor_speed() / turns[theirs].processor_speed() for turns in rounds]
        verdict = ""
        if wanted:
            good = median(ratios) >= wanted
            all_good &= good
            verdict = "ok" if good else "short"
        lines.append(_RATIO.format(
            ours.title, theirs.title, f"{median(ratios):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}",
            f"{median(processor):.2f}", f">= {wanted}" if wanted else "", verdict).rstrip())
    return lines, all_good
