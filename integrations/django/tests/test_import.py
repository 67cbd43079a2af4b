"""importsessions, and the engines that bring sessions along."""

import contextlib
import io
import threading

import pytest
from conftest import ENGINE
from moving import TABLES, Maker
from support import Browser, serving

FALLBACK = "qsessions_django.backends." + ("cached_fallback" if ENGINE == "cached_db" else "fallback")
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture(scope="session")
def makers(application):
    """A process with each old engine, by its settings."""
    with contextlib.ExitStack() as stack:
        yield {
            settings: stack.enter_context(Maker(settings, PGUSER=application.superuser)) for settings in TABLES}


@pytest.fixture(params=TABLES)
def old(request, application, makers):
    """An old engine with an empty table."""
    engine = Old(request.param, application, makers[request.param])
    yield engine
    application.db.rows(f"DELETE FROM {engine.table}")


@pytest.fixture
def of_django(application, makers):
    """Django's own engine, with an empty table."""
    engine = Old("before_django", application, makers["before_django"])
    yield engine
    application.db.rows(f"DELETE FROM {engine.table}")


class Old:
    """The sessions of an old engine."""

    def __init__(self, settings, application, maker):
        self.application, self.make = application, maker.make
        self.table = TABLES[settings]
        self.knows_visitors = settings != "before_django"
        application.db.rows(f"GRANT ALL ON {self.table} TO {application.role}")

    def keys(self):
        """The keys in the table."""
        return {row.session_key for row in self.application.db.rows(f"SELECT session_key FROM {self.table}")}

    def import_all(self, *options):
        """Runs the command, and returns the numbers that it prints, by the first word after each."""
        from django.core.management import call_command

        printed = io.StringIO()
        call_command("importsessions", self.table, *options, stdout=printed)
        lines = [line.split() for line in printed.getvalue().splitlines()]
        return {words[1].strip(","): int(words[0]) for words in lines if words[0].isdigit()}

    @contextlib.contextmanager
    def served(self):
        """Serves the project with the engine that brings sessions along."""
        from django.core.handlers.wsgi import WSGIHandler
        from django.test import override_settings

        before = Browser.port
        with override_settings(SESSION_ENGINE=FALLBACK, QSESSIONS={"IMPORT_FROM": self.table}):
            with serving(WSGIHandler()) as Browser.port:
                try:
                    yield
                finally:
                    Browser.port = before


def test_an_import_moves_what_is_live(old, db, ada):
    data = {"cart": ["book"], "text": "a\0b"}
    keys = old.make([
        {"user": "ada", "data": data, "ip": "192.0.2.9", "user_agent": AGENT}, {"data": {"n": 1}},
        {"user": "bob", "seconds": -5}])
    before = db.row(f"SELECT * FROM {old.table} WHERE session_key = %s", keys[0])
    assert old.import_all("--dry-run") == {"moved": 2, "expired": 1, "undecodable": 0}
    assert db.sessions() == 0 and old.keys() == set(keys)
    assert old.import_all("--batch-size=1") == {"moved": 2, "expired": 1, "undecodable": 0}
    assert old.keys() == {keys[2]} and db.sessions() == 2
    assert old.import_all() == {"moved": 0, "expired": 1, "undecodable": 0}

    browser = Browser(keys[0])
    row = browser.row()
    assert row.user_id == ada.pk and row.expires_at == before.expire_date
    assert "_qsessions_ip" not in row.data and "_qsessions_user_agent" not in row.data
    if old.knows_visitors:
        assert str(row.ip).split("/")[0] == "192.0.2.9" and row.user_agent == AGENT
        assert row.created_at <= row.last_seen_at
    if hasattr(before, "created_at"):
        assert (row.created_at, row.last_seen_at) == (before.created_at, before.updated_at)
    told = browser.whoami()
    assert told["user"] == ada.pk and told["key"] == keys[0]
    assert {name: told["data"][name] for name in data} == data
    assert Browser(keys[1]).whoami()["data"] == {"n": 1}
    assert Browser(keys[2]).whoami()["data"] == {}


