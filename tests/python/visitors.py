"""Calls the functions about visitors, events and monitoring with the types that are usual in Python.

The arguments and the database are those of database.py.
"""

import datetime
import ipaddress

from database import USER_AGENT, run
from psycopg.types.json import Jsonb


def client_hints_are_kept(db, user, other):
    hints = Jsonb({"Sec-CH-UA-Platform": '"Windows"', "sec-ch-ua-platform-version": '"15.0.0"'})
    begun = db.row(
        "SELECT * FROM qsessions.create_session(user_agent => %s, client_hints => %s)", USER_AGENT, hints)
    more = Jsonb({"Sec-CH-UA-Model": '""', "Cookie": "none of ours"})
    resume = "SELECT * FROM qsessions.resume_session(%s, client_hints => %s)"
    assert db.row(resume, begun.key, more).id == begun.id
    assert db.row(resume, begun.key, Jsonb(["hostile"])).id == begun.id
    kept = "SELECT client_hints FROM qsessions.session WHERE id = %s"
    assert set(db.value(kept, begun.id)) == {
        "sec-ch-ua-platform", "sec-ch-ua-platform-version", "sec-ch-ua-model"}
    login = "SELECT * FROM qsessions.login(%s, %s, client_hints => %s)"
    member = db.row(login, begun.key, user, None)
    assert len(db.value(kept, member.id)) == 3
    stranger = db.row(login, None, other, more)
    assert set(db.value(kept, stranger.id)) == {"sec-ch-ua-model"}


def devices_are_shown_by_client_hints(db, user, other):
    del other
    values = {
        "agent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
        "Mobile Safari/537.36",
        "hints": Jsonb({"Sec-CH-UA-Model": '"Pixel 8"', "Sec-CH-UA-Platform-Version": '"14.0.0"'}),
    }
    shown = "Pixel 8 / Android 14 / Chrome 131.0.0.0"
    named = "user_agent => %(agent)s, client_hints => %(hints)s"
    assert db.value("SELECT qsessions.device(%s, %s)", *values.values()) == shown
    assert db.value(f"SELECT qsessions.device({named})", **values) == shown
    assert db.value(f"SELECT qsessions.device({named})", **values | {"hints": None}) == "Phone / Android / Chrome 131.0.0.0"
    told = db.row(f"SELECT * FROM qsessions.parse_user_agent({named})", **values)
    assert (told.device, told.vendor, told.os_version) == ("Pixel 8", "Google", "14")
    db.row(f"SELECT * FROM qsessions.create_session(%(user)s, {named})", user=user, **values)
    assert db.row("SELECT * FROM qsessions.user_sessions(%s)", user).device == shown
    assert db.row("SELECT * FROM qsessions.list_sessions(device => %s)", "pixel").device == shown


def user_agents_and_locations_are_looked_up(db, user, other):
    del user, other
    told = db.row("SELECT * FROM qsessions.parse_user_agent(%s)", USER_AGENT)
    assert (told.browser, told.os, told.is_bot) == ("Firefox", "Linux", False)
    assert "Firefox" in db.value("SELECT qsessions.device(%s)", USER_AGENT)
    assert db.value("SELECT qsessions.device(%s)", None) is None
    address = ipaddress.ip_address("192.0.2.1")
    assert db.value("SELECT qsessions.location(%s)", address) is None
    assert db.value("SELECT qsessions.location_info(%s, locale => %s)", address, "de") is None
    assert db.value("SELECT qsessions.country_code(%s)", address) is None


