"""A connection whose every step has a deadline: a server or a network may stall without an error."""

import contextlib
import selectors
import socket
import time

import psycopg
from django.db import connections
from psycopg import pq

from qsessions_django.cache.errors import ListenError

CONNECT_SECONDS = 5
_DEFAULTS = {
    "connect_timeout": CONNECT_SECONDS, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "application_name": "qsessions_django"}


def parameters(alias, replaced=None):
    """Returns the parameters of psycopg.connect with which Django connects, and those in `replaced`."""
    given = connections[alias].get_connection_params()
    plain = {name: value for name, value in given.items() if isinstance(value, (str, int, float))}
    plain.pop("prepare_threshold", None)
    return {**_DEFAULTS, **plain, **(replaced or {})}


def role_of(alias):
    """Returns the role that Django's connections assume after they have connected; None for none."""
    return connections[alias].settings_dict["OPTIONS"].get("assume_role")


class Wakeup:
    """Interrupts a thread that waits for a connection."""

    def __init__(self):
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self):
        """Is readable after set()."""
        return self._reader.fileno()

    def set(self):
        """Has wait() return at once."""
        with contextlib.suppress(OSError):  # full, so that it is readable anyway; or closed
            self._writer.send(b"!")

    def clear(self):
        """Ends the effect of set()."""
        with contextlib.suppress(OSError):  # empty
            while self._reader.recv(64):
                pass

    def close(self):
        """Frees the sockets."""
        self._reader.close()
        self._writer.close()


class Connection:
    """A connection of psycopg, for one thread. Errors are those of psycopg, and ListenError for a deadline."""

    def __init__(self, arguments, role=None):
        self.opened = time.monotonic()
        self._connection = psycopg.connect(autocommit=True, **arguments)
        self._pgconn = self._connection.pgconn
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pgconn.socket, selectors.EVENT_READ)
        if role:
            try:
                self.query("SELECT pg_catalog.set_config('role', $1, false)", (role,), CONNECT_SECONDS)
            except BaseException:
                self.close()
                raise

    def query(self, statement, arguments, seconds):
        """Executes a statement with arguments (str), and returns its rows, which are lists of str or None."""
        deadline = time.monotonic() + seconds
        encoded = [argument.encode() for argument in arguments]
        self._pgconn.send_query_params(statement.encode(), encoded)
        while self._pgconn.flush():
            self._wait_until(deadline, selectors.EVENT_READ | selectors.EVENT_WRITE)
            self._pgconn.consume_input()
        rows = []
        while True:
            while self._pgconn.is_busy():
                self._wait_until(deadline, selectors.EVENT_READ)
                self._pgconn.consume_input()
            result = self._pgconn.get_result()
            if result is None:
                return rows
            rows = _rows(result)

    def wait(self, seconds, wakeup):
        """Waits until something arrives, or the Wakeup is set, or the time is over."""
        if wakeup.fileno() not in self._selector.get_map():
            self._selector.register(wakeup, selectors.EVENT_READ)
        self._selector.select(seconds)
        wakeup.clear()

    def notifications(self):
        """Returns the payloads (str) that have arrived, in their order."""
        self._pgconn.consume_input()
        payloads = []
        while (notification := self._pgconn.notifies()) is not None:
            payloads.append(notification.extra.decode(errors="replace"))
        return payloads

    def close(self):
        """Closes the connection, without an error."""
        self._selector.close()
        self._connection.close()

    def _wait_until(self, deadline, events):
        self._selector.modify(self._pgconn.socket, events)
        left = deadline - time.monotonic()
        if left <= 0 or not self._selector.select(left):
            raise ListenError("a statement was not answered in time")
        self._selector.modify(self._pgconn.socket, selectors.EVENT_READ)


def _rows(result):
    if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        raise psycopg.errors.error_from_result(result)
    return [
        [None if (value := result.get_value(row, column)) is None else value.decode()
         for column in range(result.nfields)]
        for row in range(result.ntuples)]