def test_what_cannot_be_moved_is_counted_and_stays(of_django, db):
    from django.contrib.sessions.backends.db import SessionStore

    good, alien, broken, gone, large, no_number = of_django.make(
        [{"data": {"n": n}} for n in range(3)] + [{"user": "bob"}, {"data": {"text": "x" * 1_100_000}}, {"data": {}}])
    signed = SessionStore()
    db.rows("UPDATE django_session SET session_data = 'no signature' WHERE session_key = %s", broken)
    db.rows(
        "UPDATE django_session SET session_data = session_data || 'A' WHERE session_key = %s", alien)
    for key, data in ((gone, {"_auth_user_id": "4711"}), (no_number, {"n": float("nan")})):
        db.rows("UPDATE django_session SET session_data = %s WHERE session_key = %s", signed.encode(data), key)
    assert of_django.import_all() == {"moved": 1, "expired": 0, "undecodable": 2, "not": 2, "of": 1}
    assert of_django.keys() == {alien, broken, gone, large, no_number}
    assert db.has_session(good) and db.sessions() == 1


def test_another_serializer_can_be_named(of_django, db):
    from django.contrib.sessions.backends.db import SessionStore
    from django.test import override_settings
    from moving_shop.serializers import Reversed

    (key,) = of_django.make([{"data": {"n": 1}}])
    store = SessionStore()
    store.serializer = Reversed
    db.rows("UPDATE django_session SET session_data = %s WHERE session_key = %s", store.encode({"n": 7}), key)
    assert of_django.import_all()["undecodable"] == 1
    with override_settings(QSESSIONS={"IMPORT_SERIALIZER": "moving_shop.serializers.Reversed"}):
        assert of_django.import_all("--dry-run")["moved"] == 1
    assert of_django.import_all("--serializer=moving_shop.serializers.Reversed")["moved"] == 1
    assert Browser(key).whoami()["data"] == {"n": 7}


def test_wrong_arguments_are_explained(of_django, db):
    from django.core.management import CommandError, call_command

    for arguments, text in (
        (["sessions"], "invalid choice"), (["django_session", "--serializer=no.such"], "--serializer"),
        (["django_session", "--batch-size=0"], "--batch-size")):
        with pytest.raises(CommandError, match=text):
            call_command("importsessions", *arguments)
    db.rows("ALTER TABLE django_session RENAME TO other")
    try:
        with pytest.raises(CommandError, match="does not exist"):
            call_command("importsessions", "django_session")
    finally:
        db.rows("ALTER TABLE other RENAME TO django_session")


def test_a_fallback_without_a_table_is_reported(application):
    from django.test import override_settings
    from qsessions_django.checks import check_settings

    with override_settings(SESSION_ENGINE=FALLBACK):
        assert [problem.id for problem in check_settings(None)] == ["qsessions_django.W006"]
    with override_settings(SESSION_ENGINE=FALLBACK, QSESSIONS={"IMPORT_FROM": "django_session"}):
        assert check_settings(None) == []
    with override_settings(QSESSIONS={"IMPORT_FROM": ["users"]}):
        assert [problem.id for problem in check_settings(None)] == ["qsessions_django.E001"]


def test_a_table_that_was_dropped_is_reported(of_django, db):
    from django.test import override_settings
    from qsessions_django.checks import check_database

    for table, found in (("django_session", []), ("user_sessions_session", ["qsessions_django.W007"])):
        db.rows("ALTER TABLE IF EXISTS user_sessions_session RENAME TO other")
        try:
            with override_settings(QSESSIONS={"IMPORT_FROM": table}):
                assert [problem.id for problem in check_database(None, databases=["default"])] == found
        finally:
            db.rows("ALTER TABLE IF EXISTS other RENAME TO user_sessions_session")


def test_a_session_comes_along_when_its_cookie_arrives(old, db, ada):
    keys = old.make([{"user": "ada", "data": {"cart": ["book"]}}, {"user": "ada"}, {"user": "ada", "seconds": -5}])
    with old.served():
        browser = Browser(keys[0])
        told = browser.whoami()
        assert told["user"] == ada.pk and told["data"]["cart"] == ["book"] and browser.key == keys[0]
        assert old.keys() == set(keys[1:]) and db.sessions() == 1
        browser.post("put", {"cart": ["book", "pen"]})
        assert browser.whoami()["data"]["cart"] == ["book", "pen"] and browser.key == keys[0]
        expired = Browser(keys[2])
        assert expired.whoami()["user"] is None and expired.key is None
        assert Browser("nobodyhasthiskey").whoami()["user"] is None
        assert old.keys() == set(keys[1:])
        browser.post("cycle")
        assert browser.key != keys[0] and Browser(keys[0]).whoami()["user"] is None
        assert browser.whoami()["user"] == ada.pk


