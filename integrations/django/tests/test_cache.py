"""The engine cached_db: what is answered from memory, and that it is never out of date."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import uuid

import psycopg
import pytest
from conftest import ENGINE
from django.db import connection, transaction
from django.test import override_settings
from qsessions_django import cache, conf, sql
from qsessions_django.backends.cached_db import SessionStore
from qsessions_django.cache.core import Cache
from qsessions_django.cache.freshness import Freshness, now
from qsessions_django.cache.subscription import Subscription
from qsessions_django.cache.wire import Wakeup
from support import IS_ASYNC, Browser, until

pytestmark = pytest.mark.skipif(ENGINE != "cached_db", reason="tests of the other engine")


@pytest.fixture(autouse=True)
def running(application):
    """A cache that answers."""
    cache.session_cache()
    until(lambda: cache.health()["serving"])
    cache.catch_up()


def made(browser, path, body=None):
    """Returns the names of the functions that a request has called."""
    from project import tools

    browser.post(path, body)
    return [part.split("(")[0] for text in tools.statements for part in text.split("qsessions.")[1:]]


def new_session(**data):
    """Returns the key of a session that is in memory."""
    store = SessionStore()
    store.update(data)
    store.save()
    assert SessionStore(store.session_key).load() == data
    return store.session_key


def counted(name):
    """One of the counters."""
    return cache.health()[name]


def is_hit(key):
    """Whether a load is answered from memory."""
    before = counted("hits")
    SessionStore(key).load()
    return counted("hits") == before + 1


def listeners(db):
    """The process ids of the server's processes that listen for this process."""
    return [row.pid for row in db.rows(
        """SELECT pid FROM pg_stat_activity WHERE datname = current_database()
           AND application_name = 'qsessions_django' AND query LIKE 'LISTEN%%'""")]


@contextlib.contextmanager
def gate(action):
    """Performs an action between the answer of the database to this thread and its use."""
    def wrapper(execute, statement, params, many, context):
        result = execute(statement, params, many, context)
        action()
        return result

    with connection.execute_wrapper(wrapper):
        yield


def test_a_session_in_memory_takes_no_statement(db, ada):
    browser = Browser()
    browser.log_in("ada")
    assert made(browser, "whoami") == ["load_for_cache"]
    for path in ("whoami", "async_whoami") if IS_ASYNC else ("whoami",):
        assert made(browser, path) == []
        assert browser.whoami()["user"] == ada.pk
    assert made(browser, "put", {"a": 1}) == ["patch_session", "set_expiry"]
    assert browser.whoami()["data"]["a"] == 1


def test_each_load_returns_data_of_its_own(db):
    key = new_session(cart=["book"])
    SessionStore(key)["cart"].append("pen")
    assert SessionStore(key)["cart"] == ["book"]


def test_changes_of_other_programs_are_known(db, ada):
    key = new_session(a=1)
    for change in (
        lambda: db.rows("SELECT qsessions.patch_session(%s, '{\"a\": 2}')", key),
        lambda: db.rows("UPDATE qsessions.session SET data = '{\"a\": 3}'"),
    ):
        change()
        wanted = db.value("SELECT data FROM qsessions.session")
        cache.catch_up()
        assert SessionStore(key).load() == wanted and is_hit(key)
    db.rows("DELETE FROM qsessions.session")
    cache.catch_up()
    assert SessionStore(key).load() == {}


def test_a_change_without_catching_up_is_known_in_the_end(db):
    key = new_session(a=1)
    db.end(key)
    until(lambda: SessionStore(key).load() == {})


def test_what_ends_by_a_call_of_this_process_has_ended_when_it_returns(db, ada):
    browsers = [Browser() for _ in range(3)]
    for browser in browsers:
        browser.log_in("ada")
        assert browser.whoami()["user"] == ada.pk
    assert sql.revoke_session(browsers[0].row().id, ada.pk)
    assert browsers[0].whoami()["user"] is None
    assert sql.revoke_user_sessions(ada.pk, browsers[1].key) == 1
    assert [browser.whoami()["user"] for browser in browsers] == [None, ada.pk, None]


def test_a_session_that_changes_while_it_is_read_is_not_kept(db):
    key = new_session(a=1)
    cache.catch_up()
    cache.session_cache().changed(sql.session_id(key), None)

    def change():
        db.rows("UPDATE qsessions.session SET data = '{\"a\": 2}'")
        cache.catch_up()

    with gate(change):
        assert SessionStore(key).load() == {"a": 1}
    assert not is_hit(key)
    assert SessionStore(key).load() == {"a": 2}


