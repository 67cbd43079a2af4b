"""Keys of sessions are in no log, error, traceback or statement."""

import io
import logging
import pickle
import sys
from datetime import timedelta

import pytest
from conftest import ENGINE
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.views.debug import ExceptionReporter
from qsessions_django import sql
from qsessions_django.backends.cached_db import SessionStore as CachedStore
from qsessions_django.backends.db import SessionStore as DatabaseStore
from qsessions_django.exceptions import DataTooLarge, SessionEnded
from qsessions_django.keys import SessionKey, foreign_id, native_id, session_id
from qsessions_django.visitor import NOBODY

SessionStore = CachedStore if ENGINE == "cached_db" else DatabaseStore


@pytest.fixture
def store(db):
    """A session that was loaded."""
    made = SessionStore()
    made["a"] = 1
    made.save()
    loaded = SessionStore(made.session_key)
    assert loaded["a"] == 1
    return loaded


def test_the_representation_of_a_key_has_its_id_only(db, store):
    key = store.session_key
    assert repr(key) == f"<key of session {db.value('SELECT id FROM qsessions.session')}>"
    assert repr(SessionKey("the key of another store")) == "<key of a session>"
    assert str(key) == key and f"{key}" == key and type(str(key)) is str
    assert pickle.loads(pickle.dumps(key)) == key


def test_a_key_that_the_database_has_made_is_not_printed(db, ada):
    expiry = sql.Expiry(ttl=timedelta(hours=1))
    made = sql.create("{}", NOBODY, expiry)
    login = sql.login(None, ada.pk, "{}", NOBODY, expiry)
    for key in (made, login.key, sql.replace(login.key, "{}", NOBODY, expiry), sql.save(made, "{}", expiry, rotate=True)):
        assert db.value("SELECT qsessions.session_id(%s)", str(key)) == session_id(key) and len(key) == 48
        assert not contain_key(key, repr(key), repr([key]), repr(login))


def test_ids_are_those_of_the_database(db):
    for key in (db.value("SELECT qsessions.generate_key()"), "A" * 48, "é" * 8, "x" * 512, "the key of another store"):
        assert session_id(key) == db.value("SELECT qsessions.session_id(%s)", key)
    assert native_id("A" * 48) is None and foreign_id("x" * 8).version == 8


def test_the_log_of_statements_has_no_parameters(store):
    stream = io.StringIO()
    logger = logging.getLogger("django.db.backends")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    level, logger.level = logger.level, logging.DEBUG
    logging.disable(logging.NOTSET)
    try:
        with CaptureQueriesContext(connection) as captured:
            store["a"] = 2
            store.save()
            store.cycle_key()
            store.save()
            store.flush()
    finally:
        logging.disable()
        logger.level = level
        logger.removeHandler(handler)
    text = stream.getvalue() + repr(captured.captured_queries)
    assert len(captured) == 3 and text.count("qsessions.logout(%s)") >= 2
    assert "'a'" not in text and '"a"' not in text and str(store.session_key) not in text


def test_the_server_binds_parameters_whatever_the_setting_says(db, store):
    options = connection.settings_dict["OPTIONS"]
    connection.close()
    connection.settings_dict["OPTIONS"] = {}
    try:
        sql.exists(store.session_key)
        seen = db.value(
            "SELECT query FROM pg_stat_activity WHERE query LIKE '%%session_exists($1)%%' AND usename = %s",
            connection.settings_dict["USER"])
        assert store.session_key not in seen
    finally:
        connection.close()
        connection.settings_dict["OPTIONS"] = options


def contain_key(key, *texts):
    """Whether a text contains a key."""
    return any(str(key) in text for text in texts)


def test_errors_and_their_reports_show_no_key(db, store):
    key = store.session_key
    db.end(key)
    store["a"] = 2
    with pytest.raises(SessionEnded) as raised:
        store.save()
    large = SessionStore()
    large["text"] = "x" * 2_000_000
    with pytest.raises(DataTooLarge) as too_large:
        large.save()
    with pytest.raises(DatabaseError) as refused:
        sql.revoke_session(db.value("SELECT gen_random_uuid()"), "no number")
    for error in (raised.value, too_large.value, refused.value):
        assert not contain_key(key, str(error), repr(error), str(error.__cause__))
        # Local variables are a part of the report.
        report = ExceptionReporter(None, type(error), error, error.__traceback__)
        assert not contain_key(key, report.get_traceback_text(), report.get_traceback_html())


def test_a_store_says_what_to_do_in_an_async_context(store):
    import asyncio

    from django.core.exceptions import SynchronousOnlyOperation

    async def read():
        await store.acycle_key()
        return store.session_key

    with pytest.raises(SynchronousOnlyOperation, match="asave"):
        asyncio.run(read())
    assert sys.exc_info() == (None, None, None)
