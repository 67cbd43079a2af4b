"""Sends probes in the way of the application's changes, and so shows that these are heard.

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

PROBE = """
SELECT extract(epoch FROM pg_catalog.clock_timestamp()), extract(epoch FROM pg_catalog.pg_postmaster_start_time()),
       pg_catalog.current_database(), qsessions.invalidation_channel(), qsessions.invalidate(id => $1::uuid)
"""


class Prober:
    """Probes for one Subscription until that is closed."""

    def __init__(self, cache, subscription):
        self._cache = cache
        self._subscription = subscription
        self._connection = None

    def run(self):
        """Is the target of a thread."""
        cache, subscription = self._cache, self._subscription
        seconds = FIRST_SECONDS
        try:
            while not subscription.is_closed:
                cache.probe_wanted.clear()
                self._probe(seconds)
                seconds = max(cache.probe_interval, SHORTEST_PATIENCE)
                cache.stopping.wait(min(SHORTEST_INTERVAL, cache.probe_interval))
                cache.probe_wanted.wait(cache.probe_interval)
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
            (answer,) = connection.query(PROBE, (probe,), seconds)
        except (psycopg.Error, errors.ListenError) as error:
            # A statement that was not answered in time may be heard later, and then counts.
            self._disconnect()
            if isinstance(error, psycopg.Error):
                if probe is not None:
                    self._subscription.forget(probe)
                self._report(errors.of_psycopg(error, "the application's connections cannot notify: "))
            return
        self._check(sent, answer)

    def _report(self, error):
        # A server that starts or stops refuses connections for a while.
        if error.is_permanent:
            raise error
        self._cache.link.set_error(str(error))
        self._cache.stopping.wait(PAUSE)

    def _check(self, sent, answer):
        cache = self._cache
        clock, started_at, database, channel, _ = answer
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
