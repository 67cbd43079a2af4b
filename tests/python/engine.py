"""Tests the Django session engine of a page of the documentation over HTTP.

    engine.py PAGE

PGHOST, PGDATABASE and PGUSER name a database that contains the extension and no tables. The script writes the
code of the page to a project in a temporary folder, and serves it with a WSGI server in this process. The
checks send requests with http.client and inspect the table with SQL.
"""

import datetime
import http.client
import io
import json
import logging
import os
import pathlib
import re
import sys
import tempfile
import textwrap
import threading
import traceback
import wsgiref.simple_server
from http.cookies import SimpleCookie
from socketserver import ThreadingMixIn

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

SETTINGS = """
import os

SECRET_KEY = "of these tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "shop"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGGING_CONFIG = None
USE_TZ = True
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"],
    "HOST": os.environ["PGHOST"], "USER": os.environ["PGUSER"]}}
"""

MIDDLEWARE = """
MIDDLEWARE = ["shop.tools.Statements", *MIDDLEWARE[:-1], "shop.tools.Meanwhile",
              "django.contrib.auth.middleware.AuthenticationMiddleware"]
"""

MIGRATION = """
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("auth", "__first__")]
    operations = [{operation}]
"""

TOOLS = '''
from contextlib import ExitStack

from django.db import connection

statements = []
meanwhile = {}


class Statements:
    """Records the statements of a request."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        def keep(execute, sql, params, many, context):
            statements.append(sql)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(keep):
            return self.get_response(request)


class Meanwhile:
    """Performs the action that a header names, after the session was loaded and before the view runs."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        name = request.headers.get("X-Meanwhile")
        if name:
            request.session.items()
            meanwhile[name](request.session.session_key)
        return self.get_response(request)
'''

URLS = '''
import json
from datetime import timedelta

from django.contrib.auth import (
    aauthenticate, alogin, alogout, aupdate_session_auth_hash, authenticate, login, logout, update_session_auth_hash)
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone


def answer(request, **more):
    return JsonResponse({"key": request.session.session_key, **more})


def public(request):
    return HttpResponse("no session is needed here")


def whoami(request):
    return answer(request, user=request.user.pk, data=dict(request.session.items()))


def log_in(request):
    form = json.loads(request.body)
    if form.get("looks"):
        request.user.pk     # as a template or a middleware does
    login(request, authenticate(username=form["name"], password=form["password"]))
    return answer(request) if form.get("tells") else HttpResponse()


def log_out(request):
    logout(request)
    return answer(request)


def change_password(request):
    form = json.loads(request.body)
    request.user.set_password(form["password"])
    request.user.save()
    update_session_auth_hash(request, request.user)
    return answer(request) if form.get("tells") else HttpResponse()


def put(request):
    request.session.update(json.loads(request.body))
    return HttpResponse()


def pop(request):
    request.session.pop(json.loads(request.body), None)
    return HttpResponse()


def clear(request):
    request.session.clear()
    request.session.update(json.loads(request.body))
    return HttpResponse()


def cycle(request):
    request.session.cycle_key()
    return HttpResponse()


def create(request):
    request.session.create()
    return HttpResponse()


def expire(request):
    seconds, kind = json.loads(request.body)
    values = {
        "number": seconds, "timedelta": timedelta(seconds=seconds),
        "datetime": timezone.now() + timedelta(seconds=seconds)}
    request.session.set_expiry(values[kind])
    return HttpResponse()


def fail(request):
    request.session.cycle_key()
    raise RuntimeError("requested")


async def async_log_in(request):
    form = json.loads(request.body)
    await alogin(request, await aauthenticate(username=form["name"], password=form["password"]))
    return HttpResponse()


async def async_log_out(request):
    await alogout(request)
    return HttpResponse()


async def async_change_password(request):
    request.user = user = await request.auser()     # aupdate_session_auth_hash reads it outside of a thread
    user.set_password(json.loads(request.body)["password"])
    await user.asave()
    await aupdate_session_auth_hash(request, user)
    return HttpResponse()


async def async_put(request):
    await request.session.aupdate(json.loads(request.body))
    await request.session.asave()
    return answer(request)


urlpatterns = [path(view.__name__, view) for view in (
    public, whoami, log_in, log_out, change_password, put, pop, clear, cycle, create, expire, fail, async_log_in,
    async_log_out, async_change_password, async_put)]
'''


