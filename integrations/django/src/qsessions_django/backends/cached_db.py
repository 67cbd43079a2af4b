"""The session engine with a cache in the process: SESSION_ENGINE = "qsessions_django.backends.cached_db"."""

from asgiref.sync import sync_to_async

from qsessions_django import cache
from qsessions_django.backends import db


class SessionStore(db.SessionStore):
    """A session of Django that qsessions keeps, and that this process may have in memory.

    A load never returns a state of a session that was replaced or ended by a commit that was confirmed more than
    max_staleness before.
    """

    def _resume(self, key):
        sessions = cache.session_cache()
        return super()._resume(key) if sessions is None else sessions.resume(key, self.visitor)

    async def aload(self):
        """As load. What is in memory needs no other thread."""
        sessions = cache.session_cache()
        if sessions is not None and self._session_key:
            row = sessions.peek(self._session_key, self.visitor)
            if row is not None:
                return self._take(self._session_key, row)
        return await sync_to_async(self.load)()
