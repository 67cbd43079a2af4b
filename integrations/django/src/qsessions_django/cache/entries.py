"""The sessions in memory, and the fills that read more of them.

Two invariants hold for every entry: it was read after the last notification that has named its session, and it was read
while notifications were heard. A fill is registered from before its statement is sent until its result was put here. A
notification marks the fills of the session that it names. One lock covers marking fills and dropping an entry, as well
as checking the mark and putting an entry.
"""

import contextlib
import threading
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A session as the cache holds it. Times are those of the server."""

    digest: bytes
    data: str
    user_id: str | None
    ip: object
    user_agent: str | None
    client_hints: dict
    expires_at: float
    visit_due_at: float
    touch_interval: float
    user_agent_max_length: int

    def is_alive(self, server_time):
        """Whether the session has not expired."""
        return server_time < self.expires_at

    def has_moved(self, visitor, address):
        """Whether a visit shows something new. `address` is the ipaddress object of the visitor, or None."""
        return (
            address is not None and address != self.ip
            or visitor.user_agent is not None and not self._has_user_agent(visitor.user_agent)
            or bool(visitor.client_hints) and not visitor.client_hints.items() <= self.client_hints.items())

    def _has_user_agent(self, agent):
        known = self.user_agent
        # The server cuts a long header.
        return known == agent or (
            known is not None and len(known) == self.user_agent_max_length and agent.startswith(known))


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
    """Live sessions by their ids (str), and the digests of keys that had none."""

    def __init__(self, config):
        self._config = config
        self._negative_ttl = min(config.negative_ttl, config.max_staleness)
        self._lock = threading.Lock()
        self._sessions = OrderedDict()
        self._absent = OrderedDict()
        self._fills = {}
        self._ignored_before = 0.0
        # How often everything was dropped.
        self.generation = 0

    def __len__(self):
        return len(self._sessions)

    def get(self, session_id, digest):
        """Returns the Entry of a key, alive or expired; None without one."""
        with self._lock:
            entry = self._sessions.get(session_id)
            if entry is None or entry.digest != digest:
                return None
            self._sessions.move_to_end(session_id)
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
            self._sessions[fill.id] = entry
            self._sessions.move_to_end(fill.id)
            if len(self._sessions) > self._config.capacity:
                self._sessions.popitem(last=False)
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
            self._sessions.pop(session_id, None)

    def drop_absence(self, digest):
        """Forgets that a key had no session."""
        with self._lock:
            self._absent.pop(digest, None)

    def drop_all(self):
        """Drops everything, and keeps out what is being read."""
        with self._lock:
            self.generation += 1
            self._sessions.clear()
            self._absent.clear()

    def ignore_absences_before(self, moment):
        """From now on, no key counts as absent that was looked up before a moment: no notification names new ones."""
        with self._lock:
            self._ignored_before = max(self._ignored_before, moment)

    def _is_current(self, fill):
        return not fill.is_named and fill.generation == self.generation