def block_of(page, mark):
    """The Python block of the page that contains the mark."""
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if mark in block)
    return block


def make_project(page, folder):
    shop = pathlib.Path(folder, "shop")
    (shop / "migrations").mkdir(parents=True)
    (operation,) = re.findall(r"`(migrations\.RunSQL\(.*?\))`", page)
    for name, text in {
        "__init__.py": "",
        "migrations/__init__.py": "",
        "migrations/0001_initial.py": MIGRATION.format(operation=operation),
        "sessions.py": block_of(page, "class SessionStore"),
        "settings.py": SETTINGS + block_of(page, "SESSION_ENGINE") + MIDDLEWARE,
        "tools.py": TOOLS,
        "urls.py": URLS,
    }.items():
        (shop / name).write_text(textwrap.dedent(text), encoding="utf-8")
    sys.path.insert(0, folder)


class Server(ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        pass


def with_address(application):
    """Sets REMOTE_ADDR from a header, because servers report addresses in different forms."""

    def answer(environ, start_response):
        address = environ.pop("HTTP_X_ADDRESS", None)
        if address == "absent":
            del environ["REMOTE_ADDR"]
        elif address is not None:
            environ["REMOTE_ADDR"] = json.loads(address)
        return application(environ, start_response)

    return answer


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.body = response.read()
        self.cookie = SimpleCookie()
        for header in response.headers.get_all("Set-Cookie", ()):
            self.cookie.load(header)

    def json(self):
        return json.loads(self.body)


class Browser:
    """A client that keeps its cookie."""

    port = None

    def __init__(self, key=None):
        self.key = key

    def send(self, method, path, body=None, **headers):
        from shop import tools

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers.setdefault("User-Agent", USER_AGENT)
        if self.key is not None:
            headers.setdefault("Cookie", f"sessionid={self.key}")
        tools.statements.clear()
        try:
            connection.request(method, "/" + path, None if body is None else json.dumps(body), headers)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        if "sessionid" in answer.cookie:
            cookie = answer.cookie["sessionid"]
            ends = cookie["max-age"] != "" and int(cookie["max-age"]) <= 0
            self.key = None if ends else cookie.value
        return answer

    def get(self, path, **headers):
        return self.send("GET", path, **headers)

    def post(self, path, body=None, expected=200, **headers):
        answer = self.send("POST", path, body, **headers)
        assert answer.status == expected, f"{path} gave {answer.status}: {traces.getvalue()}"
        return answer

    def whoami(self, **headers):
        answer = self.get("whoami", **headers)
        assert answer.status == 200, f"whoami gave {answer.status}: {traces.getvalue()}"
        return answer.json()

    def log_in(self, name, password="secret", **more):
        return self.post("log_in", {"name": name, "password": password, **more})

    def row(self):
        return db.row(
            """SELECT id, user_id, data, ip, user_agent, authenticated_at, updated_at, expires_at, version
               FROM qsessions.session WHERE digest = sha256(%s::text::bytea)""",
            self.key)


class Database:
    """A separate connection as superuser."""

    def __init__(self, connection):
        self.connection = connection

    def rows(self, statement, *arguments):
        with self.connection.cursor(row_factory=namedtuple_row) as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []

    def row(self, statement, *arguments):
        rows = self.rows(statement, *arguments)
        assert len(rows) < 2, rows
        return rows[0] if rows else None

    def value(self, statement, *arguments):
        (value,) = self.row(statement, *arguments)
        return value

    def sessions(self):
        return self.value("SELECT count(*) FROM qsessions.session")

    def has_session(self, key):
        return self.value("SELECT qsessions.session_exists(%s)", key)

    def listed(self, user):
        rows = self.rows("SELECT id FROM qsessions.user_sessions(%s)", user.pk)
        return {row.id for row in rows}

    def revoke_all(self, user):
        return self.value("SELECT qsessions.revoke_user_sessions(%s)", user.pk)

    def change_password(self, user, password):
        from django.contrib.auth.hashers import make_password

        self.rows("UPDATE auth_user SET password = %s WHERE id = %s", make_password(password), user.pk)

    def end(self, key):
        ended = self.value("SELECT qsessions.logout(%s)", key)
        assert ended


db = ada = bob = None
traces = io.StringIO()


def assert_belongs_to(browser, user):
    """Asserts that the session belongs to the user, and that revoking the user's sessions ends it."""
    row = browser.row()
    assert row is not None and row.user_id == user.pk, row
    assert browser.whoami()["user"] == user.pk
    assert row.id in db.listed(user)
    assert db.revoke_all(user) >= 1
    assert browser.whoami()["user"] is None
    assert not db.has_session(browser.key or "none at all")


def a_login_keeps_the_data_and_changes_the_key():
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


def a_login_without_a_session_creates_one():
    browser = Browser()
    browser.log_in("ada")
    assert_belongs_to(browser, ada)


def a_login_after_a_password_change_works():
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


def a_login_of_another_user_drops_the_data_of_the_first():
    browser = Browser()
    browser.log_in("ada")
    browser.post("put", {"secret": "of Ada"})
    old_key = browser.key
    browser.log_in("bob")
    assert "secret" not in browser.row().data and not db.has_session(old_key)
    assert not db.listed(ada)
    assert_belongs_to(browser, bob)


def another_login_of_the_same_user_keeps_the_session():
    browser = Browser()
    browser.log_in("ada")
    browser.post("put", {"cart": ["book"]})
    browser.log_in("ada")
    assert browser.row().data["cart"] == ["book"] and db.sessions() == 1
    assert_belongs_to(browser, ada)


def a_logout_ends_the_session():
    for path in ("log_out", "async_log_out"):
        browser = Browser()
        browser.log_in("ada")
        browser.post(path)
        assert browser.key is None and db.sessions() == 0, path


def a_password_change_changes_only_the_key():
    for path in ("change_password", "async_change_password"):
        browser = Browser()
        browser.log_in("ada")
        browser.post("put", {"cart": ["book"]})
        before, old_key = browser.row(), browser.key
        browser.post(path, {"password": "secret"})
        after = browser.row()
        assert after.id == before.id and browser.key != old_key and not db.has_session(old_key), path
        assert after.data["cart"] == ["book"] and after.authenticated_at == before.authenticated_at
        assert_belongs_to(browser, ada)


def removing_the_user_begins_another_session():
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


def setting_another_user_in_the_data_is_a_login():
    browser = Browser()
    browser.log_in("ada")
    old_key = browser.key
    browser.post("put", {"_auth_user_id": bob.pk})
    assert browser.row().user_id == bob.pk and not db.listed(ada) and not db.has_session(old_key)


def data_alone_does_not_log_a_user_in():
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


def a_session_that_another_program_has_created_keeps_its_user():
    key = db.value("SELECT key FROM qsessions.create_session(%s::bigint)", ada.pk)
    browser = Browser(key)
    assert browser.whoami()["user"] is None
    browser = Browser(key)
    browser.post("put", {"a": 1})
    assert browser.key == key and browser.row().user_id == ada.pk and browser.row().data == {"a": 1}
    browser.log_in("ada")
    assert browser.key != key and browser.row().data["a"] == 1
    assert_belongs_to(browser, ada)


def a_session_that_has_ended_meanwhile_does_not_come_back():
    changes = (
        ("put", {"a": 1}),
        ("put", {"_auth_user_id": bob.pk}),
        ("pop", "_auth_user_id"),
        ("cycle", None),
        ("create", None),
        ("change_password", {"password": "secret"}),
        ("async_change_password", {"password": "secret"}),
        ("async_put", {"a": 1}),
        ("expire", (3600, "number")),
    )
    for path, body in changes:
        browser = Browser()
        browser.log_in("ada")
        browser.post(path, body, expected=400, X_Meanwhile="end")
        assert db.sessions() == 0, path
        assert browser.whoami()["user"] is None, path
    for path, body in (("put", {"a": 1}), ("cycle", None)):
        browser = Browser()
        browser.post("put", {"cart": []})
        browser.post(path, body, expected=400, X_Meanwhile="end")
        assert db.sessions() == 0, path


def two_concurrent_logins_succeed():
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


def a_view_that_fails_does_not_change_the_session():
    browser = Browser()
    browser.log_in("ada")
    key = browser.key
    browser.post("fail", expected=500)
    assert browser.key == key
    assert_belongs_to(browser, ada)


def the_key_in_a_view_is_the_key_in_the_cookie():
    browser = Browser()
    browser.post("put", {"cart": []})
    assert browser.log_in("ada", tells=True).json()["key"] == browser.key
    assert browser.post("change_password", {"password": "secret", "tells": True}).json()["key"] == browser.key
    assert browser.post("async_put", {"a": 1}).json()["key"] == browser.key
    assert browser.post("log_out").json()["key"] is None and db.sessions() == 0


def any_remote_address_is_accepted():
    for sent, stored in (
        ("absent", None),
        ('""', None),
        ('"unknown"', None),
        ('"unix:"', None),
        ('"/run/shop.sock"', None),
        ('"localhost"', None),
        ('"192.0.2.7\\u0000"', "192.0.2.7"),
        ('"192.0.2.7"', "192.0.2.7"),
        ('"192.0.2.7:4711"', "192.0.2.7"),
        ('"::ffff:192.0.2.7"', "192.0.2.7"),
        ('"2001:db8::1"', "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ('"fe80::1%eth0"', "fe80::1"),
    ):
        for path, body in (("put", {"a": 1}), ("log_in", {"name": "ada", "password": "secret"})):
            browser = Browser()
            browser.post(path, body, X_Address=sent)
            browser.whoami(X_Address=sent)
            address = browser.row().ip
            assert (address and str(address).split("/")[0]) == stored, (sent, address)


def any_user_agent_is_accepted():
    for sent, stored in (
        ("", ""),
        ("curl\0/8.7.1", "curl/8.7.1"),
        ("caf\xe9", "caf\xe9"),
        ("x" * 2000, "x" * 512),
    ):
        browser = Browser()
        browser.post("put", {"a": 1}, User_Agent=sent)
        browser.whoami(User_Agent=sent)
        assert browser.row().user_agent == stored, sent[:20]


def any_text_is_stored_unchanged():
    texts = (
        "\0", "a\0b", "\\u0000", "\\\0", "\\\\u0000", "\ud800", "a\udfffb", "\ude00\ud83d", "😀", "\ufffe",
        "\ufffe0000", "\ufffe\0", '"\0"', "\ufffenone", "\n\t\x01\x7f", "\uffff",
    )
    browser = Browser()
    for text in texts:
        data = {"text": text, "nested": [{text: [text]}]}
        browser.post("put", data)
        assert browser.whoami()["data"] == data, repr(text)


def a_cookie_of_no_session_begins_a_new_session():
    for cookie in (
        "",
        "short",
        '"\\000aaaaaaaaaaaa"',
        "aaaaaaaa\0aaaaaaaa",
        '"\\355\\240\\200aaaaaaaa"',
        "caf\xe9caf\xe9caf\xe9",
        "x" * 513,
        "x" * 5000,
        "nobodyhasthiskey",
        "A" * 48,
    ):
        for path, body in (
            ("whoami", None), ("put", {"a": 1}), ("clear", {"a": 1}), ("cycle", None),
            ("pop", "_auth_user_id"), ("log_out", None), ("expire", (-10, "number")), ("async_put", {"a": 1}),
            ("log_in", {"name": "ada", "password": "secret"}),
        ):
            browser = Browser()
            browser.post(path, body, Cookie=f"sessionid={cookie}")
            assert browser.key != cookie, path
    assert db.sessions() > 0
    assert not any(db.has_session(key) for key in ("x" * 512, "nobodyhasthiskey", "A" * 48))


def an_expiry_in_the_past_ends_the_session():
    for value in ((-10, "number"), (-10, "timedelta"), (-10, "datetime"), (0, "timedelta")):
        for name in ("ada", None):
            for begins in (False, True):
                browser = Browser()
                if name:
                    browser.log_in(name)
                elif begins:
                    browser.post("put", {"a": 1})
                browser.post("expire", value)
                assert browser.key is None and db.sessions() == 0, (value, name)


def the_expiry_of_django_is_stored():
    def lifetime(browser):
        row = browser.row()
        return (row.expires_at - row.updated_at).total_seconds()

    for name in ("ada", None):
        browser = Browser()
        if name:
            browser.log_in(name)
        answer = browser.post("expire", (3600, "number"))
        assert answer.cookie["sessionid"]["max-age"] == "3600" and lifetime(browser) == 3600
        browser.post("expire", (7200, "timedelta"))
        assert 3600 < lifetime(browser) <= 7200
        answer = browser.post("expire", (0, "number"))
        assert answer.cookie["sessionid"]["max-age"] == "" and lifetime(browser) == 14 * 86400
        assert browser.whoami()["user"] == (ada.pk if name else None)


def clearsessions_purges_all_batches():
    from django.core.management import call_command

    db.rows(
        """INSERT INTO qsessions.session (id, digest, expires_at)
           SELECT gen_random_uuid(), '', now() - n * interval '1 second' FROM generate_series(1, 10001) AS n""")
    browser = Browser()
    browser.post("put", {"a": 1})
    call_command("clearsessions")
    assert db.sessions() == 1 and browser.whoami()["data"] == {"a": 1}


def each_request_takes_few_statements():
    from shop import tools

    def counted(browser, path, body=None):
        browser.post(path, body)
        calls = [re.findall(r"qsessions\.(\w+)", statement) for statement in tools.statements]
        return [[name for name in call if name != "address"] for call in calls if call]

    def expect(browser, path, body, *calls):
        made = counted(browser, path, body)
        assert made == [list(call) for call in calls], (path, made)

    credentials, load = {"name": "ada", "password": "secret"}, ["resume_session"]
    expect(Browser(), "public", None)
    expect(Browser(), "log_in", credentials, ["login"])
    browser = Browser()
    expect(browser, "put", {"a": 1}, ["logout", "create_session"])
    expect(browser, "public", None)
    expect(browser, "whoami", None, load)
    expect(browser, "put", {"a": 2}, load, ["save_session"])
    expect(browser, "log_in", credentials, load, ["login"])
    expect(browser, "log_in", credentials, load, ["save_session"])
    expect(browser, "change_password", {"password": "secret"}, load, ["save_session", "rotate_key"])
    expect(browser, "log_out", None, load, ["logout"])
    browser = Browser()
    browser.post("put", {"a": 1})
    expect(browser, "async_log_in", credentials, load, ["login"])
    expect(browser, "async_log_out", None, load, ["logout"])


def data_that_is_not_an_object_is_treated_as_empty():
    for data in ([], [1], "text", 7, None, True):
        key = db.value("SELECT key FROM qsessions.create_session(data => %s)", Jsonb(data))
        browser = Browser(key)
        assert browser.whoami()["data"] == {}, data
        browser = Browser(key)
        browser.post("put", {"a": 1})
        assert browser.whoami()["data"] == {"a": 1} and browser.key == key, data


def save_every_request_works():
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


def asynchronous_views_work():
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


def the_test_client_works():
    from django.test import Client

    for user in (ada, bob):
        user.refresh_from_db()
    client = Client()
    session = client.session
    session["cart"] = ["book"]
    session.save()
    client.force_login(ada)
    told = client.get("/whoami").json()
    assert told["user"] == ada.pk and told["data"]["cart"] == ["book"], told
    session = client.session
    session["cart"] = ["pen"]
    session.save()
    assert client.get("/whoami").json()["data"]["cart"] == ["pen"] and db.sessions() == 1
    client.force_login(bob)
    assert client.get("/whoami").json()["user"] == bob.pk and not db.listed(ada)
    client.logout()
    assert db.sessions() == 0


def a_session_store_works_outside_of_requests():
    from django.contrib.sessions.backends.base import UpdateError
    from django.db import connection, transaction
    from shop.sessions import SessionStore

    store = SessionStore()
    assert store.is_empty() and store.session_key is None
    store.create()
    key = store.session_key
    assert store.exists(key) and db.has_session(key) and not store.is_empty()
    store["a"] = 1
    store.save()
    assert store.session_key == key and SessionStore(session_key=key)["a"] == 1
    store.cycle_key()
    assert not store.exists(key) and store.session_key != key and store["a"] == 1
    store.cycle_key()
    store.flush()
    assert store.session_key is None and store.is_empty() and db.sessions() == 0
    for key in (None, "", "1", "aaaa\0aaaa", "\ud800aaaaaaaa", "nobodyhasthiskey"):
        store = SessionStore(key)
        store["b"] = 2
        store.save(must_create=True)
        assert store.session_key != key and db.has_session(store.session_key)
        assert not store.exists(key) and SessionStore(store.session_key)["b"] == 2
        store.delete(key)
        store.delete()
        store.delete()
    assert db.sessions() == 0

    store = SessionStore()
    store.save()
    db.end(store.session_key)
    with transaction.atomic():
        for change in (lambda: store.update({"a": 1}), store.cycle_key):
            change()
            try:
                store.save()
                raise AssertionError("saved")
            except UpdateError:
                pass
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            store = SessionStore()
            store.save()
            db_key = store.session_key
            connection.cursor().execute("SELECT qsessions.logout(%s)", [db_key])
    connection.close()
    assert db.sessions() == 0


def sessions_of_django_can_be_imported():
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore
    from django.db import connection

    db.rows("GRANT ALL ON django_session TO PUBLIC")
    keys = []
    for data in (
        {
            SESSION_KEY: str(ada.pk),
            BACKEND_SESSION_KEY: "django.contrib.auth.backends.ModelBackend",
            HASH_SESSION_KEY: get_user_model().objects.get(pk=ada.pk).get_session_auth_hash(),
        },
        {"text": "a\0b"},
    ):
        store = SessionStore()
        store.update(data)
        store.save()
        keys.append(store.session_key)
    exec(block_of(page, "get_decoded"), {})
    connection.close()
    assert Browser(keys[1]).whoami()["data"] == {"text": "a\0b"}
    browser = Browser(keys[0])
    browser.whoami()
    assert browser.key == keys[0]
    assert_belongs_to(browser, ada)


CHECKS = (
    a_login_keeps_the_data_and_changes_the_key,
    a_login_without_a_session_creates_one,
    a_login_after_a_password_change_works,
    a_login_of_another_user_drops_the_data_of_the_first,
    another_login_of_the_same_user_keeps_the_session,
    a_logout_ends_the_session,
    a_password_change_changes_only_the_key,
    removing_the_user_begins_another_session,
    setting_another_user_in_the_data_is_a_login,
    data_alone_does_not_log_a_user_in,
    a_session_that_another_program_has_created_keeps_its_user,
    a_session_that_has_ended_meanwhile_does_not_come_back,
    two_concurrent_logins_succeed,
    a_view_that_fails_does_not_change_the_session,
    the_key_in_a_view_is_the_key_in_the_cookie,
    any_remote_address_is_accepted,
    any_user_agent_is_accepted,
    any_text_is_stored_unchanged,
    a_cookie_of_no_session_begins_a_new_session,
    an_expiry_in_the_past_ends_the_session,
    the_expiry_of_django_is_stored,
    clearsessions_purges_all_batches,
    each_request_takes_few_statements,
    data_that_is_not_an_object_is_treated_as_empty,
    save_every_request_works,
    asynchronous_views_work,
    the_test_client_works,
    a_session_store_works_outside_of_requests,
    sessions_of_django_can_be_imported,
)


def prepare(connection):
    """Runs the migrations as superuser, then configures the project to connect as an application's role."""
    global db, ada, bob
    import django
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.core.signals import got_request_exception
    from django.db import connection as django_connection
    from django.db import connections
    from shop import tools

    django.setup()
    call_command("migrate", verbosity=0)
    db = Database(connection)
    users = get_user_model().objects
    ada, bob = (users.create_user(name, password="secret") for name in ("ada", "bob"))
    role = f"{os.environ['PGDATABASE']}_app"
    connection.execute(
        f"""CREATE ROLE {role} LOGIN;
            GRANT SELECT, UPDATE ON auth_user TO {role};
            SELECT qsessions.grant_access('{role}')""")
    django_connection.close()
    connections.databases["default"]["USER"] = role
    both = threading.Barrier(2, timeout=60)
    tools.meanwhile.update({"end": db.end, "wait for the other": lambda _: both.wait()})
    got_request_exception.connect(lambda **_: traceback.print_exc(file=traces), weak=False)


def serve():
    from django.core.wsgi import get_wsgi_application

    server = wsgiref.simple_server.make_server(
        "127.0.0.1", 0, with_address(get_wsgi_application()), Server, Quiet)
    Browser.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    failed = []
    logging.disable()  # `traces` collects exceptions
    with psycopg.connect(autocommit=True) as connection:
        prepare(connection)
        serve()
        for check in CHECKS:
            db.rows("TRUNCATE qsessions.session")
            traces.seek(0)
            traces.truncate()
            try:
                check()
            except Exception:
                failed.append(check.__name__)
                print(f"{check.__name__} failed:\n{traceback.format_exc()}", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    print("done")


page = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
with tempfile.TemporaryDirectory() as project:
    make_project(page, project)
    main()
