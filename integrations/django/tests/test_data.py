"""What a session stores."""

import re

import pytest
from conftest import ENGINE
from psycopg.types.json import Jsonb
from support import IS_ASYNC, Browser, assert_belongs_to


def session_store(key=None):
    """Returns a session store of the engine under test."""
    from django.conf import settings
    from django.utils.module_loading import import_string

    return import_string(f"{settings.SESSION_ENGINE}.SessionStore")(key)


def test_any_text_is_stored_unchanged(application):
    texts = (
        "\0", "a\0b", "\\u0000", "\\\0", "\\\\u0000", "\ud800", "a\udfffb", "\ude00\ud83d", "😀", "\ufffe",
        "\ufffe0000", "\ufffe\0", '"\0"', "\ufffenone", "\n\t\x01\x7f", "\uffff",
    )
    browser = Browser()
    for text in texts:
        data = {"text": text, "nested": [{text: [text]}]}
        browser.post("put", data)
        assert browser.whoami()["data"] == data, repr(text)


def test_members_of_any_name_are_set_and_removed(application):
    store = session_store()
    names = ("a\0", "\ud800", "\ufffe0000", "\\u0000", '"', "")
    store.update({name: name for name in names})
    store.save()
    for name in names:
        again = session_store(store.session_key)
        assert again.pop(name) == name
        again.save()
        assert name not in session_store(store.session_key), repr(name)
    assert not session_store(store.session_key).keys()


def test_names_that_are_no_texts_are_stored_as_json_has_them(application):
    store = session_store()
    for name, value in ((1, "a"), (False, "b"), (None, "c"), (1.5, "d")):
        store[name] = value
        store.save()
    assert dict(session_store(store.session_key).items()) == {"1": "a", "false": "b", "null": "c", "1.5": "d"}
    del store[None]
    store.save()
    assert "null" not in session_store(store.session_key)


def test_data_that_is_not_an_object_is_treated_as_empty(db):
    for data in ([], [1], "text", 7, None, True):
        key = db.value("SELECT key FROM qsessions.create_session(data => %s)", Jsonb(data))
        browser = Browser(key)
        assert browser.whoami()["data"] == {}, data
        browser = Browser(key)
        browser.post("put", {"a": 1})
        assert browser.whoami()["data"] == {"a": 1} and browser.key == key, data


@pytest.mark.skipif(ENGINE != "db", reason="test_cache.py counts those of cached_db")
def test_each_request_takes_few_statements(application):
    from project import tools

    def counted(browser, path, body=None):
        browser.post(path, body)
        calls = [re.findall(r"qsessions\.(\w+)", statement) for statement in tools.statements]
        return [call for call in calls if call]

    def expect(browser, path, body, *calls):
        made = counted(browser, path, body)
        assert made == [list(call) for call in calls], (path, made)

    credentials, load = {"name": "ada", "password": "secret"}, ["resume_session"]
    expect(Browser(), "public", None)
    expect(Browser(), "log_in", credentials, ["login"])
    browser = Browser()
    expect(browser, "put", {"a": 1}, ["create_session"])
    expect(browser, "public", None)
    expect(browser, "whoami", None, load)
    expect(browser, "put", {"a": 2}, load, ["patch_session", "set_expiry"])
    expect(browser, "log_in", credentials, load, ["login"])
    expect(browser, "log_in", credentials, load, ["patch_session", "set_expiry"])
    expect(browser, "change_password", {"password": "secret"}, load, ["save_session", "set_expiry", "rotate_key"])
    expect(browser, "log_out", None, load, ["logout"])
    if not IS_ASYNC:
        return
    browser = Browser()
    browser.post("put", {"a": 1})
    expect(browser, "async_log_in", credentials, load, ["login"])
    expect(browser, "async_log_out", None, load, ["logout"])


def test_save_every_request_works(ada):
    from django.test import override_settings

    browser = Browser()
    browser.log_in("ada")
    version, key = browser.row().version, browser.key
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        for path in ("whoami", "public"):
            assert browser.get(path).status == 200
        assert browser.row().version == version + 2 and browser.key == key
        stranger = Browser("nobodyhasthiskey")
        assert stranger.get("public").status == 200
        assert stranger.key != "nobodyhasthiskey"
        assert Browser().get("public").status == 200
    assert_belongs_to(browser, ada)
