"""Runs the tests that django-qsessions 2.1 has for itself with the engines of this package.

    qsessions_suite.py FOLDER

FOLDER is the unpacked source distribution of django-qsessions. PGHOST and PGUSER (a superuser) name the server. Names
that differ are replaced in a copy of the tests; each replacement must be there. Prints the results, and the tests that
are left out, with the reason.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# What cannot hold, by the name of the test.
LEFT_OUT = {
    "test_load_modified": "a new address or browser is recorded by the load, and leaves the session unmodified",
    "test_duplicate_create": "save(must_create=True) does not fail for a key that exists: it gets a new one",
}
ANYWHERE = (
    ("qsessions.models", "qsessions_django.models"),
    ("qsessions.backends", "qsessions_django.backends"),
    ("/admin/qsessions/session/", "/admin/qsessions_django/session/"),
    # The address and the browser are columns, and not members of the data.
    ("from qsessions import IP_SESSION_KEY, USER_AGENT_SESSION_KEY\n", ""),
    ("from qsessions import USER_AGENT_SESSION_KEY\n", ""),
    # The key is not in the table.
    ("Session.objects.get(pk=session_key)", "Session.objects.by_key(session_key).get()"),
    ("Session.objects.get(pk=store.session_key)", "Session.objects.by_key(store.session_key).get()"),
    ("Session.objects.get(pk=client.cookies[settings.SESSION_COOKIE_NAME].value)",
     "Session.objects.by_key(client.cookies[settings.SESSION_COOKIE_NAME].value).get()"),
    # The foreign key of the database needs the user, whose sequence goes on after a test that is rolled back.
    ('create_user(username="test_user")', 'create_user(pk=1, username="test_user")'),
)
IN_FILES = {
    "conftest.py": (
        ("Session.get_session_store_class()", "engine(request.param)"),
        ("import pytest\n", "import pytest\nfrom mapped import engine, geoip  # noqa: F401\n"),
    ),
    "test_admin.py": (
        ("{admin_client.cookies[settings.SESSION_COOKIE_NAME].value}",
         "{session_id(admin_client.cookies[settings.SESSION_COOKIE_NAME].value)}"),
        ("import pytest\n", "import pytest\nfrom qsessions_django.sql import session_id\n"),
        ("def test_smoke_admin(admin_client)", "def test_smoke_admin(admin_client, geoip)"),
        # A visit is recorded before the page is made, so that the page must be visited from there too.
        ("?active=1&owner=my\")",
         "?active=1&owner=my\", HTTP_USER_AGENT=\"Chrome/70.0.3538.102\", REMOTE_ADDR=\"89.160.20.112\")"),
        # With the rules of this project for User-Agents.
        ("Chrome 70.0.3538", "Chrome 70.0.3538.102"),
    ),
    # Rows are made by SQL: the model does not create sessions.
    "test_clearsessions.py": (
        ("Session.objects.create(", "create("),
        ("import pytest\n", "import pytest\nfrom mapped import create\n"),
    ),
    "test_middleware.py": (
        ('    assert data[USER_AGENT_SESSION_KEY] == "TestUA/1.1"\n', ""),
    ),
    "test_model.py": (
        ('        IP_SESSION_KEY: "127.0.0.1",\n        USER_AGENT_SESSION_KEY: "TestUA/1.1",\n', ""),
        # The setting qsessions.user_agent_max_length.
        ("ua[:300]", "ua[:512]"),
        # The database looks addresses and User-Agents up.
        ("def test_location():", "@pytest.mark.django_db\ndef test_location(geoip):"),
        ("def test_device():", "@pytest.mark.django_db\ndef test_device():"),
        ('device.os.family == "Mac OS X"', 'device.os == "macOS"'),
        ('device.user_agent.family == "Chrome"', 'device.browser == "Chrome"'),
    ),
    "test_sessionstore.py": (
        ('    assert store2.get(USER_AGENT_SESSION_KEY) == "TestUA/1.1"\n'
         '    assert store2.get(IP_SESSION_KEY) == "127.0.0.1"\n', ""),
    ),
}
SETTINGS = """
import os
from tests.original import *

DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "USER": os.environ["PGUSER"],
    "NAME": os.environ["PGDATABASE"], "OPTIONS": {"server_side_binding": True},
    "TEST": {"NAME": os.environ["PGDATABASE"] + "_qsessions_suite"}}}
INSTALLED_APPS = [app.replace("qsessions", "qsessions_django") for app in INSTALLED_APPS]
MIDDLEWARE = [name.replace("qsessions", "qsessions_django") for name in MIDDLEWARE]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
QSESSIONS = {"CACHE": {"IN_TESTS": True}}
"""
MAPPED = '''
import datetime
import os
from importlib import import_module

import pytest
from django.db import connection
from django.utils.timezone import get_default_timezone, make_aware


def pytest_terminal_summary(terminalreporter):
    """Prints the numbers in the form in which scripts/test reads them."""
    passed, *failed = (len(terminalreporter.stats.get(kind, ())) for kind in ("passed", "failed", "error"))
    print(f"\\ntest result: {'FAILED' if sum(failed) else 'ok'}. {passed} passed; {sum(failed)} failed;")


def engine(name):
    """The engine, whose constructor takes the visitor, as that of django-qsessions."""
    from qsessions_django.visitor import Visitor

    class SessionStore(import_module(name).SessionStore):
        def __init__(self, session_key=None, user_agent=None, ip=None):
            super().__init__(session_key)
            self.visitor = Visitor(ip, user_agent)

    return SessionStore


def create(session_key, expire_date, ip):
    """Makes a session of a key, also one that has expired."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO qsessions.session (id, digest, expires_at, ip) VALUES (gen_random_uuid(), '', %s, %s)",
            [make_aware(expire_date, get_default_timezone()), ip])


@pytest.fixture
def geoip(db):
    """The GeoIP databases of django-qsessions."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL qsessions.geoip_path = '{os.environ['GEOIP_FOLDER']}'")
        cursor.execute("SELECT count(*) FILTER (WHERE error IS NULL) FROM qsessions.geoip_reload()")
        assert cursor.fetchone()[0] == 2
'''


def prepare(source, folder):
    """Copies the tests into a folder, with the names of this package."""
    tests = pathlib.Path(folder, "tests")
    shutil.copytree(pathlib.Path(source, "tests"), tests)
    (tests / "settings.py").rename(tests / "original.py")
    (tests / "settings.py").write_text(SETTINGS)
    pathlib.Path(folder, "mapped.py").write_text(MAPPED)
    unused = set(ANYWHERE)
    for path in tests.glob("*.py"):
        if path.name in ("settings.py", "original.py"):
            continue
        text = path.read_text()
        for old, new in ANYWHERE:
            if old in text:
                unused.discard((old, new))
                text = text.replace(old, new)
        for old, new in IN_FILES.get(path.name, ()):
            assert old in text, f"{path.name} does not contain {old!r}"
            text = text.replace(old, new)
        path.write_text(text)
    assert not unused, f"no test contains {unused}"


def main(source):
    """Runs the tests, and returns the status of pytest."""
    for name, reason in LEFT_OUT.items():
        print(f"left out: {name}: {reason}")
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder).chmod(0o755)  # the server reads the GeoIP databases
        prepare(source, folder)
        left_out = " or ".join(LEFT_OUT)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "pytest_django", "-p", "mapped", "-p", "no:cacheprovider", "-W",
             "ignore", "-k", f"not ({left_out})", f"--rootdir={folder}", "--ds=tests.settings", "--create-db", "tests"],
            cwd=folder, check=False,
            env=os.environ | {"GEOIP_FOLDER": f"{folder}/tests/geoip", "PYTHONPATH": os.pathsep.join(
                filter(None, [folder, os.environ.get("PYTHONPATH")]))}).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
