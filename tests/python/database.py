"""The database of the scripts here, and the loop that runs their checks.

Each script takes the arguments

    bigint|integer|uuid|text USER OTHER

PGHOST, PGDATABASE and PGUSER name a database with an empty session table. It is linked to a users table whose
keys have the given type and include the two given users.
"""

import sys
import uuid

import psycopg
from psycopg.rows import namedtuple_row

KEY_TYPES = {"bigint": int, "integer": int, "uuid": uuid.UUID, "text": str}
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def parse_arguments():
    """The type of the users' keys, and two users."""
    key_type, *users = sys.argv[1:]
    return key_type, *map(KEY_TYPES[key_type], users)


class Database:
    """Runs statements with or without preparing them."""

    def __init__(self, connection, prepare):
        self.connection = connection
        self.prepare = prepare

    def rows(self, statement, *arguments, **named):
        with self.connection.cursor() as cursor:
            options = {} if self.prepare is None else {"prepare": self.prepare}
            cursor.execute(statement, named or arguments, **options)
            return cursor.fetchall()

    def row(self, statement, *arguments, **named):
        (row,) = self.rows(statement, *arguments, **named)
        return row

    def value(self, statement, *arguments, **named):
        (value,) = self.row(statement, *arguments, **named)
        return value

    def error(self, statement, *arguments, **named):
        try:
            rows = self.rows(statement, *arguments, **named)
        except psycopg.Error as error:
            return error
        raise AssertionError(f"{statement} returned {rows} instead of an error")

    def load(self, key):
        return self.row("SELECT * FROM qsessions.load_session(%s)", key)


def run(checks):
    _, user, other = parse_arguments()
    # Cursor sends arguments separately. ClientCursor inserts them into the statement, as psycopg2
    # does.
    for cursor_type, prepare in (
        (psycopg.Cursor, False),
        (psycopg.Cursor, True),
        (psycopg.ClientCursor, None),
    ):
        with psycopg.connect(
            autocommit=True, row_factory=namedtuple_row, cursor_factory=cursor_type
        ) as connection:
            for check in checks:
                print(f"{cursor_type.__name__}, prepare={prepare}: {check.__name__}", flush=True)
                connection.execute("TRUNCATE qsessions.session")
                check(Database(connection, prepare), user, other)
    print("done")