def what_servers_write_for_an_address_is_read(db, user, other):
    del user, other
    for written, address in (
        ("192.0.2.7:4711", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("192.0.2.7, 192.0.2.8", None),
        ("unix:/run/shop.sock", None),
        ("localhost", None),
        ("unknown", None),
        ("", None),
        (None, None),
    ):
        read = db.value("SELECT qsessions.address(%s)", written)
        assert read == (address and ipaddress.ip_address(address)), (written, read)
        key = db.row("SELECT * FROM qsessions.create_session(ip => qsessions.address(%s))", written).key
        assert db.load(key).ip == read


def a_transaction_knows_who_is_asking(db, user, other):
    del other
    begun = db.row("SELECT * FROM qsessions.create_session(%s)", user)
    who = "SELECT qsessions.current_user_id(), qsessions.current_session_id()"
    authenticate = "SELECT * FROM qsessions.authenticate(%s, %s, %s)"
    assert db.row(authenticate, begun.key, None, None).id == begun.id
    assert tuple(db.row(who)) == (None, None)
    with db.connection.transaction():
        session = db.row(authenticate, begun.key, ipaddress.ip_address("192.0.2.7"), USER_AGENT)
        assert session.id == begun.id and session.user_id == str(user)
        assert tuple(db.row(who)) == (str(user), begun.id)
        assert db.rows(authenticate, None, None, None) == []
        assert tuple(db.row(who)) == (None, None)
    assert tuple(db.row(who)) == (None, None)


def a_read_only_transaction_records_no_visit(db, user, other):
    del other
    begun = db.row("SELECT * FROM qsessions.create_session(%s)", user)
    for function in ("resume_session", "authenticate"):
        with db.connection.transaction():
            db.connection.execute("SET TRANSACTION READ ONLY")
            visit = db.row(f"SELECT * FROM qsessions.{function}(%s, %s)", begun.key, "192.0.2.7")
            assert visit.id == begun.id and visit.ip is None
    assert db.load(begun.key).ip is None


def events_are_recorded(db, user, other):
    month = datetime.timedelta(days=30)
    db.rows("SELECT qsessions.create_event_table(retention => %s)", month)
    try:
        assert db.value("SELECT retention FROM qsessions.session_event_retention") == month
        login = "SELECT * FROM qsessions.login(NULL, %s, %s, %s)"
        first = db.row(login, user, "192.0.2.7", USER_AGENT)
        assert first.is_new_device is True and first.is_new_place is None
        assert db.row(login, str(user), "192.0.2.7", USER_AGENT).is_new_device is False
        key = db.value("SELECT qsessions.rotate_key(%s)", first.key)
        db.value("SELECT qsessions.logout(%s)", key)
        db.value("SELECT qsessions.import_session(%s, %s)", "key of another store", other)
        db.value("SELECT qsessions.revoke_sessions(%s)", other)
        events = db.rows("SELECT * FROM qsessions.user_events(%s, %s)", user, 10)
        assert [event.event for event in events] == ["logout", "rotated", "login", "login"]
        assert "Firefox" in events[0].device and events[0].session_id == first.id
        assert events[0].ip == ipaddress.ip_address("192.0.2.7") and events[0].at > events[1].at
        assert [event.is_new_device for event in events] == [None, None, False, True]
        assert db.rows("SELECT * FROM qsessions.user_events(user_id => %s)", str(user)) == events
        revoked, imported = db.rows("SELECT * FROM qsessions.user_events(%s)", other)
        assert (revoked.event, revoked.revoked_by, imported.event) == ("revoked", "administrator", "imported")
    finally:
        db.connection.execute(
            """TRUNCATE qsessions.session;
               DROP TABLE qsessions.session_event, qsessions.session_event_known, qsessions.session_event_retention"""
        )


def the_state_is_monitored(db, user, other):
    del user, other
    db.row("SELECT * FROM qsessions.create_session()")
    estimated = db.row("SELECT * FROM qsessions.stats(%s)", False)
    assert estimated.total == estimated.active + estimated.expired
    assert db.row("SELECT * FROM qsessions.stats(exact => %s)", True).total == 1
    metrics = db.row("SELECT * FROM qsessions.metrics()")
    assert {"sessions_created_total", "logins_total", "revoked_total"} <= set(metrics._fields)


def a_role_can_be_granted_monitoring(db, user, other):
    del other
    db.row("SELECT * FROM qsessions.create_session(%s)", user)
    role = db.value("SELECT current_database() || '_monitor'")
    db.connection.execute(f"CREATE ROLE {role}")
    try:
        db.rows("SELECT qsessions.grant_monitoring(%s)", role)
        with db.connection.transaction():
            db.connection.execute(f"SET LOCAL ROLE {role}")
            assert db.row("SELECT * FROM qsessions.stats()").users == 1
            for function in ("stats(exact => false)", "metrics()", "invalidation_status()", "geoip_databases()"):
                db.rows(f"SELECT * FROM qsessions.{function}")
            db.connection.execute("SAVEPOINT before")
            assert db.error("SELECT data FROM qsessions.session").sqlstate == "42501"
            db.connection.execute("ROLLBACK TO before")
        db.rows("SELECT qsessions.revoke_monitoring(role => %s)", role)
    finally:
        db.connection.execute(f"DROP ROLE {role}")


run((
    client_hints_are_kept,
    devices_are_shown_by_client_hints,
    user_agents_and_locations_are_looked_up,
    what_servers_write_for_an_address_is_read,
    a_transaction_knows_who_is_asking,
    a_read_only_transaction_records_no_visit,
    events_are_recorded,
    the_state_is_monitored,
    a_role_can_be_granted_monitoring,
))