def test_a_key_without_a_session_is_remembered_until_it_has_one(db):
    key = "the key of another store"
    assert SessionStore(key).load() == {}
    before = counted("negative_hits")
    assert SessionStore(key).load() == {} and counted("negative_hits") == before + 1
    assert sql.import_session(key, data='{"a": 1}', expires_at="infinity")
    assert SessionStore(key).load() == {"a": 1}
    assert is_hit(key)


def test_a_new_connection_is_in_no_transaction(db):
    connection.close()
    connection.autocommit = False  # as before it has connected
    assert SessionStore("the key of no session").load() == {}
    before = counted("negative_hits")
    assert SessionStore("the key of no session").load() == {} and counted("negative_hits") == before + 1


def test_a_key_in_its_grace_is_not_kept(db):
    key = new_session(a=1)
    new_key = db.value("SELECT qsessions.rotate_key(%s, '30 s')", key)
    cache.catch_up()
    for _ in range(2):
        assert SessionStore(key).load() == {"a": 1} and not is_hit(key)
    db.rows("SELECT qsessions.rotate_key(%s)", new_key)
    cache.catch_up()
    assert SessionStore(key).load() == {} and SessionStore(new_key).load() == {}


def test_a_session_expires_by_the_clock_of_the_server(db):
    key = new_session(a=1)
    db.rows("UPDATE qsessions.session SET expires_at = now() + interval '300 ms'")
    cache.catch_up()
    assert SessionStore(key).load() == {"a": 1}
    until(lambda: not db.has_session(key))
    assert SessionStore(key).load() == {}


def test_what_has_expired_stays_so_when_the_clock_of_the_server_is_set_back():
    freshness = Freshness(1.0)
    freshness.begin_server_clock(10.0, 1000.0)
    freshness.set_server_clock(11.0, 500.0)
    assert freshness.server_time(12.0) == 1002.0
    freshness.set_server_clock(12.0, 3000.0)
    assert freshness.server_time(12.0) == 3000.0
    # A new connection may lead to another server.
    freshness.begin_server_clock(13.0, 600.0)
    assert freshness.server_time(13.0) == 600.0


def test_a_large_session_is_not_kept(db):
    key = new_session(text="x" * 100_000)
    assert not is_hit(key)


def test_a_visit_that_is_due_is_recorded_once_and_the_session_kept(db):
    key = new_session(a=1)
    db.rows("UPDATE qsessions.session SET last_seen_at = now() - interval '1 hour', data = '{\"a\": 2}'")
    cache.catch_up()
    assert SessionStore(key).load() == {"a": 2}
    assert db.value("SELECT last_seen_at > now() - interval '1 min' FROM qsessions.session")
    assert is_hit(key)


def test_everything_can_be_dropped(db):
    keys = [new_session(a=1) for _ in range(3)]
    db.rows("TRUNCATE qsessions.session")
    cache.catch_up()
    assert [SessionStore(key).load() for key in keys] == [{}] * 3
    key = new_session(a=1)
    for payload in ("*", "nonsense", "a" * 36):
        db.rows(f"NOTIFY qsessions, '{payload}'")
        cache.catch_up()
        assert not is_hit(key) and is_hit(key)


def test_a_transaction_sees_its_own_changes_and_shows_them_only_after_its_commit(db):
    key = new_session(a=1)

    def seen_elsewhere():
        found = []

        def load():
            found.append(SessionStore(key).load())
            connection.close()

        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
        return found[0]

    for data, commits in (({"a": 2}, False), ({"a": 3}, True)):
        before = SessionStore(key).load()
        with transaction.atomic():
            store = SessionStore(key)
            store.update(data)
            store.save()
            assert SessionStore(key).load() == data
            assert seen_elsewhere() == before
            transaction.set_rollback(not commits)
        after = data if commits else before
        assert SessionStore(key).load() == after and seen_elsewhere() == after


def test_what_a_transaction_has_written_is_not_kept(db):
    key = new_session(a=1)
    with transaction.atomic():
        connection.cursor().execute("UPDATE qsessions.session SET data = '{\"a\": 2}'")
        cache.session_cache().changed(sql.session_id(key), None)
        assert SessionStore(key).load() == {"a": 2} and not is_hit(key)
        transaction.set_rollback(True)
    assert SessionStore(key).load() == {"a": 1}


