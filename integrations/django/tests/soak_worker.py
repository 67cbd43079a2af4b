"""A Django process of the random test of caches: see tests/soak.

    soak_worker.py OPTIONS

OPTIONS is the JSON that the test gives to its workers. The process loads and changes sessions at random through the
engine cached_db, from several threads, and records each call, its time and its result in the folder of the test, in the
form of tests/soak/src/history.rs.
"""

import contextlib
import json
import os
import random
import socket
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

from soak_history import Keyring, Log, began, change, ended, key_hash, saved

USERS = 24
THREADS = 4
LONG = timedelta(hours=1)
# Longer than a request would wait.
PATIENCE = 3
DATABASE = "postgres"


def configure(options):
    """Sets up Django, whose connections and whose listener each go through a proxy."""
    import django
    from django.conf import settings

    staleness = options["max_staleness"]
    settings.configure(
        SECRET_KEY="of this test only", USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "qsessions_django"],
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": options["pool_port"],
            "USER": "postgres", "NAME": DATABASE, "CONN_MAX_AGE": None, "OPTIONS": {"connect_timeout": PATIENCE}}},
        QSESSIONS={"CACHE": {
            "MAX_STALENESS": staleness["secs"] + staleness["nanos"] / 1e9, "CAPACITY": options["capacity"],
            "LISTEN": {"port": options["listener_port"]}}})
    django.setup()


