"""Connections that the server has ended, and a server that cannot be reached."""

import pytest


@pytest.fixture
def client(application):
    """A client whose requests use the connection of this thread, as those of a worker do."""
    from django.db import close_old_connections
    from django.test import Client

    class Worker(Client):
        def request(self, **request):
            """Answers as a server does, and prepares the connection as it does before each request."""
            close_old_connections()
            return super().request(**request)

    client = Worker(raise_request_exception=False)
    client.post("/put", '{"a": 1}', content_type="application/json")
    return client


def end_connection(db):
    """Ends the connection of this thread, and returns when the server has done it."""
    from django.db import connection

    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    assert db.value("SELECT pg_terminate_backend(%s, 10000)", pid)


def test_a_persistent_connection_is_replaced_if_its_health_is_checked(db, client, monkeypatch):
    from django.db import connection
    from qsessions_django import sql

    key = client.cookies["sessionid"].value
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", True)
    connection.close()
    for _ in range(2):
        assert client.get("/whoami").json()["data"] == {"a": 1}
        assert sql.exists(key)
        end_connection(db)
        assert client.post("/put", '{"a": 1}', content_type="application/json").status_code == 200


def test_a_request_after_an_outage_works(db, client, monkeypatch):
    from django.db import connection
    from qsessions_django import cache

    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
    connection.close()
    cache.stop()  # so that the session is not in memory
    with monkeypatch.context() as outage:
        outage.setitem(connection.settings_dict, "PORT", "1")
        for _ in range(2):
            assert client.get("/whoami").status_code == 500
            assert client.post("/log_in", '{"name": "ada", "password": "secret"}', "application/json").status_code == 500
        assert client.get("/public").status_code == 200
        cache.stop()
    assert client.get("/whoami").json()["data"] == {"a": 1}
