"""Migrates a database, serves the project from threads of this process, and gives the tests a browser.

PGHOST, PGUSER (a superuser) and PGDATABASE name a database with the extension and without tables. The application
connects as a role without further rights than the migration has granted. QSESSIONS_TEST_ENGINE is db or cached_db.
"""

import io
import logging
import os
import threading
import traceback
from types import SimpleNamespace

import psycopg
import pytest
from support import Browser, Database, serving

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
ENGINE = os.environ.get("QSESSIONS_TEST_ENGINE", "db")


def pytest_report_header(config):
    """Says what is tested."""
    import django
    import qsessions_django

    return f"Django {django.__version__}, engine {ENGINE}, package in {os.path.dirname(qsessions_django.__file__)}"


def pytest_terminal_summary(terminalreporter):
    """Prints the numbers in the form in which scripts/test reads them."""
    count = {kind: len(terminalreporter.stats.get(kind, ())) for kind in ("passed", "failed", "error")}
    failed = count["failed"] + count["error"]
    print(f"\ntest result: {'FAILED' if failed else 'ok'}. {count['passed']} passed; {failed} failed;")


@pytest.fixture(scope="session")
def application():
    """The project, with its tables and the users ada and bob, served over HTTP."""
    import django
    from django.core.management import call_command
    from django.core.signals import got_request_exception
    from django.core.wsgi import get_wsgi_application
    from django.db import connection, connections

    django.setup()
    logging.disable()  # `traces` collects exceptions
    with psycopg.connect(autocommit=True) as outside:
        role = f"{os.environ['PGDATABASE']}_app"
        outside.execute(f"CREATE ROLE {role} LOGIN")
        call_command("migrate", verbosity=0)
        users = django.contrib.auth.get_user_model().objects
        ada, bob = (users.create_user(name, password="secret") for name in ("ada", "bob"))
        outside.execute(
            f"""GRANT SELECT, UPDATE ON auth_user TO {role};
                GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}""")
        connection.close()
        connections.databases["default"]["USER"] = connection.settings_dict["USER"] = role
        got_request_exception.connect(_trace, weak=False)
        database = Database(outside)
        Browser.database = database
        _prepare_meanwhile(database)
        with serving(get_wsgi_application()) as port:
            Browser.port = port
            yield SimpleNamespace(db=database, ada=ada, bob=bob, role=role, superuser=os.environ["PGUSER"])
        connections.close_all()


def _prepare_meanwhile(database):
    from project import tools

    both = threading.Barrier(2, timeout=60)
    tools.meanwhile.update({"end": database.end, "wait for the other": lambda _: both.wait()})


def _trace(**_):
    traceback.print_exc(file=Browser.traces)


@pytest.fixture(autouse=True)
def clean(request):
    """Begins each test that uses the application without sessions."""
    if "application" not in request.fixturenames:
        yield
        return
    application = request.getfixturevalue("application")
    application.db.rows("TRUNCATE qsessions.session")
    Browser.traces = io.StringIO()
    yield
    from django.db import connections

    connections.close_all()


@pytest.fixture
def db(application):
    """The database, as superuser."""
    return application.db


@pytest.fixture
def ada(application):
    """A user whose password is secret."""
    return application.ada


@pytest.fixture
def bob(application):
    """Another one."""
    return application.bob
