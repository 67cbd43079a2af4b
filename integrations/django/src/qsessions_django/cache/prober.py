"""Sends probes in the way of the application's changes, or requests heartbeats, and so shows that these are heard.

A heartbeat shows the same as a probe, and one is enough for all processes. But it may take a tenth of a second, so a probe
is sent where a call waits for it.

The connection is made as Django makes those of requests. It is replaced from time to time, because requests make new
ones too, and these may lead to another server after a failover.
"""

import logging

import psycopg

from qsessions_django.cache import errors, wire
from qsessions_django.cache.freshness import now
from qsessions_django.cache.link import Origin

logger = logging.getLogger("qsessions_django.cache")

# The longest time for the first statement.
FIRST_SECONDS = 5
# The shortest time that a statement has.
SHORTEST_PATIENCE = 0.1
# Between two attempts to connect.
PAUSE = 0.5
# Between two probes at least, however often "drop everything" is heard.
SHORTEST_INTERVAL = 0.005
# How long a connection is used at least.
SHORTEST_LIFE = 1.0

# The server sends a heartbeat so long after the last one, at most.
BETWEEN_HEARTBEATS = 0.1

_ANSWER = """
SELECT extract(epoch FROM pg_catalog.clock_timestamp()), extract(epoch FROM pg_catalog.pg_postmaster_start_time()),
       pg_catalog.current_database(), qsessions.invalidation_channel(), """
_IS_DISTRIBUTED = "(SELECT l.layout IS NOT NULL FROM qsessions._layout() AS l), "
_INVALIDATE = "qsessions.invalidate(id => $1::uuid)"
PROBE = _ANSWER + _IS_DISTRIBUTED + _INVALIDATE
# In a version of the extension that has no heartbeats.
EARLIER_PROBE = _ANSWER + "false, " + _INVALIDATE
HEARTBEAT = _ANSWER + _IS_DISTRIBUTED + "pg_catalog.encode(qsessions.request_heartbeat(), 'hex')"


class Prober:
    """Probes for one Subscription until that is closed."""

    def __init__(self, cache, subscription, has_heartbeats):
        self._cache = cache
        self._has_heartbeats = has_heartbeats and cache.probe_interval >= BETWEEN_HEARTBEATS
        self._statement = PROBE if has_heartbeats else EARLIER_PROBE
        self._subscription = subscription
        self._connection = None

    def run(self):
        """Is the target of a thread."""
        cache, subscription = self._cache, self._subscription
        seconds, is_waited_for = FIRST_SECONDS, False
        try:
            while not subscription.is_closed:
                cache.probe_wanted.clear()
                subscription.is_lost = False
                if self._has_heartbeats and not is_waited_for:
                    self._request_heartbeat(seconds)
                else:
                    self._probe(seconds)
                seconds = max(cache.probe_interval, SHORTEST_PATIENCE)
                cache.stopping.wait(min(SHORTEST_INTERVAL, cache.probe_interval))
                is_waited_for = cache.probe_wanted.wait(cache.probe_interval) and not subscription.is_lost
        except errors.ListenError as error:
            subscription.fail(error)
        except Exception as error:  # Without probes, nothing would end the listening.
            logger.exception("the session cache failed")
            subscription.fail(errors.ListenError(f"unexpected: {type(error).__name__}"))
        finally:
            self._disconnect()

    def _probe(self, seconds):
        probe = None
        try:
            connection = self._connected()
            # After the connection was made: the probe shows all that was committed before this moment.
            probe, sent = self._subscription.new_probe()
            if self._subscription.first_sent is None:
                self._subscription.first_sent = sent
            (answer,) = connection.query(self._statement, (probe,), seconds)
        except (psycopg.Error, errors.ListenError) as error:
            # A statement that was not answered in time may be heard later, and then counts.
            self._disconnect()
            if isinstance(error, psycopg.Error):
                if probe is not None:
                    self._subscription.forget(probe)
                self._report(errors.of_psycopg(error, "the application's connections cannot notify: "))
            return
        self._check(sent, answer)

    def _request_heartbeat(self, seconds):
        def request():
            (answer,) = connection.query(HEARTBEAT, (), seconds)
            # Before the heartbeat counts.
            if answer[-2] == "t":
                raise errors.several_servers()
            return answer, answer[-1]

        try:
            connection = self._connected()
            answer, sent = self._subscription.request_heartbeat(request)
        except psycopg.Error as error:
            self._disconnect()
            self._report(errors.of_psycopg(error, "the application's connections cannot notify: "))
        except errors.ListenError as error:
            self._disconnect()
            if error.is_permanent:
                raise
        else:
            self._check(sent, answer)

    def _report(self, error):
        # A server that starts or stops refuses connections for a while.
        if error.is_permanent:
            raise error
        self._cache.link.set_error(str(error))
        self._cache.stopping.wait(PAUSE)

    def _check(self, sent, answer):
        cache = self._cache
        clock, started_at, database, channel, is_distributed, _ = answer
        if is_distributed == "t":
            raise errors.several_servers()
        if cache.link.state.origin != Origin(started_at, database):
            # If it never was the same, it will not be the next time.
            raise errors.other_origin(is_permanent=not cache.link.is_serving)
        cache.freshness.set_server_clock(sent, float(clock))
        if cache.channels.add(channel):
            raise errors.ListenError("qsessions.invalidation_channel has changed")

    def _connected(self):
        life = max(self._cache.freshness.max_staleness, SHORTEST_LIFE)
        if self._connection is not None and now() - self._connection.opened > life:
            self._disconnect()
        if self._connection is None:
            alias = self._cache.alias
            self._connection = wire.Connection(wire.parameters(alias), wire.role_of(alias))
        return self._connection

    def _disconnect(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None
