"""Calls functions through asyncpg, which takes the types of parameters from the server and checks arguments.

    asynchronous.py bigint|uuid|text USER OTHER

The arguments and the connection are those of contract.py.
"""

import asyncio
import datetime
import hashlib
import ipaddress
import json
import sys
import uuid

import asyncpg

KEY_TYPES = {"bigint": int, "uuid": uuid.UUID, "text": str}


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
    assert await connection.fetchval(save, begun[0]["key"], "{}", user) == 2
    assert await connection.fetchval(save, present, "{}", user) == 3
    revoke = f"SELECT qsessions.revoke_sessions($1::{key_type}, ip => $2, created_before => $3, max_rows => $4)"
    hour = datetime.timedelta(hours=1)
    assert await connection.fetchval(revoke, user, ipaddress.ip_network("192.0.2.0/24"), now + hour, 10) == 1
    assert await connection.fetchval(revoke, user, None, None, None) == 1


async def main():
    key_type, user, _ = sys.argv[1:]
    connection = await asyncpg.connect()
    try:
        await check(connection, key_type, KEY_TYPES[key_type](user))
        await check_bulk(connection, key_type, KEY_TYPES[key_type](user))
    finally:
        await connection.close()
    print("done")


asyncio.run(main())
