"""Connections through PgBouncer in transaction mode, and a listener past it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from django.db import connection, connections
from django.test import override_settings
from qsessions_django import cache
from qsessions_django.backends.cached_db import SessionStore as CachedStore
from qsessions_django.backends.db import SessionStore as DatabaseStore
from qsessions_django.cache import listener
from support import until

BUILD = os.environ.get("QSESSIONS_BUILD", "")
PROGRAM = shutil.which("pgbouncer", path=f"{BUILD}/tools/sbin:{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no PgBouncer: `scripts/setup test` unpacks one")


@pytest.fixture(scope="module")
def pooler(application):
    """The folder of the socket of a PgBouncer, whose port is 6432."""
    with tempfile.TemporaryDirectory(prefix="qsessions-", dir="/tmp") as folder:
        settings = Path(folder, "pgbouncer.ini")
        settings.write_text(
            f"[databases]\n* = host={os.environ['PGHOST']} user={application.role}\n"
            f"[pgbouncer]\nunix_socket_dir = {folder}\nlisten_port = 6432\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 4\n", encoding="utf-8")
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        with subprocess.Popen([PROGRAM, settings], user=user, stderr=subprocess.DEVNULL) as process:
            until(lambda: answers(folder))
            yield folder
            cache.stop()
            connections.close_all()
            process.kill()


def answers(folder):
    """Whether the pooler accepts connections."""
    try:
        psycopg.connect(host=folder, port=6432).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def through(pooler):
    """Has Django connect through the pooler."""
    changed = {"HOST": pooler, "PORT": "6432"}
    cache.stop()
    connection.close()
    before = {name: connection.settings_dict[name] for name in changed}
    for settings in (connection.settings_dict, connections.databases["default"]):
        settings.update(changed)
    yield
    cache.stop()
    connection.close()
    for settings in (connection.settings_dict, connections.databases["default"]):
        settings.update(before)


def test_the_engine_works_through_a_pooler(through):
    for _ in range(10):
        store = DatabaseStore()
        store["a"] = 1
        store.save()
        assert DatabaseStore(store.session_key)["a"] == 1


def test_a_listener_past_the_pooler_answers(through, db):
    with override_settings(QSESSIONS={"CACHE": {"LISTEN": {"host": os.environ["PGHOST"], "port": 5432}}}):
        store = CachedStore()
        store["a"] = 1
        store.save()
        cache.session_cache()
        until(lambda: cache.health()["serving"])
        assert CachedStore(store.session_key).load() == {"a": 1}
        before = cache.health()["hits"]
        assert CachedStore(store.session_key).load() == {"a": 1} and cache.health()["hits"] == before + 1
        db.end(store.session_key)
        cache.catch_up()
        assert CachedStore(store.session_key).load() == {}


def test_a_listener_through_the_pooler_is_told(through, monkeypatch):
    monkeypatch.setattr(listener, "FIRST_PROBE_SECONDS", 0.5)
    store = CachedStore()
    store["a"] = 1
    store.save()
    assert CachedStore(store.session_key).load() == {"a": 1}
    until(lambda: "pooler in transaction mode" in (cache.health()["error"] or ""))
    assert not cache.health()["serving"] and CachedStore(store.session_key).load() == {"a": 1}
