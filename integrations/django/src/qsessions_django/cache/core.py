"""How a load is answered: from memory if the cache may, and else from the database."""

import ipaddress
import json
import logging
import threading
from dataclasses import dataclass

from qsessions_django import observer, sql
from qsessions_django.cache import errors
from qsessions_django.cache.channels import Channels
from qsessions_django.cache.entries import Entries, Entry
from qsessions_django.cache.freshness import Freshness, now
from qsessions_django.cache.link import Link, Origin
from qsessions_django.cache.listener import Listener
from qsessions_django.cache.rows import LOAD, LOAD_IN_TRANSACTION, RESUME, Row
from qsessions_django.database import database_connection, one
from qsessions_django.snapshot import SharedSnapshot

logger = logging.getLogger("qsessions_django.cache")
# A key that had no session a moment ago.
ABSENT = object()


@dataclass
class Counters:
    """How loads were answered since the start of the process. Threads may lose a few."""

    hits: int = 0
    negative_hits: int = 0
    misses: int = 0
    bypassed: int = 0
    fills_dropped: int = 0
    invalidations: int = 0


class Cache:
    """The sessions in the memory of this process. It can be used by any number of threads."""

    def __init__(self, settings):
        self.alias = settings.database
        self.config = settings.cache
        self.probe_interval = self.config.max_staleness / 4
        self.entries = Entries(self.config)
        self.freshness = Freshness(self.config.max_staleness)
        self.link = Link()
        self.channels = Channels()
        self.counters = Counters()
        # A request wants to know now up to when all changes are known.
        self.probe_wanted = threading.Event()
        self.stopping = threading.Event()
        self.subscription = None
        self._listener = Listener(self)
        self._thread = threading.Thread(target=self._listener.run, name="qsessions listener", daemon=True)
        # Sessions with a due visit that a request is recording.
        self._claimed = set()
        self._claim_lock = threading.Lock()

    def start(self):
        """Starts to listen."""
        self._thread.start()

    def stop(self):
        """Stops to listen, and waits for the threads a little. No load is answered from memory any more."""
        self.freshness.reset()
        self.stopping.set()
        self.probe_wanted.set()
        self._listener.wakeup.set()
        if self._thread is not threading.current_thread():
            self._thread.join(2)

    def resume(self, key, visitor):
        """Returns the Snapshot of a key and has its visit recorded; None without a live session."""
        moment, digest = now(), sql.digest(key)
        if observer.has_changed(self.alias, key):
            return self._resume_in_database(key, visitor)
        known = self._look_up(digest, moment)
        if known is None:
            if not self.freshness.suffices(moment):
                # The time of the server is unknown too, and so is whether the visit is due.
                return self._resume_in_database(key, visitor)
            known = self._fetch(key, digest, moment)
        if known is None or known is ABSENT:
            return None
        if not known.is_due(visitor, self.freshness.server_time(moment)):
            return known.snapshot
        if known.has_moved(visitor):
            # The server announces it, which drops what would be kept now.
            return self._resume_in_database(key, visitor)
        return self._record_visit(key, visitor, known)

    def peek(self, key, visitor):
        """Returns what resume returns, if it is a live session in memory and no statement is needed; else None."""
        moment = now()
        if observer.has_changed(self.alias, key):
            return None
        known = self._look_up(sql.digest(key), moment)
        if known is None or known is ABSENT or known.is_due(visitor, self.freshness.server_time(moment)):
            return None
        return known.snapshot

    def changed(self, session_id, key):
        """This process has changed a session, or may have, and may have created one under a key."""
        self.entries.drop(session_id)
        if key is not None:
            self.entries.drop_absence(sql.digest(key))

    def catch_up(self):
        """Waits until all changes are known that were committed before, at most for max_staleness."""
        moment = now()
        self.entries.ignore_absences_before(moment)
        self.probe_wanted.set()
        is_known = self.link.wait_for(
            lambda: not self.link.is_up or self.freshness.reaches(moment), self.config.max_staleness)
        if not is_known:
            self.entries.drop_all()

    def heard_probe(self):
        """A probe was heard, and what was announced before it was applied."""
        if self.link.serve():
            logger.info("the session cache listens, and answers loads")

    def health(self):
        """Returns the state as a dict, as qsessions_django.cache.health describes it."""
        moment = now()
        serving = self.freshness.suffices(moment)
        error = self.link.state.error
        return {
            "serving": serving,
            "staleness": self.freshness.staleness(moment),
            "error": error or (None if serving else "no probe has come back within max_staleness"),
            "sessions": len(self.entries),
            **vars(self.counters),
        }

    def _look_up(self, digest, moment):
        """Returns a live Entry, ABSENT, or None if the cache cannot tell."""
        # Before the entries are looked at: a notification drops an entry first, and counts as known then.
        if not self.freshness.suffices(moment):
            self.counters.bypassed += 1
            return None
        entry = self.entries.get(digest)
        if entry is not None and self.freshness.server_time(moment) < entry.expires_at:
            self.counters.hits += 1
            return entry
        if self.entries.is_absent(digest, moment):
            self.counters.negative_hits += 1
            return ABSENT
        self.counters.misses += 1
        return None

    def _fetch(self, key, digest, moment):
        """Returns the Entry of a key from the database, and keeps it; None without a live session."""
        is_in_transaction = observer.is_in_transaction(database_connection(self.alias))
        statement = LOAD_IN_TRANSACTION if is_in_transaction else LOAD
        with self.entries.fill(sql.session_id(key), digest, now(), self._fill_generation()) as fill:
            row = one(statement, (key,), self.alias)
            if row is None:
                # In a transaction, others may see the session.
                if not is_in_transaction:
                    self.entries.put_absence(fill)
                return None
            return self._keep(fill, Row(*row))[0]

    def _fill_generation(self):
        """Returns the generation for a fill that begins now; None while changes are not heard."""
        generation = self.entries.generation
        return generation if self.link.is_up else None

    def _record_visit(self, key, visitor, known):
        """Records a due visit, and keeps the session as it is then."""
        if observer.is_in_transaction(database_connection(self.alias)):
            return self._resume_in_database(key, visitor)
        with self._claim_lock:
            is_claimed = known.id in self._claimed
            self._claimed.add(known.id)
        if is_claimed:
            # A page makes many requests at once, and one of them is enough.
            return known.snapshot
        is_kept = False
        try:
            with self.entries.fill(known.id, known.digest, now(), self._fill_generation()) as fill:
                row = one(RESUME, (key, visitor.ip, visitor.user_agent, visitor.hints_json, key), self.alias)
                if row is None:
                    return None
                row = Row(*row)._replace(
                    touch_interval=known.touch_interval, user_agent_max_length=known.user_agent_max_length)
                entry, is_kept = self._keep(fill, row)
                return entry.snapshot
        finally:
            with self._claim_lock:
                self._claimed.discard(known.id)
            # Unless the new state is kept, the entry from before must not stay.
            if not is_kept:
                self.entries.drop(known.id)

    def _resume_in_database(self, key, visitor):
        with observer.changing(database_connection(self.alias), sql.session_id(key)):
            return sql.resume(key, visitor)

    def _keep(self, fill, row):
        """Keeps a Row, if it may be kept. Returns its Entry, and whether it was."""
        entry = Entry(
            fill.id, fill.digest, SharedSnapshot(row.data, row.user_id, row.version),
            ip=row.ip and ipaddress.ip_address(row.ip), user_agent=row.user_agent,
            client_hints=json.loads(row.client_hints or "{}"), expires_at=row.expires_at,
            visit_due_at=row.last_seen_at + row.touch_interval, touch_interval=row.touch_interval,
            user_agent_max_length=row.user_agent_max_length)
        # A former key opens the session until its grace is over, and that end is not announced. A standby is behind the
        # primary that the listener hears.
        is_kept = (
            not row.is_former_key and not row.is_standby and not row.is_unsafe
            and len(row.data.encode()) <= self.config.max_data_bytes
            and self._is_from_our_database(Origin(row.started_at, row.database)) and self.entries.put(fill, entry))
        if not is_kept:
            self.counters.fills_dropped += 1
        return entry, is_kept

    def _is_from_our_database(self, origin):
        ours, subscription = self.link.state.origin, self.subscription
        if ours is None:
            return False
        if origin != ours and subscription is not None:
            subscription.fail(errors.other_origin(is_permanent=False))
        return origin == ours
