"""Tells the cache of this process which sessions the process changes.

A change in a transaction counts twice: at once, and when it is committed. In between, the thread that makes it must not
read the session from memory.
"""

import contextlib
import functools
import weakref

from django.db import connections, transaction

from qsessions_django import keys

_cache = None
# The ids of the sessions that the transactions of connections have changed.
_marked = weakref.WeakKeyDictionary()


def observe_for(cache):
    """From now on this cache is told; None for no cache."""
    global _cache
    _cache = cache


@contextlib.contextmanager
def changing(connection, session_id, key=None):
    """Surrounds a statement that changes the session with this id (str), and perhaps makes one for a key.

    The cache drops the session also if the statement fails: the connection may have failed after the commit.
    """
    try:
        yield
    finally:
        drop = functools.partial(_drop, session_id, key)
        drop()
        if is_in_transaction(connection):
            _marked.setdefault(connection, set()).add(session_id)
        if connection.in_atomic_block:
            transaction.on_commit(drop, using=connection.alias)


def is_gone(session_id):
    """The database has said that a session has ended, perhaps before its notification has arrived."""
    _drop(session_id, None)


def ended_others(connection):
    """Waits until the cache knows the ends of sessions by the last statement, whose ids are not known here."""
    if connection.in_atomic_block:
        transaction.on_commit(_catch_up, using=connection.alias)
    else:
        _catch_up()


def is_in_transaction(connection):
    """Whether the statements of this thread belong to a transaction of the caller."""
    # Before it connects, Django says of a connection that it does not commit by itself.
    return connection.in_atomic_block or connection.connection is not None and not connection.autocommit


def has_changed(alias, key):
    """Whether the present transaction may have changed a session. One that was rolled back may count too."""
    # Usually there is no such transaction in the whole process, and this is asked for each load.
    if not _marked:
        return False
    connection = connections[alias]
    ids = _marked.get(connection)
    if ids and not is_in_transaction(connection):
        del _marked[connection]
        return False
    return bool(ids) and str(keys.session_id(key)) in ids


def _drop(session_id, key):
    if _cache is not None:
        _cache.changed(session_id, key)


def _catch_up():
    if _cache is not None:
        _cache.catch_up()
