"""The session engine: SESSION_ENGINE = "qsessions_django.backends.db"."""

from datetime import timedelta

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import SessionBase

from qsessions_django import codec, keys, sql
from qsessions_django.backends.sign_in import announce
from qsessions_django.conf import config
from qsessions_django.exceptions import SessionEnded
from qsessions_django.snapshot import EXPIRY_KEY, Loaded, user_of
from qsessions_django.visitor import NOBODY


class SessionStore(SessionBase):
    """A session of Django that qsessions keeps.

    The middleware sets `visitor`. Without one, as outside of requests, no visit is recorded.
    """

    visitor = NOBODY
    _loaded_key = None
    _loaded = Loaded()
    _is_cycling = False

    @classmethod
    def get_model_class(cls):
        """Returns the model of the session table, as Django's own engine does."""
        from qsessions_django.models import Session

        return Session

    @property
    def model(self):
        """The model of the session table."""
        return self.get_model_class()

    @property
    def _session_key(self):
        return self._key

    @_session_key.setter
    def _session_key(self, value):
        self._key = keys.SessionKey(value) if keys.is_valid(value) else None

    @property
    def session_key(self):
        """The key. Reading it completes a login or a change of the key, which otherwise waits for the save."""
        if self._is_cycling:
            self.save()
        return self._key

    def load(self):
        """Returns the data of the session, and records the visit; without a live session it becomes a new one."""
        key = self._session_key
        return self._take(key, self._resume(key) if key else None)

    def _take(self, key, row):
        if row is None or not row.is_usable():
            self._session_key = None
            return {}
        self._loaded_key, self._loaded = key, row.loaded
        return row.read()

    def _resume(self, key):
        return sql.resume(key, self.visitor)

    def exists(self, session_key):
        """Whether a key has a live session."""
        if self._is_cycling:
            self.save()
        return keys.is_valid(session_key) and sql.exists(session_key)

    def create(self):
        """Begins a session, whose key the database generates."""
        self.save(must_create=True)
        self.modified = True

    def save(self, must_create=False):
        """Saves the data, and completes a login.

        Raises SessionEnded, an UpdateError, if the session has ended since it was loaded: nothing brings it back.
        """
        data = self._get_session(no_load=must_create)
        if must_create:
            self._abandon(data)
        elif self._session_key != self._loaded_key:
            self.load()  # the data was set before the session was loaded; find out its user
        expiry = self._expiry()
        if expiry.ttl is not None and expiry.ttl <= timedelta():
            self.delete()
            return
        # After a failure, a transaction of the caller must remain usable.
        with sql.savepoint():
            self._write(data, expiry)
        self._is_cycling = False

    def _abandon(self, data):
        """A new session never gets a key that a browser sent, nor the login of a session that has ended."""
        if user_of(data) and self._session_key and not sql.exists(self._session_key):
            raise SessionEnded()
        self._session_key = None

    def _write(self, data, expiry):
        key, user = self._session_key, user_of(data)
        before = self._loaded.user if key else None
        if user and user != before:
            # A session of another user must be live, so that its data does not reach this one otherwise.
            text = codec.encode_data(data)
            login = sql.login(
                key, user, text, self.visitor, expiry, config().max_sessions, must_be_live=before is not None)
            self._written(login.key, data, text)
            announce(self, user, login)
        elif key is None:
            text = codec.encode_data(data)
            self._written(sql.create(text, self.visitor, expiry), data, text)
        elif user != before:
            # The data no longer names the user, whose session must be live and ends here.
            text = codec.encode_data(data)
            self._written(sql.replace(key, text, self.visitor, expiry), data, text)
        else:
            self._update(key, data, self._changed_expiry(data, expiry))

    def _update(self, key, data, expiry):
        text = codec.encode_data(data)
        difference = None if self._is_cycling else _difference(self._loaded.data, data)
        if difference is None:
            key = sql.save(key, text, expiry, rotate=self._is_cycling)
        else:
            changes, remove = difference
            sql.patch(key, codec.to_json(changes), remove, expiry)
        self._written(key, data, text)

    def _written(self, key, data, text):
        if key != self._session_key:
            self.modified = True  # so that the middleware sets the cookie
            self._session_key = key
        self._loaded_key, self._loaded = self._session_key, Loaded.of(data, text)

    def _expiry(self):
        """When a session expires that begins now."""
        settings = config()
        if settings.idle_timeout is not None and not self._get_session().get(EXPIRY_KEY):
            return sql.Expiry(idle_timeout=settings.idle_timeout, max_age=settings.max_age)
        return sql.Expiry(ttl=timedelta(seconds=self.get_expiry_age()), max_age=settings.max_age)

    def _changed_expiry(self, data, expiry):
        """What a save does to the expiry: a sliding one continues by itself."""
        if expiry.idle_timeout is not None and not self._loaded.has_own_expiry:
            return sql.Expiry()
        return expiry

    def get_session_cookie_age(self):
        """The seconds after which a session expires that set_expiry was not called for."""
        idle_timeout = config().idle_timeout
        return super().get_session_cookie_age() if idle_timeout is None else int(idle_timeout.total_seconds())

    def cookie_lifetime(self):
        """How long a cookie is kept that must not end before its sliding session; None for the rule of Django."""
        settings = config()
        if settings.idle_timeout is None or self.get(EXPIRY_KEY):
            return None
        return settings.max_age or timedelta.max

    def delete(self, session_key=None):
        """Ends a session: this one, or that of a key."""
        if session_key is None:
            session_key, self._is_cycling = self._session_key, False
        if keys.is_valid(session_key):
            sql.logout(session_key)

    def cycle_key(self):
        """Has the next save change the key, in one statement with the login that usually follows."""
        self._get_session()
        self._is_cycling = self.modified = True

    async def acycle_key(self):
        """As cycle_key. In an async context, save before you read session_key."""
        if hasattr(self, "_aget_session"):
            await self._aget_session()
        else:
            await sync_to_async(self._get_session)()
        self._is_cycling = self.modified = True

    @classmethod
    def clear_expired(cls):
        """Deletes the sessions that have expired, in batches."""
        while sql.purge_expired():
            pass


def _difference(loaded, data):
    """Returns the members that were set (dict) and removed since a load, or None if it was no object.

    The removed ones are a list of names as jsonb has them.
    """
    before = codec.decode_members(loaded)
    if before is None:
        return None
    now = codec.encode_members(data)
    changes = {name: value for name, value in now.items() if not _is_same(before, name, value)}
    return changes, [codec.encode_name(name) for name in before if name not in now]


def _is_same(before, name, value):
    return name in before and codec.to_json(before[name]) == codec.to_json(value)
