"""Calls the functions for sessions with the types that are usual in Python.

The arguments and the database are those of database.py.
"""

import datetime
import hashlib
import ipaddress
import json
import uuid

import psycopg
from database import USER_AGENT, run
from psycopg.types.json import Json, Jsonb


def a_session_stores_what_python_passes(db, user, other):
    del other
    begun = db.row(
        """SELECT * FROM qsessions.create_session(
               user_id => %(user)s, data => %(data)s, ip => %(ip)s, user_agent => %(agent)s,
               idle_timeout => %(idle)s, max_age => %(age)s)""",
        user=user,
        data=Jsonb({"name": "Zoë \\ 'quoted' 😀", "cart": [1, 2.5, None, True]}),
        ip=ipaddress.ip_address("2001:db8::1"),
        agent=USER_AGENT,
        idle=datetime.timedelta(minutes=30),
        age=datetime.timedelta(days=90),
    )
    assert isinstance(begun.key, str) and len(begun.key) == 48
    assert isinstance(begun.id, uuid.UUID)
    session = db.load(begun.key)
    assert session.id == begun.id
    assert session.user_id == str(user)
    assert session.data == {"name": "Zoë \\ 'quoted' 😀", "cart": [1, 2.5, None, True]}
    assert session.ip == ipaddress.ip_address("2001:db8::1")
    assert session.user_agent == USER_AGENT
    lifetime = session.expires_at - session.created_at
    assert lifetime == datetime.timedelta(minutes=30)
    assert session.created_at.tzinfo is not None
    assert session.version == 1


def none_is_null_and_null_is_the_default(db, user, other):
    del user, other
    begun = db.row(
        "SELECT * FROM qsessions.create_session(%s, %s, %s, %s, %s, %s, %s, %s)", *[None] * 8
    )
    session = db.load(begun.key)
    assert session.user_id is None and session.ip is None and session.user_agent is None
    assert session.data == {}
    assert db.rows("SELECT * FROM qsessions.load_session(%s)", None) == []
    assert db.value("SELECT qsessions.session_exists(%s)", None) is False
    assert db.value("SELECT qsessions.logout(%s)", None) is False
    resumed = db.row("SELECT * FROM qsessions.resume_session(%s, %s, %s)", begun.key, None, None)
    assert resumed.id == begun.id


def data_may_be_jsonb_text_or_cast_json(db, user, other):
    del user, other
    for value in ({"a": 1}, [], "text", 7, None):
        for statement, argument in (
            ("SELECT * FROM qsessions.create_session(data => %s)", Jsonb(value)),
            ("SELECT * FROM qsessions.create_session(data => %s)", json.dumps(value)),
            ("SELECT * FROM qsessions.create_session(data => %s::jsonb)", Json(value)),
        ):
            assert db.load(db.row(statement, argument).key).data == value


def addresses_may_be_text_or_objects(db, user, other):
    del user, other
    for address in (
        "192.0.2.7",
        ipaddress.ip_address("192.0.2.7"),
        ipaddress.ip_interface("192.0.2.7/32"),
    ):
        key = db.row("SELECT * FROM qsessions.create_session(ip => %s)", address).key
        assert str(ipaddress.ip_interface(db.load(key).ip).ip) == "192.0.2.7"
    for network in ("192.0.2.0/24", ipaddress.ip_network("192.0.2.0/24")):
        found = db.rows("SELECT * FROM qsessions.list_sessions(ip => %s)", network)
        assert len(found) == 3


def changes_are_versioned(db, user, other):
    del other
    key = db.row("SELECT * FROM qsessions.create_session(%s)", user).key
    save = "SELECT qsessions.save_session(%s, %s, expected_version => %s, ttl => %s)"
    hour = datetime.timedelta(hours=1)
    assert db.value(save, key, Jsonb({"a": 1, "b": 2}), db.load(key).version, hour) == 2
    patch = "SELECT qsessions.patch_session(%s, %s, remove => %s)"
    assert db.value(patch, key, Jsonb({"c": {"d": []}}), ["a", "no such member"]) == 3
    assert db.value(patch, key, Jsonb({}), []) == 4
    assert db.value("SELECT qsessions.patch_session(%s, remove => %s)", key, ["b"]) == 5
    assert db.load(key).data == {"c": {"d": []}}
    expiry = db.value("SELECT qsessions.set_expiry(%s, idle_timeout => %s)", key, hour)
    assert isinstance(expiry, datetime.datetime)

    error = db.error(save, key, Jsonb({}), 1, None)
    assert error.sqlstate == "QS002", error
    assert error.diag.message_hint
    assert db.load(key).version == 5


