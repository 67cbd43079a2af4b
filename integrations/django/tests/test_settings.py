"""What QSESSIONS changes."""

import threading
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.dispatch import receiver
from django.test import override_settings
from qsessions_django.conf import config
from qsessions_django.signals import new_device_sign_in
from support import USER_AGENT, Browser


def lifetime(row):
    """The time from the last visit to the expiry."""
    return row.expires_at - row.last_seen_at


def test_a_session_slides_with_each_visit(db):
    with override_settings(QSESSIONS={"IDLE_TIMEOUT": timedelta(minutes=30)}):
        browser = Browser()
        answer = browser.post("put", {"a": 1})
        assert int(answer.cookie["sessionid"]["max-age"]) == 400 * 86400
        assert browser.row().idle_timeout == timedelta(minutes=30) and lifetime(browser.row()) == timedelta(minutes=30)
        browser.post("put", {"a": 2})
        db.rows("UPDATE qsessions.session SET last_seen_at = now() - interval '20 min', expires_at = now() + interval '10 min'")
        browser.whoami()
        assert db.value("SELECT expires_at > now() + interval '29 min' FROM qsessions.session")
        browser.log_in("ada")
        row = browser.row()
        assert row.idle_timeout == timedelta(minutes=30) and lifetime(row) == timedelta(minutes=30)


def test_set_expiry_replaces_the_sliding_expiry_and_gives_it_back(db):
    with override_settings(QSESSIONS={"IDLE_TIMEOUT": 1800}):
        browser = Browser()
        browser.post("put", {"a": 1})
        answer = browser.post("expire", (3600, "number"))
        assert answer.cookie["sessionid"]["max-age"] == "3600"
        assert browser.row().idle_timeout is None and lifetime(browser.row()) == timedelta(hours=1)
        browser.post("put", {"a": 2})
        assert browser.row().idle_timeout is None
        browser.post("pop", "_session_expiry")
        assert browser.row().idle_timeout == timedelta(minutes=30) and lifetime(browser.row()) == timedelta(minutes=30)


def test_no_session_is_older_than_max_age(db):
    for settings in ({"MAX_AGE": timedelta(hours=8)}, {"MAX_AGE": timedelta(hours=8), "IDLE_TIMEOUT": 1800}):
        with override_settings(QSESSIONS=settings):
            browser = Browser()
            answer = browser.post("put", {"a": 1})
            row = browser.row()
            assert row.deadline - row.created_at == timedelta(hours=8)
            if "IDLE_TIMEOUT" in settings:
                assert answer.cookie["sessionid"]["max-age"] == str(8 * 3600)
            else:
                assert row.expires_at == row.deadline
            browser.post("put", {"a": 2})
            assert browser.row().deadline == row.deadline and browser.row().expires_at <= row.deadline
            browser.log_in("ada")
            row = browser.row()
            assert row.deadline - row.authenticated_at == timedelta(hours=8)


def test_a_user_has_no_more_than_max_sessions(db, ada):
    with override_settings(QSESSIONS={"MAX_SESSIONS": 2}):
        browsers = [Browser() for _ in range(4)]
        for browser in browsers:
            browser.log_in("ada")
        assert len(db.listed(ada)) == 2
        assert [browser.whoami()["user"] for browser in browsers] == [None, None, ada.pk, ada.pk]


def test_a_setting_that_cannot_be_used_is_named(application):
    for settings, text in (
        ({"IDLE_TIMEOUT": 0}, "QSESSIONS['IDLE_TIMEOUT']: must be longer than zero"),
        ({"MAX_SESSIONS": True}, "QSESSIONS['MAX_SESSIONS']"),
        ({"TRUSTED_PROXIES": ["10.0.0.1/8"]}, "QSESSIONS['TRUSTED_PROXIES']"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8"}, "QSESSIONS['TRUSTED_PROXIES']"),
        ({"PROXY_HEADER": "X-Real-IP"}, "QSESSIONS['PROXY_HEADER']"),
        ({"CACHE": {"MAX_STALENESS": 0.001}}, "QSESSIONS['CACHE']['MAX_STALENESS']"),
        ({"CACHE": {"SIZE": 1}}, "QSESSIONS['CACHE']['SIZE'] is no setting"),
        ({"TIMEOUT": 1}, "QSESSIONS['TIMEOUT'] is no setting"),
        ([], "QSESSIONS must be a dictionary"),
    ):
        with override_settings(QSESSIONS=settings), pytest.raises(ImproperlyConfigured) as raised:
            config()
        assert str(raised.value).startswith(text)


@pytest.fixture
def events(db):
    """A table of events."""
    db.rows("SELECT qsessions.create_event_table()")
    db.rows("SELECT qsessions.grant_access(%s::regrole)", db.value("SELECT current_database() || '_app'"))
    yield
    db.rows("DROP TABLE qsessions.session_event, qsessions.session_event_known, qsessions.session_event_retention")


def test_a_sign_in_from_a_new_device_sends_a_signal(db, events, ada):
    sent = []
    keep = receiver(new_device_sign_in)(lambda **told: sent.append(told))
    try:
        browser = Browser()
        browser.log_in("ada")
        (told,) = sent
        assert told["user_id"] == ada.pk and told["session_id"] == browser.row().id
        assert told["is_new_device"] is True and told["is_new_place"] is False
        assert told["ip"] == "127.0.0.1" and told["user_agent"] == USER_AGENT
        assert not any(browser.key in str(value) for value in told.values())
        Browser().log_in("ada")
        assert len(sent) == 1
        Browser().post("log_in", {"name": "ada", "password": "secret"}, User_Agent="curl/8.7.1")
        assert len(sent) == 2
    finally:
        new_device_sign_in.disconnect(keep)


def test_a_receiver_that_fails_does_not_fail_the_login(events, ada):
    def fail(**_):
        raise RuntimeError("requested")

    new_device_sign_in.connect(fail)
    try:
        browser = Browser()
        browser.log_in("ada")
        assert browser.whoami()["user"] == ada.pk
    finally:
        new_device_sign_in.disconnect(fail)


def test_without_events_there_is_no_signal(db, ada):
    sent = []
    keep = receiver(new_device_sign_in)(lambda **told: sent.append(told))
    try:
        Browser().log_in("ada")
        assert not sent
    finally:
        new_device_sign_in.disconnect(keep)


def test_requests_at_the_same_time_keep_each_others_changes(db):
    browser = Browser()
    browser.post("put", {"cart": ["book"], "old": 1})
    tabs = [Browser(browser.key) for _ in range(2)]
    requests = [("put", {"theme": "dark"}), ("pop", "old")]
    threads = [
        threading.Thread(target=tab.post, args=request, kwargs={"X_Meanwhile": "wait for the other"})
        for tab, request in zip(tabs, requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert browser.row().data == {"cart": ["book"], "theme": "dark"}
