"""Tests the ASGI middleware of a page of the documentation over HTTP, with Starlette and with FastAPI.

    asgi.py PAGE

PGHOST, PGDATABASE and PGUSER name a database that contains the extension and no tables. The script writes the
code of the page to a package in a temporary folder, and serves it with uvicorn in a thread.
"""

import http.client
import json
import pathlib
import re
import sys
import tempfile
import threading
import time

import psycopg
import uvicorn
from psycopg.types.json import Jsonb

USER_AGENT = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

# Routes for the tests only.
MORE = '''
import json

from starlette.responses import PlainTextResponse


async def show(request):
    # As ASCII: half of a surrogate pair has no UTF-8.
    return PlainTextResponse(json.dumps({"user": request.session.user, "data": request.session}))


async def change(request):
    form = await request.json()
    request.session.update(form.get("set", {}))
    for name in form.get("remove", []):
        del request.session[name]
    if "meanwhile" in form:
        await request.app.state.pool.execute(form["meanwhile"])
    if form.get("fails"):
        raise RuntimeError("of the tests")
    return JSONResponse({})


async def public(request):
    return PlainTextResponse("no session is needed here")


MORE = [Route("/show", show), Route("/change", change, methods=["POST"]), Route("/public", public)]
app.router.routes.extend(MORE)
'''

FASTAPI = """
from fastapi import FastAPI
from shop.app import MORE, SessionMiddleware, add, devices, lifespan, sign_in, sign_out

app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware)
for path, handler in (("/sign-in", sign_in), ("/sign-out", sign_out), ("/cart", add)):
    app.add_route(path, handler, methods=["POST"])
app.add_route("/devices", devices)
app.router.routes.extend(MORE)
"""


def write_package(page, folder):
    """The two modules of the chapter, with the database of this test and more routes."""
    text = pathlib.Path(page).read_text(encoding="utf-8")
    chapter = re.search(r"^## Starlette and FastAPI\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)[1]
    sessions, app = re.findall(r"^```python\n(.*?)^```", chapter, re.DOTALL | re.MULTILINE)
    assert app.count('database="shop", user="shop_app"') == 1
    app = app.replace('database="shop", user="shop_app"', "min_size=1")
    package = folder / "shop"
    package.mkdir()
    for name, code in (("sessions", sessions), ("app", app + MORE), ("fast", FASTAPI)):
        (package / f"{name}.py").write_text(code, encoding="utf-8")


class Serving:
    """Serves an application on a port of its own, by `with`."""

    def __init__(self, name):
        self.server = uvicorn.Server(uvicorn.Config(name, host="127.0.0.1", port=0, log_level="critical"))
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive(), "uvicorn has ended"
            time.sleep(0.01)
        return self.server.servers[0].sockets[0].getsockname()[1]

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()


class Visitor:
    """Someone with a browser that keeps one cookie."""

    def __init__(self, port):
        self.port, self.key, self.attributes = port, None, None

    def request(self, method, path, body=None, status=200):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"User-Agent": USER_AGENT}
        if self.key:
            headers["Cookie"] = f"__Host-session={self.key}"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        answer = response.read().decode()
        connection.close()
        assert response.status == status, (path, response.status, answer)
        cookie = response.headers.get("Set-Cookie")
        self.attributes = cookie and cookie.split("; ")[1:]
        if cookie:
            self.key = cookie.split("; ")[0].split("=", 1)[1].strip('"') or None
        return json.loads(answer) if answer.startswith(("{", "[")) else answer

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body, status=200):
        return self.request("POST", path, body, status)

    def copy(self):
        other = Visitor(self.port)
        other.key = self.key
        return other


class Database:
    def __init__(self):
        self.connection = psycopg.connect(autocommit=True)

    def value(self, statement, *arguments):
        return self.connection.execute(statement, arguments).fetchone()[0]

    def exists(self, key):
        return self.value("SELECT qsessions.session_exists(%s)", key)


def a_visitor_gets_a_cookie_when_something_is_stored(port, db):
    visitor = Visitor(port)
    assert visitor.get("/public") and visitor.key is None
    assert visitor.get("/show") == {"user": None, "data": {}}
    assert visitor.key is None
    assert visitor.post("/cart", {"item": "book"}) == {"cart": ["book"]}
    assert len(visitor.key) == 48
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=Lax", "Max-Age=1209600"} == set(visitor.attributes)
    assert visitor.post("/cart", {"item": "pen"}) == {"cart": ["book", "pen"]}
    assert visitor.attributes is None
    row = db.connection.execute("SELECT host(ip), user_agent FROM qsessions.load_session(%s)", (visitor.key,)).fetchone()
    assert row == ("127.0.0.1", USER_AGENT)