def users_log_in_and_out(db, user, other):
    login = "SELECT * FROM qsessions.login(%s, %s, %s, %s, %s, %s)"
    visitor = db.row("SELECT * FROM qsessions.create_session(data => %s)", Jsonb({"cart": [1]}))
    member = db.row(login, visitor.key, user, None, USER_AGENT, None, 5)
    assert member.id == visitor.id and member.key != visitor.key
    assert db.load(member.key).data == {"cart": [1]}
    assert db.rows("SELECT * FROM qsessions.load_session(%s)", visitor.key) == []

    # A user's id can be text, for example from a URL or a token.
    second = db.row(login, None, str(user), "192.0.2.1", None, Jsonb({}), None)
    third = db.row("SELECT * FROM qsessions.login(%s, user_id => %s)", None, user)
    mine = db.rows("SELECT * FROM qsessions.user_sessions(%s, current_key => %s)", user, third.key)
    assert {session.id for session in mine} == {member.id, second.id, third.id}
    assert [session.id for session in mine if session.is_current] == [third.id]
    assert all(session.is_active is True for session in mine)
    assert len(db.rows("SELECT * FROM qsessions.user_sessions(%s)", str(user))) == 3
    assert len(db.rows("SELECT * FROM qsessions.list_sessions(%s, %s)", user, True)) == 3
    page = "SELECT * FROM qsessions.list_sessions(user_id => %s, after => %s, max_rows => %s)"
    newest = db.row(page, user, None, 1)
    assert newest.id == third.id
    assert db.row(page, user, newest.id, 1).id == second.id
    assert db.row("SELECT * FROM qsessions.get_session(%s)", third.id).user_id == str(user)
    assert db.row("SELECT * FROM qsessions.get_session(%s)", str(third.id)).user_id == str(user)

    revoke = "SELECT qsessions.revoke_session(%s, user_id => %s)"
    assert db.value(revoke, second.id, other) is False
    assert db.value(revoke, second.id, user) is True
    rotated = db.value("SELECT qsessions.rotate_key(%s)", member.key)
    everywhere_else = "SELECT qsessions.revoke_user_sessions(%s, except_key => %s)"
    assert db.value(everywhere_else, user, rotated) == 1
    assert db.value(everywhere_else, other, None) == 0
    stats = db.row("SELECT * FROM qsessions.stats()")
    assert (stats.total, stats.active, stats.users) == (1, 1, 1)
    assert db.value("SELECT qsessions.logout(%s)", rotated) is True
    assert db.value("SELECT qsessions.logout(%s)", rotated) is False


def a_rotated_key_works_for_its_grace(db, user, other):
    del other
    former = db.row("SELECT * FROM qsessions.create_session(%s)", user).key
    rotate = "SELECT qsessions.rotate_key(%s, grace => %s)"
    present = db.value(rotate, former, datetime.timedelta(seconds=30))
    assert db.load(former) == db.load(present)
    assert db.value(rotate, present, "10 seconds") != present
    assert db.rows("SELECT * FROM qsessions.load_session(%s)", former) == []
    for grace in (datetime.timedelta(0), datetime.timedelta(minutes=2)):
        assert db.error(rotate, present, grace).sqlstate == "22023"
    error = db.error(rotate, present, None)
    assert error.sqlstate == "QS001" and error.diag.message_detail, error


def a_save_can_log_in(db, user, other):
    key = db.row("SELECT * FROM qsessions.create_session()").key
    save = "SELECT qsessions.save_session(%s, %s, user_id => %s)"
    assert db.value(save, key, Jsonb({"a": 1}), user) == 2
    assert db.value(save, key, Jsonb({"a": 1}), str(user)) == 3
    assert db.value(save, key, Jsonb({"a": 1}), None) == 4
    assert db.error(save, key, Jsonb({}), other).sqlstate == "22023"
    session = db.load(key)
    assert session.user_id == str(user) and session.data == {"a": 1}
    assert session.authenticated_at is not None


