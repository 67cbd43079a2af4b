"""The model of the session table."""

import ipaddress
import json

import pytest
from sessions import IPHONE, begin, drop_events
from support import USER_AGENT, Browser


@pytest.fixture
def Session(application):
    """The model."""
    from qsessions_django.models import Session

    return Session


@pytest.fixture
def queries(application):
    """A function that counts the queries of a block."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return lambda: CaptureQueriesContext(connection)


def test_a_session_has_the_columns_of_the_table(db, ada, Session):
    browser = Browser()
    browser.log_in("ada")
    browser.post("put", {"text": "a\0b\ufffe"}, X_Address='"2001:db8::7"')
    session, row = ada.session_set.get(), browser.row()
    assert session == Session.objects.by_key(browser.key).get() and session.pk == row.id and session.user == ada
    columns = "created_at authenticated_at updated_at last_seen_at expires_at version idle_timeout"
    for name in columns.split():
        assert getattr(session, name) == getattr(row, name), name
    assert session.ip == "2001:db8::7" and session.user_agent == USER_AGENT and session.deadline is None
    assert session.data["text"] == "a\0b\ufffe" and session.get_decoded()["text"] == "a\0b\ufffe"
    assert ada.session_set.filter(data__has_key="text").exists() and session.is_active
    assert Session.objects.values_list("data__text", flat=True).get() == "a\0b\ufffe"


def test_a_list_with_devices_and_places_is_one_query(ada, bob, Session, queries):
    from django.contrib.auth import get_user_model

    hints = {"sec-ch-ua-platform": '"Android"', "sec-ch-ua-model": '"Pixel 8"'}
    for user, agent in ((ada, IPHONE), (ada, USER_AGENT), (bob, None)):
        begin(user, user_agent=agent)
    begin(bob, user_agent="Mozilla/5.0 (Linux; Android 10; K) Chrome/130.0.0.0 Mobile Safari/537.36", hints=hints)
    with queries() as made:
        seen = {(session.device, session.location) for session in ada.session_set.all()}
    assert len(made) == 1
    assert seen == {("iPhone / iOS 17.1 / Safari 17.1", None), ("PC / Linux / Firefox 140.0", None)}
    with queries() as made:
        users = get_user_model().objects.prefetch_related("session_set").order_by("username")
        devices = [[session.device_name for session in user.session_set.all()] for user in users]
    assert len(made) == 2 and sorted(devices[0]) == ["PC", "iPhone"] and sorted(devices[1]) == ["", "Pixel 8"]
    with queries() as made:
        infos = [session.device_info for session in Session.objects.with_details().order_by("device")]
    assert len(made) == 1 and infos[0] is None
    assert {info.category for info in infos[1:]} == {"mobile", "desktop"}


def test_a_session_of_other_origin_finds_its_device_by_itself(ada, Session, queries):
    begin(ada)
    annotated = Session.objects.with_details().get()
    plain = Session._base_manager.get()
    for name in ("device", "device_info", "location", "location_info", "device_details"):
        assert getattr(plain, name) == getattr(annotated, name), name
    assert plain.device_info.browser == "Safari" and plain.device_info.is_bot is False
    with queries() as made:
        assert plain.device and plain.device_info and plain.location is None and plain.location_info is None
    assert not made
    unsaved = Session(user_agent="curl/8.5.0")
    assert unsaved.device == "Other / Other / curl 8.5.0" and unsaved.device_name == "curl 8.5.0"
    assert Session().device == "" and Session().device_info is None
    assert str(Session(pk=annotated.pk)) == str(annotated.pk)


def test_a_session_that_never_expires_can_be_read(db, ada, Session):
    from qsessions_django import sql

    begin(ada)
    for moment in ("infinity", "20000-01-01", "9999-12-31 23:59:59-12"):
        db.rows("UPDATE qsessions.session SET expires_at = %s::timestamptz, deadline = %s::timestamptz", moment, moment)
        session = Session.objects.live().get()
        assert session.expires_at is None and session.deadline is None and session.is_active
        assert not Session.objects.expired().exists() and Session.objects.order_by("expires_at").count() == 1
        assert sql.user_sessions(ada.pk)[0]["expires_at"] is None


def test_sessions_are_found_by_network_device_and_key(ada, Session):
    key = begin(ada, "198.51.100.7")
    begin(ada, "2001:db8::7", USER_AGENT)
    networks = {"198.51.100.0/24": 1, "198.51.100.7": 1, "2001:db8::/32": 1, ipaddress.ip_network("10.0.0.0/8"): 0}
    for network, number in networks.items():
        assert Session.objects.filter(ip__network=network).count() == number, network
    with pytest.raises(ValueError):
        Session.objects.filter(ip__network="nonsense").count()
    assert Session.objects.filter(device__icontains="iphone").get().ip == "198.51.100.7"
    assert Session.objects.by_key(key).get().ip == "198.51.100.7"
    for wrong in (key[:-1] + ("A" if key[-1] != "A" else "B"), "", "x", None, "a\0aaaaaaaa"):
        assert not Session.objects.by_key(wrong).exists()
    marked = Session.objects.mark_current(key).values_list("ip", "is_current")
    assert dict(marked) == {"198.51.100.7": True, "2001:db8::7": False}
    assert set(Session.objects.mark_current(None).values_list("is_current", flat=True)) == {False}


def test_no_statement_contains_a_key(ada, Session, queries):
    key = begin(ada)
    with queries() as made:
        list(Session.objects.by_key(key).mark_current(key))
        Session.objects.by_key(key).get().delete()
    assert len(made) > 2 and all(key not in query["sql"] for query in made)


def test_deleting_a_session_ends_it(db, ada):
    browser = Browser()
    browser.log_in("ada")
    session = ada.session_set.get()
    assert session.delete() == (1, {"qsessions_django.Session": 1})
    assert not db.has_session(browser.key) and browser.whoami()["user"] is None
    assert session.delete() == (0, {})


def test_deleting_a_queryset_ends_its_sessions(db, ada, bob, Session):
    keys = [begin(ada), begin(ada, user_agent=USER_AGENT), begin(bob), begin()]
    chosen = Session.objects.filter(user__username="ada", device__icontains="iphone").select_related("user")
    assert chosen.delete() == (1, {"qsessions_django.Session": 1})
    assert [db.has_session(key) for key in keys] == [False, True, True, True]
    assert ada.session_set.all().delete()[0] == 1 and db.sessions() == 2
    db.rows("UPDATE qsessions.session SET expires_at = now() WHERE user_id IS NULL")
    assert Session.objects.expired().delete()[0] == 1
    assert Session.objects.none().delete() == (0, {})
    with pytest.raises(TypeError):
        Session.objects.all()[:1].delete()
    assert Session.objects.all().delete()[0] == 1 and db.sessions() == 0


def test_a_deletion_is_part_of_its_transaction(db, ada, Session):
    from django.db import transaction

    browser = Browser()
    browser.log_in("ada")
    assert browser.whoami()["user"] == ada.pk
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Session.objects.all().delete()
        raise ZeroDivisionError
    assert browser.whoami()["user"] == ada.pk


def test_a_deletion_is_recorded_as_the_revocation_that_it_is(db, ada, Session):
    db.rows("SELECT qsessions.create_event_table()")
    try:
        begin(ada)
        begin(ada)
        Session.objects.first().delete()
        Session.objects.all().delete()
        events = db.rows("SELECT event, revoked_by FROM qsessions.session_event WHERE event <> 'login'")
        assert [tuple(event) for event in events] == [("revoked", "administrator")] * 2
    finally:
        drop_events(db)


def test_receivers_of_the_signals_of_deletion_are_called(db, ada, Session):
    from django.db.models.signals import post_delete

    told = []

    def receive(instance, **_):
        told.append(instance.pk)

    begin(ada)
    begin(ada)
    ids = {session.pk for session in ada.session_set.all()}
    post_delete.connect(receive, sender=Session)
    try:
        ada.session_set.first().delete()
        ada.session_set.all().delete()
    finally:
        post_delete.disconnect(receive, sender=Session)
    assert set(told) == ids and db.sessions() == 0


def test_deleting_a_user_deletes_the_sessions(application, db):
    from django.contrib.auth import get_user_model

    db.rows(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {application.role}")
    db.rows(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {application.role}")
    user = get_user_model().objects.create_user("eve", password="secret")
    key = begin(user)
    assert user.delete()[1]["qsessions_django.Session"] == 1
    assert not db.has_session(key)


def test_a_row_is_not_saved_as_a_whole(ada, Session):
    key = begin(ada)
    session = ada.session_set.get()
    for change in (session.save, Session().save, lambda: Session.objects.create(ip="192.0.2.1")):
        with pytest.raises(TypeError, match="session store"):
            change()
    ada.session_set.update(user_agent="curl/8.5.0")
    assert Session.objects.by_key(key).get().device_name == "curl 8.5.0"


def test_the_migrations_are_complete(application):
    from django.core.management import call_command

    call_command("makemigrations", "qsessions_django", check=True, dry_run=True, verbosity=0)


def test_data_that_is_no_object_can_be_read(db, Session):
    for data in ([1, 2], "text", 7, None):
        db.rows("TRUNCATE qsessions.session")
        db.rows("SELECT qsessions.create_session(data => %s::jsonb)", json.dumps(data))
        assert Session.objects.get().data == data and Session.objects.get().get_decoded() == {}