def users_log_in_and_out(port, db):
    visitor, other = Visitor(port), Visitor(port)
    visitor.post("/cart", {"item": "book"})
    before = visitor.key
    assert visitor.post("/sign-in", {"user": 1}) == {"user": "1"}
    assert visitor.key != before and not db.exists(before)
    assert visitor.get("/show") == {"user": "1", "data": {"cart": ["book"]}}
    other.post("/sign-in", {"user": 1})
    assert [device["is_current"] for device in visitor.get("/devices")].count(True) == 1
    assert {device["device"] for device in visitor.get("/devices")} == {"PC / Ubuntu / Firefox 140.0"}
    assert db.value("SELECT qsessions.revoke_user_sessions(1, except_key => %s)", visitor.key) == 1
    assert other.get("/show") == {"user": None, "data": {}}
    assert other.attributes is None
    before = visitor.key
    visitor.post("/sign-out", {})
    assert visitor.key is None and "Max-Age=0" in visitor.attributes and not db.exists(before)


def another_user_gets_nothing_of_the_first(port, db):
    visitor = Visitor(port)
    visitor.post("/sign-in", {"user": 1})
    visitor.post("/cart", {"item": "secret"})
    before = visitor.key
    visitor.post("/sign-in", {"user": 2})
    assert visitor.get("/show") == {"user": "2", "data": {}}
    assert not db.exists(before)


def members_are_patched(port, db):
    visitor = Visitor(port)
    visitor.post("/change", {"set": {"a": 1, "b": {"c": [1]}, "d": 1}})
    other = f"SELECT qsessions.patch_session('{visitor.key}', '{{\"other\": true}}')"
    visitor.post("/change", {"set": {"a": 2}, "remove": ["d"], "meanwhile": other})
    assert visitor.get("/show")["data"] == {"a": 2, "b": {"c": [1]}, "other": True}


def a_session_that_ends_during_a_request_stays_ended(port, db):
    visitor = Visitor(port)
    visitor.post("/sign-in", {"user": 3})
    key = visitor.key
    visitor.post("/change", {"set": {"a": 1}, "meanwhile": "SELECT qsessions.revoke_user_sessions(3)"})
    assert visitor.attributes is None and not db.exists(key)
    assert db.value("SELECT count(*) FROM qsessions.session WHERE user_id = 3") == 0


def a_failing_handler_stores_nothing(port, db):
    visitor = Visitor(port)
    visitor.post("/change", {"set": {"a": 1}})
    visitor.post("/change", {"set": {"a": 2}, "fails": True}, status=500)
    assert visitor.get("/show")["data"] == {"a": 1}


def a_cookie_of_no_session_begins_another(port, db):
    for key in ("x" * 48, "short", "x" * 5000, "\\303\\250", '"\\000aaaaaaaaaaaa"'):
        visitor = Visitor(port)
        visitor.key = key
        assert visitor.get("/show") == {"user": None, "data": {}}
        visitor.key = key
        visitor.post("/cart", {"item": "book"})
        assert len(visitor.key) == 48


def text_that_jsonb_refuses_comes_back(port, db):
    visitor = Visitor(port)
    data = {"na\0me": "a\0b\ud800\ufffe", "escaped": "\\u0000", "pair": "\U0001f600"}
    visitor.post("/change", {"set": data})
    assert visitor.get("/show")["data"] == data
    visitor.post("/change", {"remove": ["na\0me"]})
    assert "na\0me" not in visitor.get("/show")["data"]


def requests_at_the_same_time_keep_each_others_changes(port, db):
    visitor = Visitor(port)
    visitor.post("/change", {"set": {"a": 1}})
    names = [f"member{number}" for number in range(10)]
    threads = [
        threading.Thread(target=visitor.copy().post, args=("/change", {"set": {name: True}})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(visitor.get("/show")["data"]) == {"a", *names}


def data_of_another_program_is_read(port, db):
    key = db.value("SELECT key FROM qsessions.create_session(user_id => 4, data => %s)", Jsonb({"x": 1}))
    visitor = Visitor(port)
    visitor.key = key
    assert visitor.get("/show") == {"user": "4", "data": {"x": 1}}
    assert visitor.attributes is None


CHECKS = (
    a_visitor_gets_a_cookie_when_something_is_stored,
    users_log_in_and_out,
    another_user_gets_nothing_of_the_first,
    members_are_patched,
    a_session_that_ends_during_a_request_stays_ended,
    a_failing_handler_stores_nothing,
    a_cookie_of_no_session_begins_another,
    text_that_jsonb_refuses_comes_back,
    requests_at_the_same_time_keep_each_others_changes,
    data_of_another_program_is_read,
)


def main():
    (page,) = sys.argv[1:]
    db = Database()
    db.connection.execute("CREATE TABLE users (id bigint PRIMARY KEY)")
    db.connection.execute("INSERT INTO users SELECT generate_series(1, 9)")
    db.connection.execute("SELECT qsessions.create_session_table('users')")
    with tempfile.TemporaryDirectory() as folder:
        write_package(page, pathlib.Path(folder))
        sys.path.insert(0, folder)
        for name in ("shop.app:app", "shop.fast:app"):
            with Serving(name) as port:
                for check in CHECKS:
                    print(f"{name}: {check.__name__}", flush=True)
                    db.connection.execute("TRUNCATE qsessions.session")
                    check(port, db)
    print("done")


main()
