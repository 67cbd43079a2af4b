"""A project with django-qsessions and 1,000 live sessions moves while people keep clicking; see docs/moving-from.md."""

import functools
import os
import pathlib
import re

import psycopg
import pytest
from conftest import ENGINE
from live import Client, Load, Server, listening
from moving import run
from psycopg import sql

USERS, DEVICES = 100, 10
CREATE_USERS = """
import django
django.setup()
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
model = get_user_model()
model.objects.bulk_create(model(username=f"user{n}", password=make_password("secret")) for n in range(%d))
"""


PAGE = pathlib.Path(__file__).parents[3] / "docs" / "moving-from.md"
COPY, GO_BACK, END = (
    re.search(f"--command='({beginning} [^']*)'", PAGE.read_text(encoding="utf-8"))[1]
    for beginning in ("CREATE TABLE", "INSERT INTO", "TRUNCATE"))


class Site:
    """The database of the project, and its commands."""

    def __init__(self, connection, name):
        self.connection, self.name = connection, name

    def value(self, statement, *values):
        """Returns the value of a query."""
        return self.connection.execute(statement, values).fetchone()[0]

    def manage(self, settings, *arguments):
        """Runs a command of Django's, and returns what it prints."""
        return run(settings, "-m", "django", *arguments, PGDATABASE=self.name)


@pytest.fixture
def site():
    """A project with users, in a database of its own."""
    name = f"{os.environ['PGDATABASE']}_moving"
    with psycopg.connect(autocommit=True) as outside:
        outside.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            run("before_qsessions", "-m", "django", "migrate", "--verbosity=0", PGDATABASE=name)
            run("before_qsessions", "-c", CREATE_USERS % USERS, PGDATABASE=name)
            with psycopg.connect(dbname=name, autocommit=True) as connection:
                yield Site(connection, name)
        finally:
            outside.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_no_login_is_lost(site):
    cached = ENGINE == "cached_db"
    fallback, after = ("cached_fallback", "cached_db") if cached else ("fallback", "db")
    with listening() as listener:
        port = listener.getsockname()[1]
        clients = [Client(port, f"user{number % USERS}") for number in range(USERS * DEVICES)]
        leaving = [Client(port, f"user{number}") for number in range(40)]
        serve = functools.partial(Server, listener, PGDATABASE=site.name)
        with Load(clients) as load:
            with serve("before_qsessions"):
                for client in clients + leaving:
                    client.log_in()
                    client.click()
                cookies = {client.cookie for client in clients}
                load.begin()
                load.wait_for_round()
                # Step 1: the table, while the old engine serves.
                site.manage("moving", "migrate", "--verbosity=0")
                load.wait_for_round()
                log_out(leaving[:10])
            # Step 2: the processes with the old engine have ended before those with the new one begin.
            site.connection.execute(COPY)
            with serve("moving", workers=2, MOVING_ENGINE=fallback):
                log_out(leaving[10:20])
                # Step 3: the sessions of those who do not click.
                printed = site.manage("moving", "importsessions", "qsessions_session")
                load.wait_for_round()
            # Step 4: without the old table.
            with serve("after", workers=2, AFTER_ENGINE=after):
                log_out(leaving[20:30])
                load.wait_for_round()
                load.end()
                check(site, clients, cookies)
                check_signed_out(leaving[:30])
        print(f"{len(clients)} sessions, {sum(client.clicks for client in clients)} clicks, none without its login;",
              " ".join(printed.split()))
        go_back(site, serve, clients, leaving)
        move_again(functools.partial(serve, "moving", MOVING_ENGINE=fallback), clients)


def check(site, clients, cookies):
    """Asserts that each session has moved, and that each client has been signed in all the time."""
    faults = [(client.name, client.faults) for client in clients if client.faults]
    assert not faults, f"{len(faults)} of {len(clients)}: {faults[:5]}"
    assert len(cookies) == len(clients) == USERS * DEVICES
    assert {client.cookie for client in clients} == cookies
    assert site.value("SELECT count(*) FROM qsessions_session WHERE expire_date > now()") == 0
    for condition in (
        "user_id IS NOT NULL", "ip <<= '127.0.0.0/8'", "strpos(user_agent, 'Firefox') > 0",
        "created_at = (SELECT b.created_at FROM qsessions_session_before AS b"
        " WHERE qsessions.session_id(b.session_key) = session.id)"):
        number = site.value(f"SELECT count(*) FROM qsessions.session WHERE data ? 'clicks' AND {condition}")
        assert number == len(clients) + 10, condition


def check_signed_out(clients):
    """Asserts that the cookies of those who have signed out, with either engine, are worth nothing."""
    for client in clients:
        client.cookie = client.left
        assert client.user() is None


def go_back(site, serve, clients, leaving):
    """Asserts that those who are signed in are still so with the old engine, and those who have left are not."""
    with serve("after"):
        log_out(leaving[30:])
    site.connection.execute(GO_BACK)
    site.connection.execute(END)
    with serve("before_qsessions"):
        for client in clients:
            assert client.user() == client.name, client.name
        check_signed_out(leaving)
        log_out(clients[:10])


def move_again(serve, clients):
    """Asserts that those who have left after going back are still signed out, and all others signed in."""
    with serve():
        check_signed_out(clients[:10])
        for client in clients[10:]:
            assert client.user() == client.name, client.name


def log_out(clients):
    """Signs clients out, and remembers their cookies."""
    for client in clients:
        client.left = client.cookie
        status, body = client.send("/log_out")
        assert status == 200 and client.cookie is None, body
