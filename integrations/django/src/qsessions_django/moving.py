"""Sessions of other session engines for Django, which are moved from their tables into qsessions.

A session is imported under its key and deleted from the old table by the same transaction. So a session
that has ended in qsessions is never found in the old table again.
"""

from collections import Counter
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.utils.module_loading import import_string

from qsessions_django.codec import encode_data
from qsessions_django.conf import config
from qsessions_django.database import execute
from qsessions_django.exceptions import DataTooLarge

# Django derives the salt of the signature from the name of the engine's class. It is the same in all three.
SALT = "django.contrib.sessions.SessionStore"
# Members in which django-qsessions keeps what has columns here.
DROPPED = ("_qsessions_ip", "_qsessions_user_agent")
# The largest batch that one transaction moves. Larger ones are not faster, and keep more rows locked.
BATCH_SIZE = 500
# What may be wrong with a single session: too large, a value that jsonb refuses, a key or a user of no valid form.
REFUSALS = {"QS003", "22003", "22P02", "22P05", "23503"}


@dataclass(frozen=True)
class OldTable:
    """A table of another engine, and the SQL expressions of its columns, whose table has the alias `old`."""

    name: str
    ip: str = "NULL::inet"
    user_agent: str = "NULL::text"
    created_at: str = "NULL::timestamptz"
    last_seen_at: str = "NULL::timestamptz"
    has_user: bool = False


OLD_TABLES = {
    table.name: table
    for table in (
        OldTable("django_session"),
        OldTable("qsessions_session", "old.ip", "old.user_agent", "old.created_at", "old.updated_at", True),
        OldTable("user_sessions_session", "old.ip", "old.user_agent", last_seen_at="old.last_activity", has_user=True),
    )
}


class Undecodable(Exception):
    """The data of a session has no valid signature, or its serializer cannot read it."""