def test_what_an_old_snapshot_shows_is_not_kept(db):
    key = new_session(a=1)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT 1")
        db.rows("UPDATE qsessions.session SET data = '{\"a\": 2}'")
        cache.catch_up()
        assert SessionStore(key).load() == {"a": 1}
    assert SessionStore(key).load() == {"a": 2}


def test_a_transaction_that_only_reads_fills_the_cache(db):
    key = new_session(a=1)
    cache.session_cache().changed(sql.session_id(key), None)
    with transaction.atomic():
        SessionStore(key).load()
        assert is_hit(key)


def test_a_lost_connection_empties_the_cache(db):
    key = new_session(a=1)
    (listener,) = listeners(db)
    before = counted("sessions")
    assert before > 0
    db.rows("SELECT pg_terminate_backend(%s)", listener)
    until(lambda: counted("sessions") == 0)
    db.rows("UPDATE qsessions.session SET data = '{\"a\": 2}'")
    assert SessionStore(key).load() == {"a": 2}
    until(lambda: cache.health()["serving"])
    SessionStore(key).load()
    assert is_hit(key) and cache.health()["error"] is None


def test_no_old_session_is_served_while_the_listening_connection_stalls(db):
    key = new_session(a=1)
    (listener,) = listeners(db)
    os.kill(listener, signal.SIGSTOP)
    try:
        db.rows("UPDATE qsessions.session SET data = '{\"a\": 2}'")
        # Nothing else tells the cache.
        until(lambda: SessionStore(key).load() == {"a": 2})
        assert not cache.health()["serving"]
        assert SessionStore(key).load() == {"a": 2}
    finally:
        os.kill(listener, signal.SIGCONT)
    until(lambda: cache.health()["serving"])


def test_catching_up_ends_while_the_listening_connection_stalls(db):
    key = new_session(a=1)
    (listener,) = listeners(db)
    os.kill(listener, signal.SIGSTOP)
    try:
        db.rows("UPDATE qsessions.session SET data = '{\"a\": 2}'")
        cache.catch_up()
        assert SessionStore(key).load() == {"a": 2}
    finally:
        os.kill(listener, signal.SIGCONT)
    until(lambda: cache.health()["serving"])


def probing(db):
    """The last statement of the connection that shows up to when changes are known."""
    return [row.query for row in db.rows(
        """SELECT query FROM pg_stat_activity WHERE datname = current_database()
           AND application_name = 'qsessions_django' AND query NOT LIKE 'LISTEN%%'""")]


def test_heartbeats_show_that_the_cache_is_up_to_date(db):
    until(lambda: any("request_heartbeat" in statement for statement in probing(db)))
    known = cache.session_cache().freshness._known_until
    until(lambda: cache.session_cache().freshness._known_until > known)
    assert any("request_heartbeat" in statement for statement in probing(db))
    # A call that waits does not wait for the next heartbeat.
    cache.catch_up()
    assert any("qsessions.invalidate(" in statement for statement in probing(db))


def test_an_earlier_version_of_the_extension_has_no_heartbeats(db):
    cache.stop()
    db.rows("ALTER FUNCTION qsessions.request_heartbeats(uuid) RENAME TO no_heartbeats")
    try:
        cache.session_cache()
        until(lambda: cache.health()["serving"])
        assert any("qsessions.invalidate(" in statement for statement in probing(db))
    finally:
        db.rows("ALTER FUNCTION qsessions.no_heartbeats(uuid) RENAME TO request_heartbeats")
        cache.stop()


def test_sessions_on_several_servers_are_not_cached(db):
    key = new_session(a=1)
    source = db.row("SELECT prosrc FROM pg_proc WHERE oid = 'qsessions._layout()'::regprocedure").prosrc
    definition = """CREATE OR REPLACE FUNCTION qsessions._layout(OUT layout text, OUT placements text)
                    LANGUAGE plpgsql STABLE
                    SET search_path = pg_catalog, pg_temp AS $body${}$body$"""
    try:
        # While a process runs, and when it begins.
        for _ in range(2):
            db.rows(definition.format("BEGIN layout := 'somewhere'; END"))
            until(lambda: "over several servers" in (cache.health()["error"] or ""))
            assert not cache.health()["serving"]
            hits = cache.health()["hits"]
            for _ in range(3):
                assert SessionStore(key).load() == {"a": 1}
            assert cache.health()["hits"] == hits
            cache.stop()
            cache.session_cache()
    finally:
        db.rows(definition.format(source))
        cache.stop()


