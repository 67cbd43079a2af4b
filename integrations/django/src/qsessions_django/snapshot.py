"""A session as it was read, and what a save compares with."""

import pickle
from typing import NamedTuple

from django.contrib.auth import SESSION_KEY

from qsessions_django import codec

EXPIRY_KEY = "_session_expiry"


class Loaded(NamedTuple):
    """What the database had when a session was loaded or last saved.

    `user` is the user that Django has logged in, as text; `data` the text of the jsonb.
    """

    user: str | None = None
    data: str = "{}"
    has_own_expiry: bool = False

    @classmethod
    def of(cls, data, text):
        """Returns what is loaded with this data (dict), whose JSON is the text."""
        return cls(user_of(data), text, bool(data.get(EXPIRY_KEY)))


def user_of(data):
    """Returns the user that Django has logged in, as text, or None."""
    user = data.get(SESSION_KEY)
    return None if user is None else str(user)


class Snapshot:
    """A live session: the text of its jsonb data, its user's id as text or None, and its version."""

    __slots__ = ("_data", "loaded", "user_id", "version")

    def __init__(self, text, user_id, version):
        self._data = codec.decode_data(text)
        self.loaded = Loaded.of(self._data, text)
        self.user_id = user_id
        self.version = version

    def is_usable(self):
        """Whether Django may use it.

        If only the data names the user, revoke_user_sessions does not find the session.
        """
        return self.loaded.user is None or self.loaded.user == self.user_id

    def read(self):
        """Returns the data as a dict that the caller may change. This can be called once."""
        return self._data


class SharedSnapshot(Snapshot):
    """A Snapshot whose data can be read any number of times, by any thread."""

    __slots__ = ("_is_usable", "_pickled")

    def __init__(self, text, user_id, version):
        super().__init__(text, user_id, version)
        self._is_usable = super().is_usable()
        # The quickest copy. These bytes never leave the process.
        try:
            self._pickled = pickle.dumps(self._data, pickle.HIGHEST_PROTOCOL)
        except Exception:  # The serializer of the project may return any objects.
            self._pickled = None
        self._data = None

    def is_usable(self):
        """As that of Snapshot."""
        return self._is_usable

    def read(self):
        """Returns the data as a new dict."""
        return codec.decode_data(self.loaded.data) if self._pickled is None else pickle.loads(self._pickled)
