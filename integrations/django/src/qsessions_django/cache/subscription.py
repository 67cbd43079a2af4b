"""What notifications do to the cache, and which probes and heartbeats are among them."""

import hashlib
import re
import threading
import uuid
from collections import OrderedDict

from qsessions_django.cache.freshness import NEVER, now

_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Subscription:
    """What is heard on one connection. `wakeup` interrupts the thread that listens, when `error` is set."""

    def __init__(self, cache, wakeup):
        self._cache = cache
        self._wakeup = wakeup
        self._lock = threading.Lock()
        # Probes that were not heard yet, and a moment shortly before each was sent. Of a heartbeat, only the SHA-256 of
        # its id is known.
        self._awaited = OrderedDict()
        # The SHA-256 of the ids that arrive while a heartbeat is being requested, or None.
        self._arrived = None
        # A moment that a heartbeat has shown before it was known as one.
        self._shown_early = None
        # "Drop everything" has come since the last probe, and may stand for it.
        self.is_lost = False
        self.first_sent = None
        self.error = None
        self.is_closed = False

    def new_probe(self):
        """Returns the id of a probe that is about to be sent, and the moment."""
        probe, moment = str(uuid.uuid4()), now()
        with self._lock:
            self._awaited[probe] = moment
        return probe, moment

    def request_heartbeat(self, request):
        """Awaits the heartbeat whose SHA-256 in hex `request` returns, with what else it returns, and returns that.

        Returns the moment before the request besides.
        """
        with self._lock:
            moment, self._arrived = now(), set()
        self.first_sent = self.first_sent or moment
        try:
            answer, heartbeat = request()
        except BaseException:
            with self._lock:
                self._arrived = None
            raise
        with self._lock:
            arrived, self._arrived = self._arrived, None
            if heartbeat in arrived:
                # The thread that listens notes it, after it has applied what came before.
                self._shown_early = moment
            else:
                # The same one may have been awaited already. It shows what was known before the later request, too.
                self._awaited[heartbeat] = moment
                self._awaited.move_to_end(heartbeat)
        if heartbeat in arrived:
            self._wakeup.set()
        return answer, moment

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
        with self._lock:
            # What it shows was applied by an earlier call.
            heard, self._shown_early = self._shown_early, None
        for payload in payloads:
            ids = payload.split(",")
            self._cache.counters.invalidations += len(ids)
            if all(map(_ID.fullmatch, ids)):
                for session_id in ids:
                    heard = max(self._apply_id(session_id) or NEVER, heard or NEVER) or None
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
            self.is_lost = True
            self._cache.probe_wanted.set()

    def _apply_id(self, session_id):
        with self._lock:
            moment = self._awaited.pop(session_id, None)
            if moment is None and (self._awaited or self._arrived is not None):
                digest = hashlib.sha256(session_id.encode()).hexdigest()
                moment = self._awaited.pop(digest, None)
                if self._arrived is not None:
                    self._arrived.add(digest)
            if moment is not None:
                # Earlier ones were never sent, or were part of "everything".
                while self._awaited and next(iter(self._awaited.values())) <= moment:
                    self._awaited.popitem(last=False)
        if moment is None:
            self._cache.entries.drop(session_id)
        return moment
