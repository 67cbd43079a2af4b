"""The page of devices, its views and template tags."""

import re

import pytest
from sessions import begin, drop_events, queries_of, session_id
from support import USER_AGENT

CSRF = "django.middleware.csrf.CsrfViewMiddleware"


@pytest.fixture
def visit(application):
    """A function that returns a client that is signed in as a user."""
    from django.conf import settings
    from django.test import Client, override_settings

    def sign_in(user, agent=USER_AGENT, **options):
        client = Client(headers={"User-Agent": agent}, **options)
        user.refresh_from_db()
        client.force_login(user)
        client.get("/put/")
        return client

    with override_settings(ROOT_URLCONF="account.urls", MIDDLEWARE=[*settings.MIDDLEWARE, CSRF]):
        yield sign_in


def key_of(client):
    """Returns the key in the cookie of a client."""
    return client.cookies["sessionid"].value


def texts(html):
    """Returns a page without its tags, with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html.replace("\xa0", " ")))


def test_the_page_shows_the_devices_of_the_user(visit, db, ada, bob):
    client = visit(ada)
    db.rows("UPDATE qsessions.session SET ip = '198.51.100.1', last_seen_at = now() - interval '5 min 5 s'")
    begin(ada, "198.51.100.7")
    begin(bob, "203.0.113.9")
    response = client.get("/devices/")
    page = texts(response.content.decode())
    this, others = page.split("This device")[1].split("Other devices")
    assert "Linux, Firefox 140.0" in this and "127.0.0.1" in this and "iPhone" not in this
    assert "iPhone iOS 17.1, Safari 17.1" in others and "198.51.100.7" in others and "just now" in others
    assert "203.0.113.9" not in page and key_of(client) not in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"] and "private" in response.headers["Cache-Control"]


def test_the_page_takes_the_same_queries_for_any_number_of_devices(visit, ada):
    client = visit(ada)

    def show():
        assert client.get("/devices/").status_code == 200

    few = queries_of(show)
    for number in range(20):
        begin(ada, f"192.0.2.{number}")
    assert queries_of(show) == few <= 3


def test_a_device_is_signed_out(visit, db, ada, bob):
    client, key, foreign = visit(ada), begin(ada), begin(bob)
    response = client.post("/devices/sign-out/", {"id": session_id(key)}, follow=True)
    assert "You are signed out on that device." in response.content.decode() and not db.has_session(key)
    # The session of another user is left alone, and the answer tells nothing of it.
    response = client.post("/devices/sign-out/", {"id": session_id(foreign)}, follow=True)
    assert "You are signed out on that device." in response.content.decode() and db.has_session(foreign)
    for wrong in ("", "nonsense", key_of(client)):
        assert client.post("/devices/sign-out/", {"id": wrong}).status_code == 400
    assert db.has_session(key_of(client))


def test_all_others_are_signed_out(visit, db, ada, bob):
    client, keys, foreign = visit(ada), [begin(ada), begin(ada)], begin(bob)
    response = client.post("/devices/sign-out-others/", follow=True)
    assert "You are signed out on all other devices." in response.content.decode()
    assert "You are signed in nowhere else." in response.content.decode()
    assert not any(map(db.has_session, keys)) and db.has_session(key_of(client)) and db.has_session(foreign)


def test_this_device_is_signed_out(visit, db, ada):
    client = visit(ada)
    key = key_of(client)
    response = client.post("/devices/sign-out/", {"id": session_id(key)})
    assert response.status_code == 302 and response.url == "/accounts/login/"
    assert not db.has_session(key) and client.get("/devices/").status_code == 302


def test_only_users_see_the_page_and_only_forms_of_the_page_count(visit, db, ada):
    from django.test import Client

    stranger = Client()
    assert stranger.get("/devices/").url == "/accounts/login/?next=/devices/"
    key = begin(ada)
    for path in ("sign-out/", "sign-out-others/"):
        assert stranger.post(f"/devices/{path}", {"id": session_id(key)}).status_code == 302
    client = visit(ada, enforce_csrf_checks=True)
    for path in ("sign-out/", "sign-out-others/"):
        assert client.post(f"/devices/{path}", {"id": session_id(key)}).status_code == 403
        assert client.get(f"/devices/{path}").status_code == 405
    assert db.has_session(key)
    page = client.get("/devices/").content.decode()
    (token, *_) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    form = {"id": session_id(key), "csrfmiddlewaretoken": token}
    assert client.post("/devices/sign-out/", form).status_code == 302 and not db.has_session(key)


def test_a_form_of_an_ended_session_leads_to_the_page(visit, db):
    from django.test import Client

    for path in ("sign-out/", "sign-out-others/"):
        assert Client().post(f"/devices/{path}", {"id": "any"}).url == "/accounts/login/?next=/devices/"


def test_forms_need_their_token_without_the_middleware_for_it(visit, db, ada):
    from django.conf import settings
    from django.test import override_settings

    with override_settings(MIDDLEWARE=[name for name in settings.MIDDLEWARE if name != CSRF]):
        client = visit(ada, enforce_csrf_checks=True)
        key = begin(ada)
        for path in ("sign-out/", "sign-out-others/"):
            assert client.post(f"/devices/{path}", {"id": session_id(key)}).status_code == 403
        assert db.has_session(key)
        (token, *_) = re.findall(
            r'name="csrfmiddlewaretoken" value="(\w+)"', client.get("/devices/").content.decode())
        form = {"id": session_id(key), "csrfmiddlewaretoken": token}
        assert client.post("/devices/sign-out/", form).status_code == 302 and not db.has_session(key)


def test_a_list_ends_after_a_hundred_devices(visit, ada):
    client = visit(ada)
    for _ in range(99):
        begin(ada)
    page = client.get("/devices/").content.decode()
    assert page.count('name="id"') == 100 and "devices that you used last" not in page
    begin(ada, user_agent=USER_AGENT)
    page = client.get("/devices/").content.decode()
    assert page.count('name="id"') == 100 and "devices that you used last" in page
    assert "This device" in page and page.count("Firefox") > 1


class ReadsElsewhere:
    """Sends queries for sessions to another database than that of QSESSIONS, as to a replica that is late."""

    def db_for_read(self, model, **hints):
        """Returns the alias."""
        return "elsewhere" if model._meta.app_label == "qsessions_django" else None


def test_the_page_reads_from_the_database_of_the_sessions(visit, ada):
    from django.db import connections
    from django.test import override_settings

    connections.databases["elsewhere"] = {**connections.databases["default"], "NAME": "postgres"}
    try:
        client = visit(ada)
        with override_settings(DATABASE_ROUTERS=[ReadsElsewhere()]):
            assert "This device" in client.get("/devices/").content.decode()
    finally:
        del connections.databases["elsewhere"]


def test_recent_sign_ins(visit, db, ada, bob):
    db.rows("SELECT qsessions.create_event_table()")
    try:
        client = visit(ada)
        begin(ada)
        begin(bob, user_agent="curl/8.5.0")
        page = texts(client.get("/devices/").content.decode())
        sign_ins = page.split("Recent sign-ins")[1]
        assert "iPhone , iOS 17.1, Safari 17.1 New device" in sign_ins and "curl" not in sign_ins
    finally:
        drop_events(db)
    assert "Recent sign-ins" not in client.get("/devices/").content.decode()


def test_what_the_page_shows_is_escaped(visit, ada):
    client = visit(ada)
    begin(ada, user_agent="<script>alert(1)</script>/1.0")
    page = client.get("/devices/?done=%3Cscript%3E").content.decode()
    assert "<script" not in page and "style=" not in page and " on" not in re.sub(r">[^<]*<", "><", page)


def test_a_right_to_left_language(visit, ada):
    from django.test import override_settings
    from django.utils import translation

    client = visit(ada)
    with override_settings(LANGUAGE_CODE="fa"), translation.override("fa"):
        page = client.get("/devices/").content.decode()
    assert '<html lang="fa" dir="rtl">' in page


def test_template_tags(visit, ada):
    from django.contrib.auth.models import AnonymousUser
    from django.conf import settings
    from django.template import engines
    from django.test import RequestFactory
    from django.utils.module_loading import import_string

    key = begin(ada)
    begin(ada, user_agent=None)
    template = engines["django"].from_string(
        "{% load qsessions %}{% devices as found %}{% for session in found %}{{ session.is_current }}|"
        "{{ session|device_name }}|{{ session|device_details }}|{{ session.category|device_kind }}\n{% endfor %}")
    request = RequestFactory().get("/")
    request.session, request.user = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(key), ada
    assert template.render({}, request) == (
        "True|iPhone|iOS 17.1, Safari 17.1|Phone\nFalse|Unknown device||Device\n")
    request.user = AnonymousUser()
    assert template.render({}, request) == ""