def sessions_of_another_store_are_imported(db, user, other):
    del other
    begun = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    seen = begun + datetime.timedelta(days=2)
    call = """SELECT qsessions.import_session(
                  %(key)s, %(user)s, %(data)s, %(ip)s, %(agent)s, created_at => %(begun)s, last_seen_at => %(seen)s,
                  expires_at => %(expires)s, client_hints => %(hints)s)"""
    values = {
        "key": "key of another store",
        "user": user,
        "data": Jsonb({"a": 1}),
        "ip": ipaddress.ip_address("192.0.2.7"),
        "agent": USER_AGENT,
        "begun": begun,
        "seen": seen,
        "expires": datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1),
        "hints": Jsonb({"Sec-CH-UA-Mobile": "?0"}),
    }
    assert db.value(call, **values) is True
    assert db.value(call, **values) is False
    session = db.load("key of another store")
    assert (session.created_at, session.last_seen_at) == (begun, seen)
    assert (session.expires_at, session.user_id) == (values["expires"], str(user))
    expired = values | {"key": "another key of another store", "expires": seen}
    assert db.value(call, **expired) is False
    assert db.value("SELECT qsessions.import_session(%s)", "the key alone") is True


def visits_are_recorded_in_bulk(db, user, other):
    del other
    begun = [db.row("SELECT * FROM qsessions.create_session(%s)", user) for _ in range(3)]
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    record = "SELECT qsessions.record_visits(%s, %s, %s, %s, %s, %s)"
    ids = [session.id for session in begun]
    digests = [hashlib.sha256(session.key.encode()).digest() for session in begun]
    ips = [ipaddress.ip_address("192.0.2.7"), None, ipaddress.ip_address("192.0.2.8")]
    agents = [None, USER_AGENT, "curl/8.5.0"]
    hints = [Jsonb({"Sec-CH-UA-Mobile": "?0"}), None, None]
    arguments = (ids, digests, ips, agents, [now] * 3, hints)
    assert db.value(record, *arguments) == 3
    assert db.value(record, *arguments) == 0
    found = [db.load(session.key) for session in begun]
    assert [session.ip for session in found] == ips
    assert [session.user_agent for session in found] == agents
    # Texts, which need a cast in an array, and no hints.
    text = "SELECT qsessions.record_visits(%s::uuid[], %s, %s::inet[], %s::text[], %s)"
    addresses = ["::ffff:192.0.2.9", "2001:db8::1", None]
    assert db.value(text, [str(id) for id in ids], digests, addresses, [None] * 3, [now] * 3) == 2
    assert db.load(begun[1].key).ip == ipaddress.ip_address("2001:db8::1")
    assert db.error(record, *arguments[:5], []).sqlstate == "22023"
    assert db.error(record, None, *arguments[1:]).sqlstate == "22004"


def sessions_are_revoked_by_filters(db, user, other):
    create = "SELECT * FROM qsessions.create_session(%s, ip => %s, user_agent => %s)"
    for owner, ip in ((user, "192.0.2.1"), (user, "192.0.2.2"), (other, "192.0.2.3"), (other, "198.51.100.1")):
        db.row(create, owner, ip, USER_AGENT)
    revoke = "SELECT qsessions.revoke_sessions(%s, %s, %s, %s, %s, %s)"
    network = ipaddress.ip_network("192.0.2.0/24")
    assert db.value(revoke, user, network, None, None, None, 1) == 1
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    assert db.value(revoke, None, network, later, later, "%Firefox%", None) == 2
    assert db.value("SELECT qsessions.revoke_sessions(%s)", user) == 0
    assert db.value("SELECT qsessions.revoke_sessions(user_id => %s)", other) == 1
    assert db.error(revoke, *[None] * 6).sqlstate == "22023"


def lists_are_filtered(db, user, other):
    del other
    for agent in (USER_AGENT, "curl/8.5.0", None):
        db.row("SELECT * FROM qsessions.create_session(%s, user_agent => %s)", user, agent)
    listed = """SELECT * FROM qsessions.list_sessions(
                    user_id => %s, device => %s, country => %s, last_seen_after => %s)"""
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    assert len(db.rows(listed, user, None, None, None)) == 3
    assert len(db.rows(listed, user, "FIREFOX", None, now - hour)) == 1
    assert db.rows(listed, user, None, None, now + hour) == []
    assert db.rows(listed, user, None, "DE", None) == []
    assert db.error(listed, user, None, "Germany", None).sqlstate == "22023"