def test_a_session_that_has_ended_does_not_come_along_again(old, db, ada):
    keys = old.make([{"user": "ada"} for _ in range(4)])
    with old.served():
        browsers = [Browser(key) for key in keys]
        browsers[0].whoami()
        browsers[0].post("log_out")
        browsers[1].whoami()
        assert db.revoke_all(ada) == 1
        # The first request of this one is the logout.
        browsers[2].post("log_out")
        for key in keys[:3]:
            assert Browser(key).whoami()["user"] is None
        assert old.keys() == {keys[3]}
        assert old.import_all()["moved"] == 1
        for key in keys[:3]:
            assert Browser(key).whoami()["user"] is None and not db.has_session(key)


def test_a_store_ends_a_session_that_has_not_come_along(old, db):
    from importlib import import_module

    key, other = old.make([{"user": "ada"}, {"user": "ada"}])
    with old.served():
        store = import_module(FALLBACK).SessionStore()
        store.delete(key)
        assert old.keys() == {other}
        import_module(FALLBACK).SessionStore(other).flush()
        assert old.keys() == set() and db.sessions() == 0


def test_requests_at_the_same_time_bring_a_session_along_once(old, db, ada):
    keys = old.make([{"user": "ada", "data": {"n": n}} for n in range(10)])
    told = []

    def visit(key, barrier):
        browser = Browser(key)
        barrier.wait()
        told.append((key, browser.whoami()["user"], browser.key))

    with old.served():
        for key in keys:
            barrier = threading.Barrier(6, timeout=60)
            threads = [threading.Thread(target=visit, args=(key, barrier)) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert sorted(told) == sorted((key, ada.pk, key) for key in keys for _ in range(6))
    assert db.sessions() == 10 and not old.keys()


def test_all_devices_of_a_user_come_along_before_the_others_are_signed_out(old, db, ada):
    from qsessions_django.devices import devices_of, sign_out_others

    keys = old.make([{"user": "ada", "user_agent": AGENT}, {"user": "ada"}, {"user": "bob"}])
    with old.served():
        assert Browser(keys[0]).whoami()["user"] == ada.pk
        if not old.knows_visitors:      # the table of Django does not say whose a session is
            assert len(devices_of(ada)) == 1
            return
        assert [device.is_current for device in devices_of(ada, keys[0])] == [True, False]
        assert sign_out_others(ada, keys[0]) == 1
        assert Browser(keys[0]).whoami()["user"] == ada.pk
        assert Browser(keys[1]).whoami()["user"] is None
        assert old.keys() == {keys[2]}


def test_a_request_that_is_rolled_back_leaves_the_old_session(of_django, db, ada):
    from django.db import transaction
    from django.test import override_settings
    from importlib import import_module

    (key,) = of_django.make([{"user": "ada"}])
    with override_settings(QSESSIONS={"IMPORT_FROM": "django_session"}):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            assert import_module(FALLBACK).SessionStore(key).load()["_auth_user_id"] == str(ada.pk)
            raise ZeroDivisionError
        assert of_django.keys() == {key} and db.sessions() == 0
        assert import_module(FALLBACK).SessionStore(key).load()["_auth_user_id"] == str(ada.pk)
    assert not of_django.keys() and db.sessions() == 1


def test_a_session_comes_along_to_asynchronous_code(of_django, db, ada):
    import asyncio
    from importlib import import_module

    import django
    from django.test import override_settings

    if django.VERSION < (5, 1):
        pytest.skip("sessions of this Django have no asynchronous methods")
    engine = import_module(FALLBACK).SessionStore
    (key,) = of_django.make([{"user": "ada"}])
    with override_settings(QSESSIONS={"IMPORT_FROM": "django_session"}):
        data = asyncio.run(engine(key).aload())
    assert data["_auth_user_id"] == str(ada.pk) and not of_django.keys() and db.sessions() == 1


def test_clearsessions_also_clears_the_old_table(old, db):
    from django.core.management import call_command
    from django.test import override_settings

    keys = old.make([{"data": {"n": 1}}, {"seconds": -5}])
    with override_settings(SESSION_ENGINE=FALLBACK, QSESSIONS={"IMPORT_FROM": old.table}):
        call_command("clearsessions", verbosity=0)
    assert old.keys() == {keys[0]}


def test_keys_are_in_no_log_and_no_statement(of_django, caplog):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext, override_settings
    from importlib import import_module

    key, other = of_django.make([{"user": "ada"}, {"user": "ada"}])
    with override_settings(QSESSIONS={"IMPORT_FROM": "django_session"}), CaptureQueriesContext(connection) as captured:
        import_module(FALLBACK).SessionStore(key).load()
        of_django.import_all()
    statements = " ".join(query["sql"] for query in captured)
    assert "import_session" in statements
    assert key not in statements and other not in statements and key not in caplog.text
