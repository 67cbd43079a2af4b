"""The thread that hears of changes, on a connection of its own."""

import logging
import random
import threading

import psycopg

from qsessions_django.cache import errors, wire
from qsessions_django.cache.freshness import now
from qsessions_django.cache.link import Origin
from qsessions_django.cache.prober import Prober
from qsessions_django.cache.subscription import Subscription

logger = logging.getLogger("qsessions_django.cache")

SHORTEST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
# The longest time until the first probe is heard. The server may have to start its background worker, and may have to
# try that again.
FIRST_PROBE_SECONDS = 10
STATEMENT_SECONDS = 5

BEGIN = """
SELECT qsessions.invalidation_channel(), extract(epoch FROM pg_catalog.pg_postmaster_start_time()),
       extract(epoch FROM pg_catalog.clock_timestamp()), pg_catalog.pg_is_in_recovery(), pg_catalog.current_database(),
       pg_catalog.to_regprocedure('qsessions.request_heartbeats(uuid)') IS NOT NULL
"""
IS_DISTRIBUTED = "SELECT layout IS NOT NULL FROM qsessions._layout()"
ON_A_STANDBY = (
    "the listening connection leads to a standby, which announces nothing: give the listener the address of the "
    "primary")
NOT_HEARD = (
    "the listener does not hear what the application announces: LISTEN needs a connection of its own to the same "
    "server and database, and not through a pooler in transaction mode (set QSESSIONS['CACHE']['LISTEN'] to the server's own "
    "address)")
SILENCE = "no probe has come back: the listening connection or the application's server does not answer"


class Listener:
    """Listens, and connects again after each failure, until the cache is stopped."""

    def __init__(self, cache):
        self._cache = cache
        self.wakeup = wire.Wakeup()

    def run(self):
        """Is the target of a thread."""
        cache, pause = self._cache, SHORTEST_PAUSE
        while not cache.stopping.is_set():
            began = now()
            error = self._listen_once()
            is_news = cache.link.is_up or str(error) != cache.link.state.error
            # First of all no load is answered from memory. Then nothing that is read is kept.
            cache.freshness.reset()
            cache.link.down(str(error), error.is_permanent)
            cache.entries.drop_all()
            if cache.stopping.is_set() or not threading.main_thread().is_alive():
                break
            if is_news:
                logger.warning("the session cache does not listen: %s", error)
            if now() - began > LONGEST_PAUSE:
                pause = SHORTEST_PAUSE
            # Processes that have lost the same server do not all come back at once.
            cache.stopping.wait(pause * (0.5 + 0.5 * random.random()))
            pause = min(pause * 2, LONGEST_PAUSE)
        self.wakeup.close()

    def _listen_once(self):
        """Listens until something fails, and returns the ListenError."""
        connection = None
        try:
            connection = self._connect()
            self._listen(connection)
        except errors.ListenError as error:
            return error
        except psycopg.Error as error:
            return errors.of_psycopg(error)
        except Exception as error:  # A thread that ends would never listen again.
            logger.exception("the session cache failed")
            return errors.ListenError(f"unexpected: {type(error).__name__}")
        finally:
            if connection is not None:
                connection.close()
        return errors.ListenError("the cache was stopped")

    def _connect(self):
        cache = self._cache
        return wire.Connection(wire.parameters(cache.alias, cache.config.listen), wire.role_of(cache.alias))

    def _listen(self, connection):
        cache = self._cache
        origin, has_heartbeats = self._begin(connection)
        # A change of what is read from now on will be heard.
        cache.entries.drop_all()
        cache.link.listening(origin)
        subscription = Subscription(cache, self.wakeup)
        prober = threading.Thread(target=Prober(cache, subscription, has_heartbeats).run, name="qsessions prober", daemon=True)
        try:
            prober.start()
        except RuntimeError as error:  # The process ends, and can start no thread any more.
            raise errors.ListenError(str(error)) from error
        cache.subscription = subscription
        try:
            self._hear(connection, subscription)
        finally:
            cache.subscription = None
            subscription.close()

    def _begin(self, connection):
        """Listens on every channel that this process knows of.

        A statement that runs while the setting changes ends with the earlier one.
        """
        cache, asked = self._cache, now()
        ((channel, started_at, clock, is_standby, database, has_heartbeats),) = connection.query(BEGIN, (), STATEMENT_SECONDS)
        if is_standby == "t":
            raise errors.ListenError(ON_A_STANDBY)
        # An earlier version of the extension has none.
        has_heartbeats = has_heartbeats == "t"
        if has_heartbeats and connection.query(IS_DISTRIBUTED, (), STATEMENT_SECONDS) == [["t"]]:
            raise errors.several_servers()
        cache.channels.add(channel)
        for name in cache.channels:
            quoted = name.replace('"', '""')
            connection.query(f'LISTEN "{quoted}"', (), STATEMENT_SECONDS)
        cache.freshness.begin_server_clock(asked, float(clock))
        return Origin(started_at, database), has_heartbeats

    def _hear(self, connection, subscription):
        cache = self._cache
        patience = max(cache.probe_interval * 8, 1.0)
        while not cache.stopping.is_set():
            connection.wait(cache.probe_interval, self.wakeup)
            subscription.apply(connection.notifications())
            if subscription.error is not None:
                raise subscription.error
            first = subscription.first_sent
            if not cache.link.is_serving:
                if first is not None and now() - first > FIRST_PROBE_SECONDS:
                    raise errors.ListenError(NOT_HEARD, is_permanent=True)
            elif subscription.is_silent_for(patience):
                raise errors.ListenError(SILENCE)
