"""Asynchronous views in an ASGI server."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from conftest import ENGINE
from support import IS_ASYNC, Browser, until

pytestmark = pytest.mark.skipif(not IS_ASYNC, reason="came with Django 5.1")


@contextlib.contextmanager
def serving():
    """Serves the project by uvicorn, and gives its port."""
    from django.core.asgi import get_asgi_application

    config = uvicorn.Config(get_asgi_application(), host="127.0.0.1", port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def browser(db, monkeypatch):
    """A browser of the ASGI server."""
    with serving() as port:
        monkeypatch.setattr(Browser, "port", port)
        yield Browser()


def test_a_session_lives_in_asynchronous_views(browser, db, ada, bob):
    assert browser.post("async_put", {"cart": ["book"]}).json()["key"] == browser.key
    before = browser.row()
    assert before.ip == "127.0.0.1" and before.data == {"cart": ["book"]}
    old_key = browser.key
    browser.post("async_log_in", {"name": "ada", "password": "secret"})
    assert browser.row().id == before.id and browser.row().user_id == ada.pk and not db.has_session(old_key)
    told = browser.get("async_whoami").json()
    assert told["user"] == ada.pk and told["key"] == browser.key and told["data"]["cart"] == ["book"]
    assert browser.post("async_cycle").json()["key"] == browser.key
    browser.post("async_log_out")
    assert browser.key is None and db.sessions() == 0


def test_requests_at_the_same_time_have_their_own_sessions(browser, db, ada):
    def visit(number):
        visitor = Browser()
        visitor.post("async_put", {"number": number})
        visitor.post("async_log_in", {"name": "ada", "password": "secret"})
        for _ in range(5):
            told = visitor.get("async_whoami").json()
            assert told["data"]["number"] == number and told["user"] == ada.pk
        return visitor.key

    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(visit, range(16)))
    assert len(set(keys)) == 16 == len(db.listed(ada))


@pytest.mark.skipif(ENGINE != "cached_db", reason="the other engine has no cache")
def test_a_session_in_memory_takes_no_statement(browser, db, ada):
    from project import tools
    from qsessions_django import cache

    cache.session_cache()
    until(lambda: cache.health()["serving"])
    browser.post("async_put", {"a": 1})
    cache.catch_up()  # a notification of the save that comes later would drop what the next request reads
    browser.get("async_whoami")
    hits = cache.health()["hits"]
    answer = browser.get("async_whoami")
    assert not [text for text in tools.statements if "qsessions." in text]
    assert answer.json()["data"] == {"a": 1} and cache.health()["hits"] > hits
    db.end(browser.key)
    cache.catch_up()
    assert browser.get("async_whoami").json()["data"] == {}
