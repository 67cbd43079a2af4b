"""The functions of qsessions, as this package calls them.

Every argument `key` is the text of a key, and every `user_id` a user's primary key or its text. Durations are
timedelta objects. All functions raise the errors of qsessions_django.database.execute. Those that change sessions
tell the cache of this process, if it has one.
"""

import contextlib
import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from django.db import transaction

from qsessions_django import keys, observer
from qsessions_django.database import LATEST, database_connection, execute, one
from qsessions_django.snapshot import Snapshot
from qsessions_django.visitor import NOBODY


class Login(NamedTuple):
    """The result of a login, with a SessionKey; `is_new_device` and `is_new_place` are None where no events are recorded."""

    key: str
    id: object
    is_new_device: bool | None
    is_new_place: bool | None


@dataclass(frozen=True)
class Expiry:
    """When a session expires: `ttl` from now on, or `idle_timeout` after its last use; never after `max_age`."""

    ttl: timedelta | None = None
    idle_timeout: timedelta | None = None
    max_age: timedelta | None = None


def resume(key, visitor=NOBODY):
    """Returns the Snapshot of a key and records the visit; None if the key has no live session."""
    row = one(
        "SELECT data, user_id, version FROM qsessions.resume_session(%s, %s, %s, %s)",
        (key, visitor.ip, visitor.user_agent, visitor.hints_json))
    return row and Snapshot(*row)


def exists(key):
    """Whether a key has a live session."""
    found = one("SELECT qsessions.session_exists(%s)", (key,))[0]
    if not found:
        observer.is_gone(session_id(key))
    return found


def create(data, visitor, expiry):
    """Begins a session with this JSON of its data, and returns its key."""
    return keys.SessionKey(one(
        """SELECT key FROM qsessions.create_session(data => %s, ip => %s, user_agent => %s, client_hints => %s,
               ttl => %s, idle_timeout => %s, max_age => %s)""",
        (data, *_seen(visitor), expiry.ttl, expiry.idle_timeout, expiry.max_age))[0])


def replace(key, data, visitor, expiry):
    """Ends a live session, begins one with this data and without a user in the same statement, and returns its key.

    Raises SessionEnded if there is no live session to end.
    """
    with _changing(key):
        row = one(
            """SELECT CASE WHEN qsessions.logout(%s) THEN (qsessions.create_session(data => %s, ip => %s,
                   user_agent => %s, client_hints => %s, ttl => %s, idle_timeout => %s, max_age => %s)).key END""",
            (key, data, *_seen(visitor), expiry.ttl, expiry.idle_timeout, expiry.max_age))
    return keys.SessionKey(row[0]) if row[0] else _raise_ended()


def login(key, user_id, data, visitor, expiry, max_sessions=None, must_be_live=False):
    """Gives the session of a key to a user, or begins one, and returns a Login with its new key.

    With must_be_live, raises SessionEnded if the key has no live session.
    """
    argument = "qsessions.rotate_key(%s)" if must_be_live else "%s"
    with _changing(key) as connection:
        row = one(
            f"""SELECT key, id, is_new_device, is_new_place FROM qsessions.login({argument}, %s, data => %s, ip => %s,
                    user_agent => %s, client_hints => %s, max_sessions => %s,
                    ttl => %s, idle_timeout => %s, max_age => %s)""",
            (key, user_id, data, *_seen(visitor), max_sessions, expiry.ttl, expiry.idle_timeout, expiry.max_age))
    if max_sessions is not None:
        observer.ended_others(connection)
    return Login(keys.SessionKey(row[0]), *row[1:])


def save(key, data, expiry, rotate=False):
    """Replaces the data of a live session; with rotate, also its key. Returns its key."""
    with _changing(key):
        row = one(*_with_expiry("qsessions.save_session(key, %s)", (data,), expiry, key, rotate))
    return keys.SessionKey(row[0])


def patch(key, changes, remove, expiry):
    """Sets members of a session's data to those of a JSON object, and removes others (list of str)."""
    with _changing(key):
        one(*_with_expiry("qsessions.patch_session(key, %s, %s)", (changes, remove), expiry, key, False))


