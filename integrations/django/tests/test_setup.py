"""Migrations, system checks, and tests of a project."""

import contextlib
import os
import subprocess
import sys

import psycopg
import pytest
from django.core.management import call_command
from django.test import override_settings
from qsessions_django import checks

NAME = f"{os.environ['PGDATABASE']}_setup"
ROLE = f"{NAME}_dev"
# What the documentation has a superuser do, in a template or in the database of the project.
PREPARED = f"""
    CREATE EXTENSION IF NOT EXISTS qsessions;
    SELECT qsessions.create_session_table();
    ALTER TABLE qsessions.session OWNER TO {ROLE};
    SELECT qsessions.grant_access('{ROLE}');
    GRANT CREATE ON SCHEMA public TO {ROLE};
"""


@pytest.fixture
def database(application):
    """A database without the extension, and a role that may create databases and nothing else."""
    with psycopg.connect(dbname="postgres", autocommit=True) as server:
        server.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB")
        server.execute(f"CREATE DATABASE {NAME} TEMPLATE template0")
        try:
            yield server
        finally:
            server.execute(f"ALTER DATABASE {NAME} IS_TEMPLATE false")
            server.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
            server.execute(f"DROP ROLE {ROLE}")


@contextlib.contextmanager
def superuser():
    """A connection to the database."""
    with psycopg.connect(dbname=NAME, autocommit=True) as connection:
        yield connection


def manage(*arguments, settings="project.settings", user=ROLE, expected=0):
    """Runs manage.py, and returns what it has printed."""
    environment = os.environ | {
        "PGDATABASE": NAME, "PGUSER": user or os.environ["PGUSER"], "DJANGO_SETTINGS_MODULE": settings}
    done = subprocess.run(
        [sys.executable, "-m", "django", *arguments], env=environment, timeout=300, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == expected, done.stdout
    return done.stdout


def test_a_role_that_may_not_create_the_extension_is_told_what_to_do(database):
    with superuser() as connection:
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {ROLE}")
        printed = manage("migrate", settings="project.test_settings", expected=1)
        assert "The extension qsessions cannot be created" in printed
        for statement in ("CREATE EXTENSION IF NOT EXISTS qsessions;", f"OWNER TO {ROLE};", f"grant_access('{ROLE}')"):
            assert statement in printed
        connection.execute("CREATE EXTENSION qsessions")
        printed = manage("migrate", settings="project.test_settings", expected=1)
        assert "The session table cannot be created" in printed
        connection.execute(PREPARED)
        manage("migrate", settings="project.test_settings")
        (table,) = connection.execute(
            "SELECT confrelid::regclass::text FROM pg_constraint WHERE conrelid = 'qsessions.session'::regclass "
            "AND contype = 'f'").fetchone()
        assert table == "auth_user"
        assert manage("check", "--database", "default", settings="project.test_settings").endswith("(0 silenced).\n")


@pytest.mark.parametrize("engine", ["db", "cached_db"])
def test_the_tests_of_a_project_need_no_superuser(database, engine, monkeypatch):
    monkeypatch.setenv("QSESSIONS_TEST_ENGINE", engine)
    with superuser() as connection:
        connection.execute(PREPARED)
    database.execute(f"ALTER DATABASE {NAME} IS_TEMPLATE true")
    printed = manage("test", "project", "--noinput", settings="project.test_settings")
    assert "Ran 5 tests" in printed and "OK" in printed


def test_a_superuser_migrates_a_new_database_and_back(database):
    role = f"{NAME}_app"
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        manage("migrate", user=None)
        manage("migrate", user=None)
        with superuser() as connection:
            access = "SELECT has_table_privilege(%s, 'qsessions.session', 'INSERT')"
            assert connection.execute(access, (role,)).fetchone() == (True,)
        manage("migrate", "qsessions_django", "zero", user=None)
        with superuser() as connection:
            assert connection.execute("SELECT to_regclass('qsessions.session')").fetchone() == (None,)
        manage("migrate", user=None)
    finally:
        with superuser() as connection:
            connection.execute(f"DROP OWNED BY {role}")
        database.execute(f"DROP ROLE {role}")


OTHER_USERS = """
import django
django.setup()
from django.contrib.auth import get_user_model
from django.test import Client
user = get_user_model().objects.create(email="ada@example.org")
client = Client()
client.force_login(user)
assert client.get("/whoami").json()["user"] == str(user.pk)
session, = user.session_set.all()
assert session.user == user
user.delete()
assert client.get("/whoami").json()["user"] is None
"""


def test_users_can_be_those_of_another_model(database):
    manage("migrate", "--run-syncdb", user=None, settings="project.members.settings")
    environment = os.environ | {"PGDATABASE": NAME, "DJANGO_SETTINGS_MODULE": "project.members.settings"}
    subprocess.run([sys.executable, "-c", OTHER_USERS], env=environment, check=True, timeout=60)


def test_the_migration_has_what_the_models_have(application):
    call_command("makemigrations", "qsessions_django", check_changes=True, dry_run=True, verbosity=0)


def found(check, **arguments):
    """The ids of the messages of a check."""
    return [message.id.split(".")[1] for message in check(None, **arguments)]


def test_settings_are_checked(application):
    assert found(checks.check_settings) == [] and found(checks.check_backend) == []
    with override_settings(QSESSIONS={"MAX_AGE": "soon"}):
        assert found(checks.check_settings) == ["E001"]
    with override_settings(QSESSIONS={"DATABASE": "nowhere"}):
        assert found(checks.check_settings) == ["E001"]
    with override_settings(MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"]):
        assert found(checks.check_settings) == ["W001"]
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.db"):
            assert found(checks.check_settings) == []


def test_the_binding_of_parameters_is_checked(application):
    from django.db import connection

    assert found(checks.check_binding) == []
    options = connection.settings_dict["OPTIONS"]
    connection.settings_dict["OPTIONS"] = {}
    try:
        assert found(checks.check_binding) == ["W002"]
    finally:
        connection.settings_dict["OPTIONS"] = options


def test_the_database_is_checked(database):
    with_database = {"settings": "project.test_settings", "user": None}
    assert "W004" in manage("check", "--database", "default", **with_database)
    with superuser() as connection:
        connection.execute("CREATE EXTENSION qsessions VERSION '0.1.0'")
        assert "E004" in manage("check", "--database", "default", expected=1, **with_database)
        connection.execute("ALTER EXTENSION qsessions UPDATE")
        assert "W005" in manage("check", "--database", "default", **with_database)
        manage("migrate", **with_database)
    assert manage("check", "--database", "default", **with_database).endswith("(0 silenced).\n")
    assert "W00" not in manage("check", **with_database)
