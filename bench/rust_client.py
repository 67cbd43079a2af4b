"""The Rust client. The program in the folder client measures it."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

from notify import WRITERS
from functions import SAVE
from pgbench import Run
from server import DURABLE, SUPERUSER, Failure, Server, end_with_parent
from table import DATA, IP, USER_AGENT, USERS, make_living

REVOKES = 300
# One revocation takes some milliseconds, or a few hundred where processors are scarce.
WRITING_SECONDS = 900
PATIENCE = 10

_HERE = pathlib.Path(__file__).resolve().parent
_PROGRAM = _HERE.parent / "target" / "bench" / "release" / "qsessions-bench"


def measure(server, rows, rounds, seconds, say):
    """The lines of the report, and whether all limits are met."""
    if not _PROGRAM.exists():
        raise Failure(f"no {_PROGRAM}; `make bench` builds it")
    settings = {"BENCH_ROUNDS": rounds, "BENCH_SECONDS": seconds, "BENCH_REVOKES": max(REVOKES * rounds // 40, 50)}
    say("the client's statements against bare ones, 1 and 16 tasks")
    unflushed, _ = _run("statements", server, settings | {"BENCH_JUDGED": "false"})
    say("loads that a cache cannot answer, 1 and 16 tasks")
    missed, missing_is_fast = _run("misses", server, settings)
    with Redis() as redis:
        say("the client's cache" + ("" if redis.url else "; there is no redis-server to stand beside it"))
        cached, good = _run("cached", server, settings | redis.settings())
    durable, fine = _durable(rows, settings, say)
    return [*unflushed, "", *missed, "", *cached, "", *durable], good and fine and missing_is_fast


def measure_visits(server, rounds, seconds, say):
    """The same for visits, for which no request waits."""
    if not _PROGRAM.exists():
        raise Failure(f"no {_PROGRAM}; `make bench` builds it")
    say("resumes through the client's cache, with visits due and without")
    return _run("visits", server, {"BENCH_ROUNDS": rounds, "BENCH_SECONDS": seconds})


def _run(part, server, settings):
    """The output of the program, and whether all limits are met."""
    done = subprocess.run(
        [_PROGRAM, part], env=_environment(server, settings), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise Failure(f"the client's bench failed: {done.stderr.strip()}")
    return done.stdout.splitlines(), done.returncode == 0


def _environment(server, settings):
    settings = {
        "BENCH_POSTGRES": f"host={server.folder} user={SUPERUSER} dbname=bench",
        "BENCH_SOCKET_FOLDER": server.folder, "BENCH_USER": SUPERUSER, "BENCH_DATABASE": "bench",
        "BENCH_DATA": DATA, "BENCH_IP": IP, "BENCH_USER_AGENT": USER_AGENT, "BENCH_USERS": USERS,
        **settings}
    return os.environ | {name: str(value) for name, value in settings.items()}


def _durable(rows, settings, say):
    """The measurements that depend on the time of a commit, on a durable server."""
    with Server(DURABLE) as server:
        say(f"filling a durable server's table with {rows:,} sessions")
        make_living(server, rows)
        say("the client's statements there")
        statements, good = _run("statements", server, settings | {"BENCH_JUDGED": "true"})
        revoked, fine = _revoke(server, rows, settings, say)
    return ["fsync and synchronous_commit on:", "", *statements, "", *revoked], good and fine


def _revoke(server, rows, settings, say):
    """How soon another process sees a revocation while writers save."""
    say(f"revocations while {WRITERS} writers save")
    writers = Run(server, rows, SAVE, WRITING_SECONDS, clients=WRITERS)
    try:
        # Until all of them are connected and the notifier runs.
        time.sleep(2)
        before, begin = _saves(server), time.monotonic()
        lines, good = _run("revoke", server, settings)
        # A backend adds its counts to the view about once a second.
        speed = (_saves(server) - before) / (time.monotonic() - begin)
        if writers.process.poll() is not None:
            raise Failure("the writers ended early: " + (writers.folder / "output").read_text(errors="replace"))
    finally:
        writers.process.kill()
        writers.process.wait()
    return [f"{WRITERS} writers save {speed:,.0f} sessions/s; {lines[0]}", *lines[1:]], good


def _saves(server):
    return int(server.sql("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'qsessions.session'::regclass"))


class Redis:
    """A redis-server without files, on a free loopback port; started by `with` if the program is there."""

    def __init__(self):
        self.program = shutil.which("redis-server")
        self.url = None

    def settings(self):
        return {"BENCH_REDIS": self.url} if self.url else {}

    def __enter__(self):
        if not self.program:
            return self
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory(prefix="qsessions-bench-redis-")
        log = pathlib.Path(self.folder.name) / "log"
        with open(log, "wb") as file:
            self.process = subprocess.Popen(
                [self.program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"],
                cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                preexec_fn=end_with_parent)
        deadline = time.monotonic() + PATIENCE
        while not _listens(port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")
                self.__exit__()
                raise Failure("redis-server does not start: " + text)
            time.sleep(0.05)
        self.url = f"redis://127.0.0.1:{port}"
        return self

    def __exit__(self, *_):
        if self.program:
            self.process.kill()
            self.process.wait()
            self.folder.cleanup()


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