def _with_expiry(call, arguments, expiry, key, rotate):
    source = "qsessions.rotate_key(%s)" if rotate else "CAST(%s AS text)"
    if expiry.ttl is not None or expiry.idle_timeout is not None:
        call += ", qsessions.set_expiry(key, %s, %s)"
        arguments += (expiry.ttl, expiry.idle_timeout)
    return f"SELECT key, {call} FROM {source} AS key", (*arguments, key)


def logout(key):
    """Ends the session of a key, and returns whether there was one."""
    with _changing(key):
        return one("SELECT qsessions.logout(%s)", (key,))[0]


def import_session(key, user_id=None, data="{}", **columns):
    """Brings a session of another store along under its key, and returns whether it did.

    `columns` are ip, user_agent, created_at, authenticated_at, last_seen_at and expires_at of import_session.
    """
    names = sorted(set(columns) & _IMPORTED)
    if len(names) < len(columns):
        raise TypeError(f"import_session takes {', '.join(sorted(_IMPORTED))}")
    call = "".join(f", {name} => %s" for name in names)
    with _changing(key):
        return one(
            f"SELECT qsessions.import_session(%s, %s, %s{call})",
            (key, None if user_id is None else str(user_id), data, *(columns[name] for name in names)))[0]


_IMPORTED = {"ip", "user_agent", "created_at", "authenticated_at", "last_seen_at", "expires_at"}


def revoke_session(session_id, user_id=None):
    """Ends the session with an id, and returns whether there was one. With a user, only if it is that user's."""
    with observer.changing(database_connection(), str(uuid.UUID(str(session_id)))):
        if user_id is None:
            return one("SELECT qsessions.revoke_session(%s::uuid)", (session_id,))[0]
        return one("SELECT qsessions.revoke_session(%s::uuid, %s)", (session_id, str(user_id)))[0]


def revoke_user_sessions(user_id, except_key=None):
    """Ends the sessions of a user, except that of a key, and returns their number."""
    if user_id is None:
        raise ValueError("user_id must not be None")
    number = one("SELECT qsessions.revoke_user_sessions(%s, %s)", (str(user_id), except_key))[0]
    observer.ended_others(database_connection())
    return number


def purge_expired():
    """Deletes a batch of expired sessions, and returns their number: 0 when there are no more."""
    return one("SELECT qsessions.purge_expired()")[0]


def user_sessions(user_id, current_key=None):
    """Returns the live sessions of a user, last seen first, as dicts by the columns of qsessions.user_sessions.

    Times are datetime objects; expires_at is None for a session that never expires.
    """
    rows = execute(f"SELECT {_LISTED} FROM qsessions.user_sessions(%s, %s)", (str(user_id), current_key))
    return [dict(zip(_LISTED_NAMES, row, strict=True)) for row in rows]


_LISTED_NAMES = (
    "id", "user_id", "ip", "location", "device", "user_agent", "created_at", "authenticated_at", "updated_at",
    "last_seen_at", "expires_at", "is_active", "is_current")
_LISTED = ", ".join(
    {"ip": "host(ip)", "expires_at": f"CASE WHEN expires_at < {LATEST} THEN expires_at END"}.get(name, name)
    for name in _LISTED_NAMES)


def session_id(key):
    """Returns the id (text) of the session that a key belongs to, without asking the database."""
    return str(keys.session_id(key))


def digest(key):
    """Returns the SHA-256 of a key, which the table has in its place."""
    return hashlib.sha256(key.encode()).digest()


@contextlib.contextmanager
def savepoint():
    """In a transaction of the caller, an error of the statements inside must not end that."""
    connection = database_connection()
    if connection.in_atomic_block:
        with transaction.atomic(using=connection.alias):
            yield
    else:
        yield


@contextlib.contextmanager
def _changing(key):
    connection = database_connection()
    if key is None:
        yield connection
    else:
        with observer.changing(connection, session_id(key), key):
            yield connection


def _seen(visitor):
    return visitor.ip, visitor.user_agent, visitor.hints_json


def _raise_ended():
    from qsessions_django.exceptions import SessionEnded

    raise SessionEnded()
