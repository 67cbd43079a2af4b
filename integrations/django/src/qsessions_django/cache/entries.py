"""The sessions in memory, and the fills that read more of them.

Two invariants hold for every entry: it was read after the last notification that has named its session, and it was read
while notifications were heard. A fill is registered from before its statement is sent until its result was put here. A
notification marks the fills of the session that it names. One lock covers marking fills and dropping an entry, as well
as checking the mark and putting an entry.
"""

import contextlib
import ipaddress
import threading
from collections import OrderedDict


class Entry:
    """A session as the cache holds it: a SharedSnapshot, and what a visit is compared with.

    `ip` is an ipaddress object or None. Times are those of the server.
    """

    __slots__ = (
        "client_hints", "digest", "expires_at", "id", "ip", "ip_text", "snapshot", "touch_interval", "user_agent",
        "user_agent_max_length", "visit_due_at")

    def __init__(self, session_id, digest, snapshot, **columns):
        self.id = session_id
        self.digest = digest
        self.snapshot = snapshot
        self.ip_text = None
        for name, value in columns.items():
            setattr(self, name, value)
        if self.ip is not None:
            self.ip_text = str(self.ip)

    def is_due(self, visitor, server_time):
        """Whether a visit has to be recorded: it shows something new, or the last one is too long ago."""
        return server_time >= self.visit_due_at or self.has_moved(visitor)

    def has_moved(self, visitor):
        """Whether a visit shows something new."""
        return (
            visitor.ip is not None and visitor.ip != self.ip_text and ipaddress.ip_address(visitor.ip) != self.ip
            or visitor.user_agent is not None and visitor.user_agent != self.user_agent
            and not self._is_cut_from(visitor.user_agent)
            or visitor.client_hints is not None and not visitor.client_hints.items() <= self.client_hints.items())

    def _is_cut_from(self, agent):
        # The server cuts a long header.
        known = self.user_agent
        return known is not None and len(known) == self.user_agent_max_length and agent.startswith(known)


class Fill:
    """A session is being read from the database."""

    __slots__ = ("began", "digest", "generation", "id", "is_named")

    def __init__(self, session_id, digest, began, generation):
        self.id = session_id
        self.digest = digest
        self.began = began
        # None: notifications were not heard when it began.
        self.generation = generation
        # Whether a notification has named the session since.
        self.is_named = False


class Entries:
    """Sessions, and the digests of keys that had none."""

    def __init__(self, config):
        self._config = config
        self._negative_ttl = min(config.negative_ttl, config.max_staleness)
        self._lock = threading.Lock()
        # The same entries by the digests of their keys, the most recently used ones last, and by their ids.
        self._by_digest = OrderedDict()
        self._by_id = {}
        self._absent = OrderedDict()
        self._fills = {}
        self._ignored_before = 0.0
        # How often everything was dropped.
        self.generation = 0

    def __len__(self):
        return len(self._by_id)

    def get(self, digest):
        """Returns the Entry of a key, alive or expired; None without one."""
        with self._lock:
            entry = self._by_digest.get(digest)
            if entry is not None:
                self._by_digest.move_to_end(digest)
            return entry

    def is_absent(self, digest, moment):
        """Whether a key had no session a moment ago."""
        with self._lock:
            asked = self._absent.get(digest)
            return asked is not None and moment - asked <= self._negative_ttl and asked >= self._ignored_before

    @contextlib.contextmanager
    def fill(self, session_id, digest, began, generation):
        """Surrounds a statement that reads a session, and gives the Fill for its result."""
        fill = Fill(session_id, digest, began, generation)
        with self._lock:
            self._fills.setdefault(session_id, []).append(fill)
        try:
            yield fill
        finally:
            with self._lock:
                fills = self._fills[session_id]
                fills.remove(fill)
                if not fills:
                    del self._fills[session_id]

    def put(self, fill, entry):
        """Keeps what was read, unless the session may have changed since the fill began. Returns whether it did."""
        with self._lock:
            if not self._is_current(fill):
                return False
            self._remove(fill.id)
            self._by_id[fill.id] = self._by_digest[fill.digest] = entry
            if len(self._by_id) > self._config.capacity:
                _, oldest = self._by_digest.popitem(last=False)
                del self._by_id[oldest.id]
            return True

    def put_absence(self, fill):
        """Remembers that a key had no session, on the same condition."""
        with self._lock:
            if self._is_current(fill):
                self._absent[fill.digest] = fill.began
                self._absent.move_to_end(fill.digest)
                if len(self._absent) > self._config.negative_capacity:
                    self._absent.popitem(last=False)

    def drop(self, session_id):
        """Drops a session, and keeps out what was read of it until now."""
        with self._lock:
            for fill in self._fills.get(session_id, ()):
                fill.is_named = True
            self._remove(session_id)

    def drop_absence(self, digest):
        """Forgets that a key had no session."""
        with self._lock:
            self._absent.pop(digest, None)

    def drop_all(self):
        """Drops everything, and keeps out what is being read."""
        with self._lock:
            self.generation += 1
            self._by_id.clear()
            self._by_digest.clear()
            self._absent.clear()

    def ignore_absences_before(self, moment):
        """From now on, no key counts as absent that was looked up before a moment: no notification names new ones."""
        with self._lock:
            self._ignored_before = max(self._ignored_before, moment)

    def _remove(self, session_id):
        entry = self._by_id.pop(session_id, None)
        if entry is not None:
            del self._by_digest[entry.digest]

    def _is_current(self, fill):
        return not fill.is_named and fill.generation == self.generation