class Mover:
    """Moves sessions from one old table.

    `counts` says what has happened to the sessions, by these names:

    - moved: imported, and deleted from the old table
    - present: the key had a session already, and the old row was deleted
    - undecodable: left in the old table, because the data has no valid signature or cannot be read
    - unstorable: left, because the data is no JSON or larger than qsessions.max_data_bytes
    - without_user: left, because the user does not exist any more
    """

    def __init__(self, table, serializer=None):
        self.table = OLD_TABLES[table]
        self.serializer = import_string(serializer or config().import_serializer or settings.SESSION_SERIALIZER)
        self.using = config().database
        self.counts = Counter()

    def move(self, key):
        """Moves the session of a key, if the old table has it and it has not expired."""
        with transaction.atomic(self.using):
            self._move_rows(self._rows("old.session_key = %s", [key]))

    def move_user(self, user_id):
        """Moves the sessions of a user, if the old table says whose its sessions are."""
        if self.table.has_user:
            with transaction.atomic(self.using):
                self._move_rows(self._rows("old.user_id = %s ORDER BY old.session_key", [user_id]))

    def move_all(self, batch_size=BATCH_SIZE, change=True):
        """Moves all live sessions, and yields after each batch, which is a transaction of its own.

        Without `change`, it only counts what it would do.
        """
        position = ""
        while True:
            with transaction.atomic(self.using):
                rows = self._rows(
                    "old.session_key > %s ORDER BY old.session_key LIMIT %s", [position, batch_size], lock=change
                )
                self._move_rows(rows, change)
            if not rows:
                return
            position = rows[-1][0]
            yield

    def exists(self):
        """Returns whether the database has the old table."""
        return execute("SELECT to_regclass(%s) IS NOT NULL", (self.table.name,))[0][0]

    def numbers(self):
        """Returns the numbers of live and of expired sessions in the old table."""
        return execute(
            f"SELECT count(*) FILTER (WHERE expire_date > now()), count(*) FILTER (WHERE expire_date <= now())"
            f" FROM {self.table.name}"
        )[0]

    def delete_expired(self):
        """Deletes the expired sessions of the old table."""
        execute(f"DELETE FROM {self.table.name} WHERE expire_date <= now()")

    def delete(self, key):
        """Deletes the session of a key from the old table."""
        execute(f"DELETE FROM {self.table.name} WHERE session_key = %s", (key,))

    def _rows(self, condition, arguments, lock=True):
        return execute(
            f"SELECT old.session_key, old.session_data FROM {self.table.name} AS old"
            f" WHERE old.expire_date > now() AND {condition} {'FOR UPDATE' if lock else ''}",
            arguments,
        )

    def _move_rows(self, rows, change=True):
        sessions = self._with_users([session for row in rows if (session := self._read(*row))])
        if not change:
            self.counts["moved"] += len(sessions)
            return
        try:
            self._import(sessions)
        except Refused:
            for session in sessions:
                try:
                    self._import([session])
                except Refused:
                    self.counts["unstorable"] += 1

    def _read(self, key, encoded):
        """Returns key, user and JSON of a session, or None if that cannot be read or stored."""
        try:
            data = self.decode(encoded)
        except Undecodable:
            self.counts["undecodable"] += 1
            return None
        user = data.get(SESSION_KEY)
        try:
            text = encode_data({name: value for name, value in data.items() if name not in DROPPED})
        except (TypeError, ValueError, OverflowError):
            self.counts["unstorable"] += 1
            return None
        return key, (None if user is None else str(user)), text

    def decode(self, encoded):
        """Returns the data of a session. Raises Undecodable."""
        try:
            data = signing.loads(encoded, salt=SALT, serializer=self.serializer)
        except Exception as error:  # as in Django: a serializer may raise anything
            # The cause is not passed on, because its text may contain data.
            raise Undecodable(type(error).__name__) from None
        if not isinstance(data, dict):
            raise Undecodable("no dictionary")
        return data

    def _with_users(self, sessions):
        """Returns the sessions whose users exist, and those without a user."""
        key = get_user_model()._meta.pk
        found = {}
        for _, user, _ in sessions:
            if user is not None:
                try:
                    found[user] = key.to_python(user)
                except ValidationError:
                    found[user] = None
        wanted = {pk for pk in found.values() if pk is not None}
        users = get_user_model()._base_manager.using(self.using).filter(pk__in=wanted)
        present = set(users.values_list("pk", flat=True)) if wanted else set()
        kept = [session for session in sessions if session[1] is None or found[session[1]] in present]
        self.counts["without_user"] += len(sessions) - len(kept)
        return kept

    def _import(self, sessions):
        """Imports sessions and deletes the old rows. Raises Refused, having changed nothing, if one cannot be stored."""
        if not sessions:
            return
        table = self.table
        try:
            with transaction.atomic(self.using):
                imported = execute(
                    f"""SELECT qsessions.import_session(
                            new.key, new.user_id, new.data::jsonb, {table.ip}, {table.user_agent},
                            created_at => {table.created_at}, last_seen_at => {table.last_seen_at},
                            expires_at => old.expire_date)
                        FROM unnest(%s::text[], %s::text[], %s::text[]) AS new (key, user_id, data)
                        JOIN {table.name} AS old ON old.session_key = new.key""",
                    [list(column) for column in zip(*sessions, strict=True)],
                )
                execute(
                    f"DELETE FROM {table.name} WHERE session_key = ANY (%s::text[])", ([key for key, _, _ in sessions],)
                )
        except DatabaseError as error:
            if isinstance(error, DataTooLarge) or getattr(error.__cause__, "sqlstate", None) in REFUSALS:
                raise Refused from None
            raise
        moved = sum(row[0] for row in imported)
        self.counts["moved"] += moved
        self.counts["present"] += len(sessions) - moved


class Refused(Exception):
    """The database has refused a session."""


def movers():
    """Returns a mover for each table of the setting IMPORT_FROM."""
    return [Mover(table) for table in config().import_from]


def bring_user(user):
    """Brings all sessions of a user along, from the tables of IMPORT_FROM that say whose their sessions are."""
    for mover in movers():
        mover.move_user(user.pk)