def errors_come_with_their_sqlstate(db, user, other):
    del other
    key = db.row("SELECT * FROM qsessions.create_session(%s)", user).key
    save = "SELECT qsessions.save_session(%s, %s)"
    for statement, arguments, sqlstate in (
        (save, ("no such key", Jsonb({})), "QS001"),
        (save, (None, Jsonb({})), "QS003"),
        (save, (key, None), "22004"),
        (save, (key, Jsonb({"large": "x" * (1 << 20)})), "QS004"),
        (save, (key, "{'single': 'quotes'}"), "22P02"),
        (save, (key, Jsonb({"text": "a\0b"})), "22P05"),
        (save, (key, Jsonb({"a\0b": 1})), "22P05"),
        (save, (key, Jsonb({"text": "\ud800"})), "22P02"),
        (save, (key, Jsonb({"number": float("nan")})), "22P02"),
        ("SELECT qsessions.session_id(%s)", ("short",), "QS003"),
        ("SELECT qsessions.create_session(ttl => %s)", (datetime.timedelta(0),), "22023"),
        ("SELECT qsessions.create_session(ttl => %s)", (datetime.timedelta(days=-1),), "22023"),
        ("SELECT qsessions.create_session(ip => %s)", ("not an address",), "22P02"),
        ("SELECT qsessions.create_session(key => %s)", (key,), "23505"),
        ("SELECT qsessions.login(%s, %s)", (key, None), "22004"),
    ):
        error = db.error(statement, *arguments)
        assert error.sqlstate == sqlstate, (statement, error)
        assert key not in str(error), error
    stranger = {int: 4711, uuid.UUID: uuid.uuid4(), str: "nobody"}[type(user)]
    error = db.error("SELECT qsessions.create_session(%s)", stranger)
    assert isinstance(error, psycopg.errors.ForeignKeyViolation)


def text_that_jsonb_refuses_can_be_cleaned(db, user, other):
    del user, other
    key = db.row("SELECT * FROM qsessions.create_session()").key
    text = "a\0b\ud800"
    clean = text.replace("\0", "").encode("utf-8", "replace").decode()
    db.value("SELECT qsessions.save_session(%s, %s)", key, Jsonb({"text": clean}))
    assert db.load(key).data == {"text": "ab?"}
    try:
        db.rows("SELECT * FROM qsessions.resume_session(%s, user_agent => %s)", key, "a\0b")
        raise AssertionError("the driver accepted a NUL")
    except psycopg.DataError:
        pass


def jsonb_changes_the_order_of_members(db, user, other):
    del user, other
    data = '{"long": 1, "b": 2, "a": 3, "b": 4}'
    key = db.row("SELECT * FROM qsessions.create_session(data => %s)", data).key
    assert list(db.load(key).data.items()) == [("a", 3), ("b", 4), ("long", 1)]


def a_user_who_is_null_owns_no_session(db, user, other):
    del other
    begun = db.row("SELECT * FROM qsessions.create_session(%s)", user)
    for nobody in ("%s", "NULL", "NULL::bigint", "NULL::integer", "NULL::uuid", "NULL::text"):
        arguments = (None,) if nobody == "%s" else ()
        assert db.error(f"SELECT qsessions.revoke_session(%s, {nobody})", begun.id, *arguments).sqlstate == "22004"
    assert db.value("SELECT qsessions.session_exists(%s)", begun.key) is True
    assert db.value("SELECT qsessions.revoke_session(%s)", begun.id) is True


def expired_sessions_are_purged(db, user, other):
    del user, other
    with db.connection.cursor() as cursor:
        cursor.execute("SELECT qsessions.create_session()")
        cursor.execute("UPDATE qsessions.session SET expires_at = now()")
    purged = db.value("SELECT qsessions.purge_expired(%s)", 1)
    assert purged == 1
    with db.connection.cursor() as cursor:
        cursor.execute("CALL qsessions.purge(batch_size => %s, max_batches => %s)", (100, None))


run((
    a_session_stores_what_python_passes,
    none_is_null_and_null_is_the_default,
    data_may_be_jsonb_text_or_cast_json,
    addresses_may_be_text_or_objects,
    changes_are_versioned,
    users_log_in_and_out,
    a_rotated_key_works_for_its_grace,
    a_save_can_log_in,
    sessions_of_another_store_are_imported,
    visits_are_recorded_in_bulk,
    sessions_are_revoked_by_filters,
    lists_are_filtered,
    errors_come_with_their_sqlstate,
    text_that_jsonb_refuses_can_be_cleaned,
    jsonb_changes_the_order_of_members,
    a_user_who_is_null_owns_no_session,
    expired_sessions_are_purged,
))
