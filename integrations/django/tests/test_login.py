"""Logins, logouts and changes of the key."""

import threading

import pytest
from psycopg.types.json import Jsonb
from support import IS_ASYNC, USER_AGENT, Browser, assert_belongs_to, kinds


def test_a_login_keeps_the_data_and_changes_the_key(db, ada):
    browser = Browser()
    browser.post("put", {"cart": ["book"]})
    before, old_key = browser.row(), browser.key
    assert before.user_id is None and before.data == {"cart": ["book"]}
    assert str(before.ip).startswith("127.0.0.1") and before.user_agent == USER_AGENT
    browser.log_in("ada")
    after = browser.row()
    assert after.id == before.id and browser.key != old_key and not db.has_session(old_key)
    assert after.data["cart"] == ["book"] and after.authenticated_at is not None
    assert_belongs_to(browser, ada)


def test_a_login_without_a_session_creates_one(ada):
    browser = Browser()
    browser.log_in("ada")
    assert_belongs_to(browser, ada)


def test_a_login_after_a_password_change_works(db, bob):
    for looks in (False, True):
        db.change_password(bob, "secret")
        browser = Browser()
        browser.log_in("bob")
        old_key = browser.key
        db.change_password(bob, "changed")
        browser.log_in("bob", "changed", looks=looks)
        assert browser.key != old_key and not db.has_session(old_key)
        assert_belongs_to(browser, bob)
    db.change_password(bob, "secret")


def test_a_login_of_another_user_drops_the_data_of_the_first(db, ada, bob):
    browser = Browser()
    browser.log_in("ada")
    browser.post("put", {"secret": "of Ada"})
    old_key = browser.key
    browser.log_in("bob")
    assert "secret" not in browser.row().data and not db.has_session(old_key)
    assert not db.listed(ada)
    assert_belongs_to(browser, bob)


def test_another_login_of_the_same_user_keeps_the_session(db, ada):
    browser = Browser()
    browser.log_in("ada")
    browser.post("put", {"cart": ["book"]})
    browser.log_in("ada")
    assert browser.row().data["cart"] == ["book"] and db.sessions() == 1
    assert_belongs_to(browser, ada)


def test_a_logout_ends_the_session(db):
    for path in kinds("log_out"):
        browser = Browser()
        browser.log_in("ada")
        browser.post(path)
        assert browser.key is None and db.sessions() == 0, path


def test_a_password_change_changes_only_the_key(db, ada):
    for path in kinds("change_password"):
        browser = Browser()
        browser.log_in("ada")
        browser.post("put", {"cart": ["book"]})
        before, old_key = browser.row(), browser.key
        browser.post(path, {"password": "secret"})
        after = browser.row()
        assert after.id == before.id and browser.key != old_key and not db.has_session(old_key), path
        assert after.data["cart"] == ["book"] and after.authenticated_at == before.authenticated_at
        assert_belongs_to(browser, ada)


def test_removing_the_user_begins_another_session(db, ada):
    for path, body in (("pop", "_auth_user_id"), ("clear", {"cart": ["book"]})):
        browser = Browser()
        browser.log_in("ada")
        browser.post("put", {"cart": ["book"]})
        old_key = browser.key
        browser.post(path, body)
        row = browser.row()
        assert browser.key != old_key and not db.has_session(old_key), path
        assert row.user_id is None and row.data["cart"] == ["book"], path
        assert not db.listed(ada) and browser.whoami()["user"] is None, path
        db.rows("TRUNCATE qsessions.session")


def test_setting_another_user_in_the_data_is_a_login(db, ada, bob):
    browser = Browser()
    browser.log_in("ada")
    old_key = browser.key
    browser.post("put", {"_auth_user_id": bob.pk})
    assert browser.row().user_id == bob.pk and not db.listed(ada) and not db.has_session(old_key)


def test_the_key_in_a_view_is_the_key_in_the_cookie(db):
    browser = Browser()
    browser.post("put", {"cart": []})
    assert browser.log_in("ada", tells=True).json()["key"] == browser.key
    assert browser.post("change_password", {"password": "secret", "tells": True}).json()["key"] == browser.key
    if IS_ASYNC:
        assert browser.post("async_put", {"a": 1}).json()["key"] == browser.key
        assert browser.post("async_cycle").json()["key"] == browser.key
    assert browser.post("log_out").json()["key"] is None and db.sessions() == 0


def test_two_concurrent_logins_succeed(db, ada):
    browser = Browser()
    browser.post("put", {"cart": ["book"]})
    tabs = [Browser(browser.key), Browser(browser.key)]
    failures = []

    def submit(tab):
        try:
            tab.post("log_in", {"name": "ada", "password": "secret"}, X_Meanwhile="wait for the other")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=submit, args=(tab,)) for tab in tabs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert db.listed(ada) == {tab.row().id for tab in tabs} and db.sessions() == 2
    assert all(tab.row().data["cart"] == ["book"] for tab in tabs)


@pytest.mark.skipif(not IS_ASYNC, reason="came with Django 5.1")
def test_asynchronous_views_work(db, ada, bob):
    browser = Browser()
    browser.post("async_put", {"cart": ["book"]})
    before, old_key = browser.row(), browser.key
    browser.post("async_log_in", {"name": "ada", "password": "secret"})
    assert browser.row().id == before.id and not db.has_session(old_key)
    assert browser.row().data["cart"] == ["book"]
    old_key = browser.key
    browser.post("async_log_in", {"name": "bob", "password": "secret"})
    assert "cart" not in browser.row().data and not db.has_session(old_key) and not db.listed(ada)
    assert_belongs_to(browser, bob)


def test_data_alone_does_not_log_a_user_in(db, bob):
    browser = Browser()
    browser.log_in("ada")
    data = browser.row().data
    for user in (None, bob.pk):
        forged = db.value(
            "SELECT key FROM qsessions.create_session(%s::bigint, data => %s)", user, Jsonb(data))
        other = Browser(forged)
        assert other.whoami()["user"] is None
        other = Browser(forged)
        other.post("put", {"a": 1})
        assert other.key != forged and other.row().user_id is None and other.row().data == {"a": 1}


def test_a_session_that_another_program_has_created_keeps_its_user(db, ada):
    key = db.value("SELECT key FROM qsessions.create_session(%s::bigint)", ada.pk)
    browser = Browser(key)
    assert browser.whoami()["user"] is None
    browser = Browser(key)
    browser.post("put", {"a": 1})
    assert browser.key == key and browser.row().user_id == ada.pk and browser.row().data == {"a": 1}
    browser.log_in("ada")
    assert browser.key != key and browser.row().data["a"] == 1
    assert_belongs_to(browser, ada)
