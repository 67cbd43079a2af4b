"""Calls functions through asyncpg, which takes the types of parameters from the server and checks arguments.

    asynchronous.py bigint|uuid|text USER OTHER

The arguments and the connection are those of contract.py.
"""

import asyncio
import datetime
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


async def main():
    key_type, user, _ = sys.argv[1:]
    connection = await asyncpg.connect()
    try:
        await check(connection, key_type, KEY_TYPES[key_type](user))
    finally:
        await connection.close()
    print("done")


asyncio.run(main())
