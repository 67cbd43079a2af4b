"""A Django process with one session engine, which bench/django.py has take turns with others.

    worker.py ENGINE CACHE

ENGINE is a module, and CACHE is locmem, or the URL of a redis-server, for the engines that use Django's cache. The
process makes its sessions and prints "ready". Then it reads a line "OPERATION SECONDS" for each turn, and prints the
number of operations, the seconds and the processor seconds that they took. PGHOST, PGUSER and PGDATABASE name the
database.
"""

import os
import random
import sys
import time
from importlib import import_module

SESSIONS = 200
LISTED = 10
USER_AGENTS = [
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_{n} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{n} "
    "Mobile/15E148 Safari/604.1" for n in range(LISTED)]
IPS = [f"131.111.{n}.25" for n in range(LISTED)]
DATA = {"cart": [{"book": n, "price": 12.5} for n in range(8)], "theme": "dark", "language": "en", "note": "x" * 100}


def configure(engine, cache):
    """Sets up Django."""
    import django
    from django.conf import settings

    ours = engine.startswith("qsessions_django")
    locmem = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}
    settings.configure(
        SECRET_KEY="of this benchmark only", USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=[
            "django.contrib.auth", "django.contrib.contenttypes", "qsessions_django" if ours else "qsessions"],
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "USER": os.environ["PGUSER"],
            "NAME": os.environ["PGDATABASE"], "CONN_MAX_AGE": None, "OPTIONS": {"server_side_binding": True}}},
        CACHES={"default": locmem if cache in ("locmem", "") else {
            "BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": cache}},
        SESSION_ENGINE=engine, GEOIP_PATH=os.environ.get("BENCH_GEOIP"), GEOIP_CITY=os.environ.get("BENCH_GEOIP_CITY"))
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


class Side:
    """The operations, through Django's session interface."""

    def __init__(self, engine):
        from django.contrib.auth import get_user_model

        self.make_store = import_module(engine).SessionStore
        self.is_ours = engine.startswith("qsessions_django")
        if self.is_ours:
            from qsessions_django.visitor import Visitor

            self.make_visitor = Visitor
        users = get_user_model().objects
        self.user = users.create(username="listed")
        self.others = [users.create(username=f"user {n}") for n in range(SESSIONS // LISTED)]
        self.keys = []
        for n in range(SESSIONS):
            store = self.store(None, n)
            store.update(DATA)
            store["_auth_user_id"] = str((self.user if n < LISTED else self.others[n // LISTED]).pk)
            store.save()
            self.keys.append(store.session_key)
        self.random = random.Random(1)

    def store(self, key, n=0):
        """A session as the middleware of the engine makes it."""
        ip, user_agent = IPS[n % LISTED], USER_AGENTS[n % LISTED]
        if not self.is_ours:
            return self.make_store(key, user_agent, ip)
        store = self.make_store(key)
        store.visitor = self.make_visitor(ip, user_agent)
        return store

    def any_session(self):
        """One of the sessions, not loaded yet."""
        n = self.random.randrange(SESSIONS)
        return self.store(self.keys[n], n)

    def load(self):
        """A request that reads."""
        assert self.any_session()["theme"] == "dark"

    def save(self):
        """A request that changes something."""
        store = self.any_session()
        store["theme"] = "dark"
        store["count"] = self.random.random()
        store.save()

    def login(self):
        """A visitor with a session signs in, as django.contrib.auth.login does with the session, and out."""
        store = self.store(None)
        store["cart"] = []
        store.save()
        store = self.store(store.session_key)
        store.get("cart")
        store.cycle_key()
        store["_auth_user_id"] = str(self.random.choice(self.others).pk)
        store.save()
        store.session_key  # for the cookie
        store.flush()

    def list(self):
        """The page of devices."""
        shown = [(session.device, session.location) for session in self.user.session_set.all()]
        assert len(shown) == LISTED and all(device for device, _ in shown), shown

    def places(self):
        """How many of the devices have a place."""
        return sum(session.location is not None for session in self.user.session_set.all())


def turn(side, name, seconds):
    """Repeats an operation; returns the number, and the time and the processor time in seconds."""
    if name == "load":
        # What was saved since the last turn is read again, by both sides, before it counts.
        for n, key in enumerate(side.keys):
            side.store(key, n).load()
    operation = getattr(side, name)
    number, began, processor = 0, time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < seconds:
        operation()
        number += 1
    return number, took, time.process_time() - processor


def main(engine, cache):
    """Makes the sessions, and takes turns until the input ends."""
    configure(engine, cache)
    side = Side(engine)
    for n, key in enumerate(side.keys):
        side.store(key, n).load()
    if engine.endswith("cached_db") and side.is_ours:
        from qsessions_django.cache import health

        deadline = time.monotonic() + 30
        while not health()["serving"]:
            assert time.monotonic() < deadline, health()
            time.sleep(0.01)
    print("ready", side.places(), flush=True)
    for line in sys.stdin:
        operation, seconds = line.split()
        print(*turn(side, operation, float(seconds)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
