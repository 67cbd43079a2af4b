"""Brings sessions of another engine along when their cookies arrive."""

from qsessions_django import keys, sql
from qsessions_django.moving import movers


class BringAlong:
    """What the engines `fallback` and `cached_fallback` add to `db` and `cached_db`.

    A session that qsessions does not have is looked for in the tables of the setting IMPORT_FROM, and moved from there.
    """

    def _resume(self, key):
        row = super()._resume(key)
        if row is None and could_be_old(key):
            for mover in movers():
                mover.move(key)
            # Another process may have moved it in the meantime, so look again in any case, and not in a cache,
            # which may have remembered that there was no session.
            row = sql.resume(key, self.visitor)
        return row

    def delete(self, session_key=None):
        """Ends the session also if it has not come along yet."""
        key = session_key or self._session_key
        if keys.is_valid(key) and could_be_old(key):
            # The old row goes first: a request that is moving it holds a lock on it, so that the session is in
            # qsessions when this returns.
            for mover in movers():
                mover.delete(key)
        super().delete(session_key)

    @classmethod
    def clear_expired(cls):
        """Deletes the sessions that have expired, also those of the old tables."""
        super().clear_expired()
        for mover in movers():
            mover.delete_expired()


def could_be_old(key):
    """Returns whether another engine can have made a key."""
    return keys.native_id(key) is None
