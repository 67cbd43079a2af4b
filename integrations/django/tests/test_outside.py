"""Sessions outside of requests, and Django's tools."""

from support import Browser


def test_clearsessions_purges_all_batches(db):
    from django.core.management import call_command

    db.rows(
        """INSERT INTO qsessions.session (id, digest, expires_at)
           SELECT gen_random_uuid(), '', now() - n * interval '1 second' FROM generate_series(1, 10001) AS n""")
    browser = Browser()
    browser.post("put", {"a": 1})
    call_command("clearsessions")
    assert db.sessions() == 1 and browser.whoami()["data"] == {"a": 1}


def test_the_test_client_works(db, ada, bob):
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


def test_a_session_store_works_outside_of_requests(db):
    from django.contrib.sessions.backends.base import UpdateError
    from django.db import connection, transaction
    from qsessions_django.backends.db import SessionStore

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


def test_a_fixture_of_everything_can_be_loaded(application, db, ada, tmp_path):
    import json

    from django.core.management import call_command
    from sessions import begin

    for kind in ("TABLES", "SEQUENCES"):
        db.rows(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {application.role}")
    key, fixture = begin(ada), tmp_path / "all.json"

    def models(*named):
        call_command("dumpdata", *named, output=str(fixture), verbosity=0)
        assert str(key) not in fixture.read_text()
        return {entry["model"] for entry in json.loads(fixture.read_text())}

    assert models("qsessions_django") == models("qsessions_django.Session") == {"qsessions_django.session"}
    assert "auth.user" in models() and "qsessions_django.session" not in models()
    call_command("loaddata", str(fixture), verbosity=0)
    assert db.has_session(key)