def test_a_heartbeat_may_arrive_before_the_answer_to_its_request():
    idle = Cache(conf.config())
    subscription = Subscription(idle, Wakeup())
    ids = [str(uuid.uuid4()) for _ in range(4)]
    digests = [hashlib.sha256(one.encode()).hexdigest() for one in ids]

    def early():
        subscription.apply([ids[0]])
        assert not idle.freshness.reaches(begin)
        return "answer", digests[0]

    begin = now()
    answer, moment = subscription.request_heartbeat(early)
    assert answer == "answer" and not idle.freshness.reaches(moment)
    subscription.apply([])
    assert idle.freshness.reaches(moment)

    # One that was heard before the request shows nothing about it.
    subscription.apply([ids[1]])
    _, moment = subscription.request_heartbeat(lambda: (None, digests[1]))
    subscription.apply([ids[2]])
    assert not idle.freshness.reaches(moment)

    # Two requests may await the same one.
    subscription.request_heartbeat(lambda: (None, digests[3]))
    _, moment = subscription.request_heartbeat(lambda: (None, digests[3]))
    subscription.apply([f"{ids[2]},{ids[3]}"])
    assert idle.freshness.reaches(moment) and not subscription.is_silent_for(0)


def test_a_listener_of_another_database_answers_nothing(db):
    key = new_session(a=1)
    with override_settings(QSESSIONS={"CACHE": {"LISTEN": {"dbname": "postgres", "user": os.environ["PGUSER"]}}}):
        with psycopg.connect(dbname="postgres", autocommit=True) as other:
            other.execute("CREATE EXTENSION IF NOT EXISTS qsessions")
            try:
                for _ in range(3):
                    assert SessionStore(key).load() == {"a": 1}
                until(lambda: "another server or database" in (cache.health()["error"] or ""))
                assert not cache.health()["serving"] and cache.health()["hits"] == 0
            finally:
                cache.stop()
                other.execute("DROP EXTENSION qsessions CASCADE")


def test_the_channel_can_be_changed(db):
    key = new_session(a=1)
    for channel in ("qsessions_other", None):
        value = f"= '{channel}'" if channel else "TO DEFAULT"
        db.rows(f"ALTER SYSTEM SET qsessions.invalidation_channel {value}")
        db.rows("SELECT pg_reload_conf()")
        until(lambda: db.value("SELECT qsessions.invalidation_channel()") == (channel or "qsessions"))
        until(lambda: list(cache.session_cache().channels)[-1] == (channel or "qsessions") and cache.health()["serving"])
        new_key = new_session(a=2)
        db.end(new_key)
        cache.catch_up()
        assert SessionStore(new_key).load() == {}
        assert SessionStore(key).load() == {"a": 1}


FORKING = """
import os
import sys

import django

django.setup()
from django.db import connections
from qsessions_django import cache
from qsessions_django.backends.cached_db import SessionStore
from support import until


def serve(key, data):
    assert SessionStore(key).load() == data
    until(lambda: cache.health()["serving"])
    SessionStore(key).load()
    before = cache.health()["hits"]
    assert SessionStore(key).load() == data and cache.health()["hits"] == before + 1


store = SessionStore()
store["a"] = 1
store.save()
serve(store.session_key, {"a": 1})
connections.close_all()
child = os.fork()
if child == 0:
    assert cache.health() is None
    serve(store.session_key, {"a": 1})
    os.kill(os.getpid(), 9) if "kill" in sys.argv else sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == (9 if "kill" in sys.argv else 0), status
serve(store.session_key, {"a": 1})
other = SessionStore(store.session_key)
other["a"] = 2
other.save()
serve(store.session_key, {"a": 2})
"""


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_forked_process_has_a_cache_of_its_own(application, end):
    environment = os.environ | {"PGUSER": application.role, "QSESSIONS_TEST_ENGINE": "cached_db"}
    subprocess.run([sys.executable, "-W", "error", "-c", FORKING, end], env=environment, check=True, timeout=120)


def test_a_process_ends_with_its_threads_running(application):
    script = "import django; django.setup(); from qsessions_django import cache; cache.session_cache()"
    environment = os.environ | {"PGUSER": application.role}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, timeout=60, capture_output=True, text=True)
    assert done.stderr == ""


def test_there_is_no_cache_in_the_test_environment_of_django(db):
    from django.test.utils import setup_test_environment, teardown_test_environment

    cache.stop()
    setup_test_environment()
    try:
        key = SessionStore()
        key.save()
        assert SessionStore(key.session_key).load() == {} and cache.health() is None
    finally:
        teardown_test_environment()
