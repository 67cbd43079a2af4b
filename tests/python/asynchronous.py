"""Calls functions through asyncpg, which takes the types of parameters from the server and checks arguments.

The arguments and the database are those of database.py.
"""

import asyncio
import datetime
import hashlib
import ipaddress
import json

import asyncpg
from database import USER_AGENT, parse_arguments


async def refuses(connection, statement, *arguments):
    try:
        await connection.fetchrow(statement, *arguments)
    except asyncpg.DataError as error:
        assert error.sqlstate is None or error.sqlstate == "22000", error  # raised by the driver
        return
    raise AssertionError(f"{statement} accepted {arguments}")


async def check(connection, key_type, user):
    create = "SELECT * FROM qsessions.create_session(ttl => $1)"
    await refuses(connection, create, "1 hour")
    begun = await connection.fetchrow(create, datetime.timedelta(hours=1))
    row = await connection.fetchrow("SELECT * FROM qsessions.load_session($1)", begun["key"])
    assert row["expires_at"] - row["created_at"] == datetime.timedelta(hours=1)

    login = "SELECT * FROM qsessions.login($1, $2, data => $3)"
    data = json.dumps({"cart": []})
    if key_type != "text":
        await refuses(connection, login, begun["key"], user, data)
    await refuses(connection, login, begun["key"], str(user), {"cart": []})
    for argument, cast in ((str(user), ""), (user, f"::{key_type}")):
        begun = await connection.fetchrow(login.replace("$2", f"$2{cast}"), begun["key"], argument, data)
        row = await connection.fetchrow("SELECT * FROM qsessions.resume_session($1)", begun["key"])
        assert row["user_id"] == str(user) and json.loads(row["data"]) == {"cart": []}
    assert await connection.fetchval(f"SELECT qsessions.revoke_user_sessions($1::{key_type})", user) == 1


async def check_bulk(connection, key_type, user):
    now = datetime.datetime.now(datetime.timezone.utc)
    imported = f"SELECT qsessions.import_session($1, $2::{key_type}, $3, created_at => $4, expires_at => $5)"
    arguments = ("key of another store", user, "{}", now - datetime.timedelta(days=1), now + datetime.timedelta(days=1))
    assert await connection.fetchval(imported, *arguments) is True
    assert await connection.fetchval(imported, *arguments) is False
    begun = [await connection.fetchrow("SELECT * FROM qsessions.create_session()") for _ in range(2)]
    record = "SELECT qsessions.record_visits($1, $2, $3, $4, $5, $6)"
    visits = (
        [row["id"] for row in begun],
        [hashlib.sha256(row["key"].encode()).digest() for row in begun],
        [ipaddress.ip_address("192.0.2.7"), "2001:db8::1"],
        ["curl/8.5.0", None],
        [now, now + datetime.timedelta(hours=1)],
        [None, json.dumps({"Sec-CH-UA-Mobile": "?0"})],
    )
    assert await connection.fetchval(record, *visits) == 2
    found = await connection.fetch(
        "SELECT ip, user_agent FROM qsessions.list_sessions(last_seen_after => $1) WHERE user_id IS NULL ORDER BY ip",
        now - datetime.timedelta(hours=1))
    assert [row["user_agent"] for row in found] == ["curl/8.5.0", None]
    rotate = "SELECT qsessions.rotate_key($1, grace => $2)"
    present = await connection.fetchval(rotate, begun[0]["key"], datetime.timedelta(seconds=30))
    save = f"SELECT qsessions.save_session($1, $2, user_id => $3::{key_type})"
    assert await connection.fetchval(save, begun[0]["key"], "{}", None) == 2
    assert await connection.fetchval(save, present, "{}", user) == 3
    assert await connection.fetchrow("SELECT * FROM qsessions.load_session($1)", begun[0]["key"]) is None
    revoke = f"SELECT qsessions.revoke_sessions($1::{key_type}, ip => $2, created_before => $3, max_rows => $4)"
    hour = datetime.timedelta(hours=1)
    assert await connection.fetchval(revoke, user, ipaddress.ip_network("192.0.2.0/24"), now + hour, 10) == 1
    assert await connection.fetchval(revoke, user, None, None, None) == 1


async def check_visitors(connection, key_type, user):
    hints = json.dumps({"Sec-CH-UA-Platform": '"Linux"'})
    await connection.execute("SELECT qsessions.create_event_table($1)", datetime.timedelta(days=30))
    login = f"SELECT * FROM qsessions.login($1, $2::{key_type}, $3, $4, client_hints => $5)"
    visit = (ipaddress.ip_address("192.0.2.7"), USER_AGENT, hints)
    for is_new in (True, False):
        begun = await connection.fetchrow(login, None, user, *visit)
        assert begun["is_new_device"] is is_new and begun["is_new_place"] is None
    for argument, cast in ((str(user), ""), (user, f"::{key_type}")):
        events = await connection.fetch(f"SELECT * FROM qsessions.user_events($1{cast}, $2)", argument, 2)
        assert [row["event"] for row in events] == ["login", "login"]
        assert events[0]["session_id"] == begun["id"] and events[0]["ip"] == visit[0]
    await connection.execute(
        "DROP TABLE qsessions.session_event, qsessions.session_event_known, qsessions.session_event_retention")

    who = "SELECT qsessions.current_session_id(), qsessions.current_user_id()"
    async with connection.transaction():
        authenticate = "SELECT * FROM qsessions.authenticate($1, $2, $3, $4)"
        assert (await connection.fetchrow(authenticate, begun["key"], *visit))["id"] == begun["id"]
        assert tuple(await connection.fetchrow(who)) == (begun["id"], str(user))
        assert await connection.fetchval(f"SELECT qsessions.current_user_id()::{key_type}") == user
    assert tuple(await connection.fetchrow(who)) == (None, None)

    shown = await connection.fetchval("SELECT qsessions.device($1, client_hints => $2)", USER_AGENT, hints)
    assert shown == "PC / Linux / Firefox 140.0"
    assert await connection.fetchval("SELECT qsessions.address($1)", "192.0.2.7:4711") == visit[0]
    estimated = await connection.fetchrow("SELECT * FROM qsessions.stats($1)", False)
    assert estimated["total"] == estimated["active"] + estimated["expired"]
    assert "logins_total" in dict(await connection.fetchrow("SELECT * FROM qsessions.metrics()"))


async def main():
    key_type, user, _ = parse_arguments()
    connection = await asyncpg.connect()
    try:
        for check_some in (check, check_bulk, check_visitors):
            await check_some(connection, key_type, user)
    finally:
        await connection.close()
    print("done")


asyncio.run(main())
