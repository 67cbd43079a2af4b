"""System checks of Django."""

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.utils.connection import ConnectionDoesNotExist
from django.utils.module_loading import import_string

from qsessions_django.conf import config

MIDDLEWARE = "qsessions_django.middleware.SessionMiddleware"
OLDEST_EXTENSION = (0, 2)


def check_settings(app_configs, **_):
    """Whether QSESSIONS can be read, and the middleware is ours where the engine is."""
    try:
        connections[config().database]
    except (ImproperlyConfigured, ConnectionDoesNotExist) as error:
        return [checks.Error(str(error), id="qsessions_django.E001")]
    if not _is_in_use():
        return []
    if not any(map(_is_ours, settings.MIDDLEWARE)):
        return [checks.Warning(
            "The session engine does not know the address and the browser of visitors.",
            hint=f"Replace Django's SessionMiddleware in MIDDLEWARE by {MIDDLEWARE}.",
            id="qsessions_django.W001")]
    if settings.SESSION_ENGINE.endswith("fallback") and not config().import_from:
        return [checks.Warning(
            "The session engine looks for sessions in the tables of another one, but none is named.",
            hint="Name it in QSESSIONS['IMPORT_FROM'], for example 'django_session', or use the engine db or cached_db.",
            id="qsessions_django.W006")]
    return []


def check_backend(app_configs, **_):
    """Whether the database is PostgreSQL, and its driver psycopg 3."""
    connection = _connection()
    if connection is None:
        return []
    if connection.vendor != "postgresql":
        return [checks.Error(
            "The sessions are in a database that is not PostgreSQL.",
            hint="Name another one of DATABASES in QSESSIONS['DATABASE'].", id="qsessions_django.E002")]
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    if not is_psycopg3:
        return [checks.Error("The session engine needs psycopg 3.", id="qsessions_django.E003")]
    return []


def check_binding(app_configs, **_):
    """Whether statements of the ORM and of the application contain keys.

    Those of the session engine never do.
    """
    connection = _connection()
    if connection is None or connection.vendor != "postgresql":
        return []
    if connection.settings_dict["OPTIONS"].get("server_side_binding") is True:
        return []
    return [checks.Warning(
        "Queries that compare sessions with a key write the key into the statement, which logs of the server and "
        "pg_stat_activity show.",
        hint=f"Set DATABASES[{connection.alias!r}]['OPTIONS'] = {{'server_side_binding': True}}.",
        id="qsessions_django.W002")]


def check_database(app_configs, databases=None, **_):
    """Whether the database has the extension, in a version that this package can use, and the table."""
    connection = _connection()
    if connection is None or connection.alias not in (databases or ()) or connection.vendor != "postgresql":
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                """SELECT (SELECT extversion FROM pg_extension WHERE extname = 'qsessions'),
                          to_regclass('qsessions.session') IS NOT NULL,
                          ARRAY(SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL)""",
                [list(config().import_from)])
            version, has_table, missing = cursor.fetchone()
    except DatabaseError as error:
        return [checks.Warning(f"The database of the sessions cannot be asked: {error}", id="qsessions_django.W003")]
    if version is None:
        return [checks.Warning(
            "The database has no extension qsessions.",
            hint="Run 'manage.py migrate', or execute CREATE EXTENSION qsessions as a superuser.",
            id="qsessions_django.W004")]
    if _numbers(version) < OLDEST_EXTENSION:
        oldest = ".".join(map(str, OLDEST_EXTENSION))
        return [checks.Error(
            f"The extension qsessions has version {version}, and {oldest} or later is needed.",
            hint="Execute ALTER EXTENSION qsessions UPDATE.", id="qsessions_django.E004")]
    if not has_table:
        return [checks.Warning(
            "The database has no session table.", hint="Run 'manage.py migrate'.", id="qsessions_django.W005")]
    return [_missing_old_table(name) for name in missing]


def _missing_old_table(name):
    return checks.Warning(
        f"Sessions are looked for in the table {name}, which does not exist, and requests fail for it.",
        hint="Remove it from QSESSIONS['IMPORT_FROM'].", id="qsessions_django.W007")


def _connection():
    try:
        return connections[config().database]
    except (ImproperlyConfigured, ConnectionDoesNotExist):
        return None  # another check says so


def _is_ours(middleware):
    try:
        found = import_string(middleware)
    except ImportError:
        return False  # the server says so when it starts
    return isinstance(found, type) and issubclass(found, import_string(MIDDLEWARE))


def _is_in_use():
    return settings.SESSION_ENGINE.startswith("qsessions_django.backends.")


def _numbers(version):
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
