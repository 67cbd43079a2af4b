"""Up to when all changes of sessions are known.

A moment is a number of seconds of the monotonic clock of the process, and never 0. Moments of the server are seconds
since 1970.
"""

import time

NEVER = 0.0
now = time.monotonic


class Freshness:
    """Two numbers that every load reads without a lock; only the threads of the cache write them."""

    def __init__(self, max_staleness):
        self.max_staleness = max_staleness
        self._known_until = NEVER
        self._clock_lead = 0.0

    def suffices(self, moment):
        """Whether a load that was called at a moment may be answered from memory.

        The caller looks into the entries after this: they then include all that is known.
        """
        known = self._known_until
        return known != NEVER and moment - known <= self.max_staleness

    def staleness(self, moment):
        """Returns how late the cache is, in seconds; None if it knows of no changes."""
        known = self._known_until
        return None if known == NEVER else max(moment - known, 0.0)

    def reaches(self, moment):
        """Whether all changes are known that were committed before a moment."""
        return self._known_until >= moment

    def advance_to(self, moment):
        """All changes are known that were committed before a moment. The caller has applied them."""
        self._known_until = max(self._known_until, moment)

    def reset(self):
        """From now on changes can be missed."""
        self._known_until = NEVER

    def begin_server_clock(self, asked, read):
        """The server has read its clock after the moment at which it was asked. No entry of the time before is left."""
        self._clock_lead = read - asked

    def set_server_clock(self, asked, read):
        """The same, while entries are kept.

        The lead never decreases then. A purge may have deleted what had expired before the clock of the server was
        set back, and such a deletion is not announced.
        """
        self._clock_lead = max(self._clock_lead, read - asked)

    def server_time(self, moment):
        """Returns what the clock of the server shows at a moment, or a little more."""
        return moment + self._clock_lead
