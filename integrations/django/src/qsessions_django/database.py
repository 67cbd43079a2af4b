"""Executes statements whose parameters are secrets.

Django's own cursors write parameters into the statement, unless server_side_binding is set, and into the log of
DEBUG always. Both would contain keys of sessions. Statements of this package go through the connections of Django,
and so take part in its transactions, but the server binds their parameters, and no log contains them.
"""

import functools
import logging
import time

import psycopg
from django.db import DatabaseError, connections
from django.utils.asyncio import async_unsafe

from qsessions_django.conf import config
from qsessions_django.exceptions import DataTooLarge, SessionEnded, VersionConflict

logger = logging.getLogger("django.db.backends")
# Python has no time after the year 9999, and no infinite one. A time zone may add a day to this.
LATEST = "timestamptz '9999-12-30 00:00:00+00'"
_ERRORS = {"QS002": VersionConflict, "QS004": DataTooLarge}


def database_connection(using=None):
    """Returns Django's connection of this thread to the database with the sessions."""
    return connections[using or config().database]


def one(statement, parameters=(), using=None):
    """Returns the first row (tuple) of a statement; None if it has none. Raises as execute does."""
    rows = execute(statement, parameters, using)
    return rows[0] if rows else None


@async_unsafe(
    "A session cannot reach the database from an async context. Use the methods of the session that begin with a, "
    "and 'await session.asave()' before you read session_key after a login."
)
def execute(statement, parameters=(), using=None):
    """Executes a statement, and returns its rows, which are tuples.

    Raises SessionEnded, VersionConflict or DataTooLarge for the errors of those kinds, and else Django's errors of
    databases. No error contains a parameter.
    """
    connection = database_connection(using)
    # As Django's own cursors do. The session is often the first that a request reads from a persistent connection.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    executor = _execute
    for wrapper in reversed(connection.execute_wrappers):
        executor = functools.partial(wrapper, executor)
    began = time.monotonic()
    try:
        return executor(statement, parameters, False, {"connection": connection, "cursor": None})
    except DatabaseError as error:
        state = getattr(error.__cause__, "sqlstate", None)
        if state == "QS001":
            raise SessionEnded() from error
        if state in _ERRORS:
            raise _ERRORS[state](*error.args) from error
        raise
    finally:
        if connection.queries_logged:
            _log(connection, statement, time.monotonic() - began)


def _execute(statement, parameters, many, context):
    connection = context["connection"]
    connection.validate_no_broken_transaction()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def _log(connection, statement, duration):
    connection.queries_log.append({"sql": statement, "time": f"{duration:.3f}"})
    logger.debug(
        "(%.3f) %s; alias=%s", duration, statement, connection.alias,
        extra={"duration": duration, "sql": statement, "params": None, "alias": connection.alias})