class Worker:
    """Makes calls until the end of the run."""

    def __init__(self, options, folder, until):
        self.options, self.until = options, until
        self.keyring, self.log = Keyring(folder), Log(folder, options["process"])
        self._token = options["process"] << 40
        self._lock = threading.Lock()
        # When the present call of a thread has begun, and its connection.
        self.calls = {}

    def token(self):
        """A number for the data of a change, which is unique among all processes."""
        with self._lock:
            self._token += 1
            return self._token

    def run(self, seed):
        """Is the target of a thread."""
        rng = random.Random(seed)
        while time.monotonic_ns() < self.until:
            known = self.keyring.pick(rng)
            if known is None or rng.random() < 0.01:
                self.create(rng)
            else:
                self.operate(rng, *known)
            time.sleep(rng.random() * 0.005)

    def operate(self, rng, session_id, key):
        """One operation, which is usually a load."""
        choice = rng.random()
        if choice < 0.85:
            for _ in range(rng.randrange(1, 10)):
                self.load(key, f"192.0.2.{rng.randrange(1, 5)}" if rng.random() < 0.02 else None)
            return
        for limit, operation in (
            (0.88, self.save), (0.91, self.patch), (0.93, self.rotate), (0.96, self.transaction), (0.975, self.log_out),
            (0.985, self.revoke), (0.99, self.revoke_user), (1, self.replace),
        ):
            if choice < limit:
                operation(rng, session_id, key)
                break
        if rng.random() < 0.7:
            self.load(key)

    def load(self, key, ip=None):
        """Loads a session through the cache, and records what was found."""
        from qsessions_django import cache, sql
        from qsessions_django.visitor import Visitor

        start = time.monotonic_ns()
        try:
            with self.call():
                found = cache.session_cache().resume(key, Visitor(ip=ip))
        except Exception:
            self.log.write("load", start, time.monotonic_ns(), "Failure")
            self.reconnect()
            return
        end = time.monotonic_ns()
        found = found and {
            "id": sql.session_id(key), "version": found.version, "token": found.read().get("token", 0)}
        self.log.write("load", start, end, {"Load": {"key": key_hash(key), "found": found}})

    def attempt(self, operation, call, effects, of_end=None, if_unknown=None):
        """Performs a change. `of_end` are the effects if the session has ended, which the call then reports."""
        from django.db import IntegrityError
        from qsessions_django.exceptions import SessionEnded

        start, thread = time.monotonic_ns(), threading.get_ident()
        unknown = if_unknown if if_unknown is not None else effects(None)
        self.log.running[thread] = operation, start, unknown
        try:
            with self.call():
                result = call()
        except SessionEnded:
            deed = change("Done", None, of_end or [])
        except IntegrityError:
            deed = change("Done", None, [])
        except Exception:
            deed = change("Unknown", None, unknown)
            self.reconnect()
        else:
            end = time.monotonic_ns()
            self.log.write(operation, start, end, change("Done", end, effects(result)))
            del self.log.running[thread]
            return result
        self.log.write(operation, start, time.monotonic_ns(), deed)
        del self.log.running[thread]
        return None

    def create(self, rng):
        """Begins a session."""
        from qsessions_django import sql
        from qsessions_django.visitor import NOBODY

        token, expires = self.token(), time.monotonic_ns() + int(LONG.total_seconds() * 1e9)
        key = self.attempt(
            "create", lambda: sql.create(json.dumps({"token": token}), NOBODY, sql.Expiry(ttl=LONG)),
            lambda key: key and began(key, token, expires) or [])
        if key:
            self.keyring.publish(key)
            self.load(key)

    def save(self, rng, session_id, key):
        """Replaces the data."""
        from qsessions_django import sql

        token = self.token()
        self.attempt(
            "save", lambda: sql.save(key, json.dumps({"token": token}), sql.Expiry()),
            lambda _: [saved(session_id, token)], [{"KeyEnded": {"key": key_hash(key)}}])

    def patch(self, rng, session_id, key):
        """Changes a member of the data."""
        from qsessions_django import sql

        token = self.token()
        self.attempt(
            "patch", lambda: sql.patch(key, json.dumps({"token": token}), ["x"], sql.Expiry()),
            lambda _: [saved(session_id, token)], [{"KeyEnded": {"key": key_hash(key)}}])

    def rotate(self, rng, session_id, key):
        """Replaces the data and the key, as a change of the password does."""
        from qsessions_django import sql

        token, old = self.token(), key_hash(key)

        def effects(new_key):
            new = key_hash(new_key)
            return [
                {"KeyBegan": {"id": session_id, "key": new}},
                {"Rekeyed": {"id": session_id, "key": new, "former": None}},
                {"KeyEnded": {"key": old}}, saved(session_id, token)]

        # A refusal does not say that the key is dead: a former key cannot be rotated.
        new_key = self.attempt(
            "rotate", lambda: sql.save(key, json.dumps({"token": token}), sql.Expiry(), rotate=True), effects,
            if_unknown=[{"MayEnd": {"who": {"Session": session_id}}}, saved(session_id, token)])
        if new_key:
            self.keyring.publish(new_key)
            self.load(new_key)

    def transaction(self, rng, session_id, key):
        """Saves in a transaction, and rolls half of them back."""
        from django.db import transaction
        from qsessions_django import cache, sql
        from qsessions_django.visitor import NOBODY

        token, commits = self.token(), rng.random() < 0.5

        def call():
            with transaction.atomic():
                sql.save(key, json.dumps({"token": token}), sql.Expiry())
                found = cache.session_cache().resume(key, NOBODY)
                assert found is not None and found.read()["token"] == token, "a transaction does not see its change"
                transaction.set_rollback(not commits)

        self.attempt(
            "transaction", call, lambda _: [saved(session_id, token)] if commits else [],
            [{"KeyEnded": {"key": key_hash(key)}}])

    def log_out(self, rng, session_id, key):
        """Ends a session by its key."""
        from qsessions_django import sql

        dead = {"KeyEnded": {"key": key_hash(key)}}
        self.attempt("logout", lambda: sql.logout(key), lambda had: [dead] + ([] if had is False else [ended(session_id)]))

    def revoke(self, rng, session_id, key):
        """Ends a session by its id."""
        from qsessions_django import sql

        self.attempt("revoke", lambda: sql.revoke_session(session_id), lambda _: [ended(session_id)])

    def revoke_user(self, rng, session_id, key):
        """Ends the sessions of a user."""
        from qsessions_django import sql

        user, is_spared = rng.randrange(1, USERS + 1), rng.random() < 0.5
        except_key = key_hash(key) if is_spared else None
        self.attempt(
            "revoke user's sessions", lambda: sql.revoke_user_sessions(user, key if is_spared else None),
            lambda _: [{"Ended": {"who": {"User": user}, "except": except_key}}])

    def replace(self, rng, session_id, key):
        """Ends a session and begins another one, as if the data did not name the user any more."""
        from qsessions_django import sql
        from qsessions_django.visitor import NOBODY

        token, expires = self.token(), time.monotonic_ns() + int(LONG.total_seconds() * 1e9)
        gone = [{"KeyEnded": {"key": key_hash(key)}}, ended(session_id)]
        new_key = self.attempt(
            "replace", lambda: sql.replace(key, json.dumps({"token": token}), NOBODY, sql.Expiry(ttl=LONG)),
            lambda key: gone + (began(key, token, expires) if key else []), gone[:1])
        if new_key:
            self.keyring.publish(new_key)

    @contextlib.contextmanager
    def call(self):
        """Surrounds what the watchdog may interrupt."""
        from django.db import connection

        thread = threading.get_ident()
        self.calls[thread] = time.monotonic(), connection
        try:
            yield
        finally:
            self.calls.pop(thread, None)

    def reconnect(self):
        """The next call has a new connection."""
        from django.db import connection

        with contextlib.suppress(Exception):
            connection.close()

    def interrupt_calls(self):
        """Cuts the connections of calls that take longer than a request would wait."""
        for began_at, connection in list(self.calls.values()):
            if time.monotonic() - began_at > PATIENCE and connection.connection is not None:
                with contextlib.suppress(Exception):
                    copy = socket.socket(fileno=os.dup(connection.connection.fileno()))
                    copy.shutdown(socket.SHUT_RDWR)
                    copy.close()


def main(options):
    """Runs until the time that the test sends."""
    folder = Path(options["folder"])
    configure(options)
    from qsessions_django import cache

    cache.session_cache()
    deadline = time.monotonic() + 60
    while not cache.health()["serving"]:
        assert time.monotonic() < deadline, cache.health()
        time.sleep(0.01)
    print("ready", flush=True)
    until = int(sys.stdin.readline())
    worker = Worker(options, folder, until)
    threads = [
        threading.Thread(target=worker.run, args=(options["seed"] * 64 + options["process"] * 8 + n,), daemon=True)
        for n in range(THREADS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and time.monotonic_ns() < until + 2 * PATIENCE * 10**9:
        time.sleep(0.1)
        worker.interrupt_calls()
    worker.log.finish()
    names = ("hits", "negative_hits", "misses", "bypassed", "fills_dropped", "invalidations")
    counts = {f"qsessions_cache_{name}_total": cache.health()[name] for name in names}
    (folder / f"counts-{options['process']}.json").write_text(json.dumps(counts), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # threads may still wait for the network


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
