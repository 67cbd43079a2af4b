"""What notifications do to the cache, and which probes are among them."""

import re
import threading
import uuid
from collections import OrderedDict

from qsessions_django.cache.freshness import now

_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Subscription:
    """What is heard on one connection. `wakeup` interrupts the thread that listens, when `error` is set."""

    def __init__(self, cache, wakeup):
        self._cache = cache
        self._wakeup = wakeup
        self._lock = threading.Lock()
        # Probes that were not heard yet, and a moment shortly before each was sent.
        self._awaited = OrderedDict()
        self.first_sent = None
        self.error = None
        self.is_closed = False

    def new_probe(self):
        """Returns the id of a probe that is about to be sent, and the moment."""
        probe, moment = str(uuid.uuid4()), now()
        with self._lock:
            self._awaited[probe] = moment
        return probe, moment

    def forget(self, probe):
        """A probe may not have been sent, and is not awaited any more."""
        with self._lock:
            self._awaited.pop(probe, None)

    def fail(self, error):
        """Ends the listening with an error."""
        self.error = self.error or error
        self._wakeup.set()

    def close(self):
        """The connection is not used any more."""
        self.is_closed = True
        self._cache.probe_wanted.set()

    def is_silent_for(self, seconds):
        """Whether a probe has been awaited for longer than a time."""
        with self._lock:
            oldest = next(iter(self._awaited.values()), None)
        return oldest is not None and now() - oldest > seconds

    def apply(self, payloads):
        """Drops what notifications name, and notes up to when changes are known."""
        heard = None
        for payload in payloads:
            ids = payload.split(",")
            self._cache.counters.invalidations += len(ids)
            if all(map(_ID.fullmatch, ids)):
                for session_id in ids:
                    heard = self._apply_id(session_id) or heard
            else:
                # "*", or what a later version may send.
                self._apply_everything()
        if heard is not None:
            self._cache.freshness.advance_to(heard)
            self._cache.heard_probe()

    def _apply_everything(self):
        self._cache.entries.drop_all()
        with self._lock:
            # They may be part of it, and would then never come.
            is_lost = bool(self._awaited)
            self._awaited.clear()
        if is_lost:
            self._cache.probe_wanted.set()

    def _apply_id(self, session_id):
        with self._lock:
            moment = self._awaited.pop(session_id, None)
            if moment is not None:
                # Earlier ones were never sent, or were part of "everything".
                while self._awaited and next(iter(self._awaited.values())) <= moment:
                    self._awaited.popitem(last=False)
        if moment is None:
            self._cache.entries.drop(session_id)
        return moment
