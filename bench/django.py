"""Django's session interface: qsessions-django against django-qsessions. django_sessions/worker.py does the work."""

import contextlib
import os
import pathlib
import subprocess
from dataclasses import dataclass
from statistics import median

from rust_client import Redis
from server import SUPERUSER, Failure, Server, end_with_parent

OPERATIONS = ["load", "save", "login", "list"]
# Sessions of the user of "list".
LISTED = 10
# What a turn does before it counts: a process that has waited reads what it was notified of meanwhile.
SETTLE_SECONDS = 0.1

_HERE = pathlib.Path(__file__).resolve().parent
_WORKER = _HERE / "django_sessions" / "worker.py"
_SETTINGS = "max_connections = 100\n"
_LINE = "{:<7} {:<22} {:<34} {:>11} {:>11} {:>6} {:>7} {:>8} {:>10} {:>7}  {}"


@dataclass(frozen=True)
class Side:
    """An engine, and the cache of Django that it uses."""

    title: str
    engine: str
    cache: str = ""


OURS = Side("ours, db", "qsessions_django.backends.db")
OURS_CACHED = Side("ours, cached_db", "qsessions_django.backends.cached_db")
THEIRS = Side("django-qsessions, db", "qsessions.backends.db")
THEIRS_LOCMEM = Side("django-qsessions, cached_db, locmem", "qsessions.backends.cached_db", "locmem")
THEIRS_REDIS = Side("django-qsessions, cached_db, redis", "qsessions.backends.cached_db", "redis")


def measure(rounds, seconds, say):
    """The lines of the report, and whether ours is ahead in each comparison."""
    python = _python()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(_SETTINGS))
        redis = stack.enter_context(Redis())
        sides = [OURS, OURS_CACHED, THEIRS, THEIRS_LOCMEM]
        if redis.url:
            sides.append(THEIRS_REDIS)
        else:
            say("there is no redis-server: its side is left out")
        city = server.make_folder("geoip") / "bench-city.mmdb"
        subprocess.run([python, _WORKER.with_name("make_city.py"), city], check=True)
        workers = []
        for number, side in enumerate(sides):
            say(f"making sessions: {side.title}")
            workers.append(stack.enter_context(Worker(server, redis, python, side, f"django_{number}", city)))
        for worker in workers:
            if worker.places != LISTED:
                raise Failure(f"{worker.side.title} finds {worker.places} of {LISTED} places")
        say(f"{rounds} rounds of {len(OPERATIONS)} operations and {len(sides)} sides")
        turns = [_round(workers, number, seconds) for number in range(rounds)]
    return _report(sides, turns)


def _python():
    """The Python of the venv that scripts/setup has made."""
    python = _HERE.parent / ".build" / "django" / "bench" / "bin" / "python"
    if not python.exists():
        raise Failure(f"no {python}; `scripts/setup bench` makes it")
    return python


class Worker:
    """A process of Django with a database of its own; `with` starts it and makes its sessions."""

    def __init__(self, server, redis, python, side, database, city):
        self.server, self.redis, self.python, self.side = server, redis, python, side
        self.database, self.city = database, city

    def __enter__(self):
        server = self.server
        server.sql(f"CREATE DATABASE {self.database}", "postgres")
        server.sql(f"ALTER DATABASE {self.database} SET qsessions.geoip_path = '{self.city}'", "postgres")
        server.sql("CREATE EXTENSION qsessions; SELECT qsessions.geoip_reload()", self.database)
        cache = self.redis.url if self.side.cache == "redis" else self.side.cache
        self.log = server.folder / f"{self.database}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [self.python, _WORKER, self.side.engine, cache], env=os.environ | self._environment(), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, preexec_fn=end_with_parent)
        self.places = int(self._answer()[1])
        server.sql("VACUUM ANALYZE", self.database)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def turn(self, operation, seconds):
        """Returns operations per second, and per second of the processor time of both this process and PostgreSQL."""
        self._ask(operation, SETTLE_SECONDS)
        before = self.server.processor_seconds()
        number, took, processor = self._ask(operation, seconds)
        postgres = self.server.processor_seconds() - before
        return number / took, number / (processor + postgres)

    def _ask(self, operation, seconds):
        self.process.stdin.write(f"{operation} {seconds}\n")
        self.process.stdin.flush()
        return [float(part) for part in self._answer()]

    def _answer(self):
        line = self.process.stdout.readline().split()
        if not line:
            raise Failure(f"{self.side.title} has failed: " + self.log.read_text(errors="replace").strip()[-2000:])
        return line

    def _environment(self):
        return {
            "PGHOST": str(self.server.folder), "PGUSER": SUPERUSER, "PGDATABASE": self.database,
            "BENCH_GEOIP": str(self.city.parent), "BENCH_GEOIP_CITY": self.city.name}


def _round(workers, number, seconds):
    """A turn of each side for each operation. The last side is the first one next time."""
    turns = {}
    for operation in OPERATIONS:
        for worker in workers if number % 2 == 0 else reversed(workers):
            turns[operation, worker.side] = worker.turn(operation, seconds)
    return turns


def _report(sides, rounds):
    lines = [_LINE.format(
        "", "", "against", "ours/s", "theirs/s", "ratio", "lowest", "highest", "processor", "wanted", "").rstrip()]
    comparisons = [(OURS, THEIRS)] + [(OURS_CACHED, side) for side in (THEIRS_LOCMEM, THEIRS_REDIS) if side in sides]
    all_ahead = True
    for operation in OPERATIONS:
        for ours, theirs in comparisons:
            speeds = [(turns[operation, ours], turns[operation, theirs]) for turns in rounds]
            ratios = [mine[0] / other[0] for mine, other in speeds]
            processor = median(mine[1] / other[1] for mine, other in speeds)
            ahead = median(ratios) >= 1
            all_ahead &= ahead
            lines.append(_LINE.format(
                operation, ours.title, theirs.title, f"{median(mine[0] for mine, _ in speeds):,.0f}",
                f"{median(other[0] for _, other in speeds):,.0f}", f"{median(ratios):.2f}", f"{min(ratios):.2f}",
                f"{max(ratios):.2f}", f"{processor:.2f}", ">= 1", "ok" if ahead else "short"))
    return lines, all_ahead
