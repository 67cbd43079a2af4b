"""manage.py flush, and with it TransactionTestCase, for databases with a session table.

PostgreSQL refuses to truncate a table of users to which a table of sessions refers, unless both are truncated at once.
"""

import contextlib

from django.core.management.commands import flush
from django.db import connections

from qsessions_django.conf import config
from qsessions_django.models import Session


class Command(flush.Command):
    """Django's command, which also ends all sessions."""

    def handle(self, **options):
        """Empties all tables."""
        connection = connections[options["database"]]
        with _listed(connection):
            return super().handle(**options)


@contextlib.contextmanager
def _listed(connection):
    """Counts the session table among those that Django manages."""
    introspection = connection.introspection
    original = introspection.django_table_names

    def django_table_names(*args, **kwargs):
        names = original(*args, **kwargs)
        return [*names, Session._meta.db_table] if _has_table(connection) else names

    introspection.django_table_names = django_table_names
    try:
        yield
    finally:
        del introspection.django_table_names


def _has_table(connection):
    if connection.alias != config().database or connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('qsessions.session') IS NOT NULL")
        return cursor.fetchone()[0]
