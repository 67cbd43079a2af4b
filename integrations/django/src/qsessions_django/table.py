"""What the first migration does: the extension, the session table, and the rights of the application's roles."""

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction

from qsessions_django.conf import config


class SetupError(ImproperlyConfigured):
    """The role of the migrations may not do what is needed. The text has the statements for a superuser."""


def set_up(apps, schema_editor):
    """Creates the extension and the session table where they are missing, links the table to the users, grants access.

    Raises SetupError with the statements for a superuser where the role of the migration may not do it.
    """
    connection = schema_editor.connection
    if connection.alias != config().database:
        return
    _create_extension(connection)
    _create_table(connection)
    for role in config().roles:
        _grant_access(connection, role)


def take_down(apps, schema_editor):
    """Drops the session table with all sessions. The extension stays: other tables may use it."""
    connection = schema_editor.connection
    if connection.alias == config().database:
        _run(connection, "DROP TABLE IF EXISTS qsessions.session")


def users_table():
    """Returns the table of AUTH_USER_MODEL as regclass reads it, and the column of its primary key."""
    meta = get_user_model()._meta
    return meta.db_table, meta.pk.column


def _create_extension(connection):
    if _value(connection, "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'qsessions')"):
        return
    try:
        with transaction.atomic(using=connection.alias):
            _run(connection, "CREATE EXTENSION qsessions")
    except DatabaseError as error:
        _raise_setup_error(connection, "The extension qsessions cannot be created", error)


def _create_table(connection):
    table, key = users_table()
    regclass = connection.ops.quote_name(table)
    exists = _value(connection, "SELECT to_regclass('qsessions.session') IS NOT NULL")
    if exists and _value(connection, _IS_LINKED, (regclass, key)):
        return
    function = "link_users" if exists else "create_session_table"
    try:
        with transaction.atomic(using=connection.alias):
            _run(connection, f"SELECT qsessions.{function}(%s::regclass, %s)", (regclass, key))
    except DatabaseError as error:
        what = "linked to the users" if exists else "created"
        _raise_setup_error(connection, f"The session table cannot be {what}", error)


_IS_LINKED = """
SELECT EXISTS (
    SELECT FROM pg_constraint AS c
    JOIN pg_attribute AS a ON a.attrelid = c.confrelid AND a.attnum = c.confkey[1]
    WHERE c.contype = 'f' AND c.conrelid = 'qsessions.session'::regclass
      AND c.confrelid = %s::regclass AND a.attname = %s)
"""


def _grant_access(connection, role):
    # Only the owner of the extension may grant access, and may have done so before.
    if _value(connection, _HAS_ACCESS, (role,)):
        return
    try:
        with transaction.atomic(using=connection.alias):
            _run(connection, "SELECT qsessions.grant_access(%s::regrole)", (connection.ops.quote_name(role),))
    except DatabaseError as error:
        _raise_setup_error(connection, f"Access cannot be granted to the role {role}", error)


_HAS_ACCESS = """
SELECT bool_and(has_table_privilege(r.oid, 'qsessions.session', p))
   AND bool_and(has_function_privilege(r.oid, 'qsessions.invalidate(uuid)', 'EXECUTE'))
FROM pg_roles AS r, unnest('{SELECT, INSERT, DELETE}'::text[]) AS p WHERE r.rolname = %s
"""


def _raise_setup_error(connection, what, error):
    user = _value(connection, "SELECT quote_ident(current_user)")
    raise SetupError(
        f"{what}: {str(error).strip()}\n\n"
        f"A superuser can prepare the database, and then the migration works for the role {user}:\n\n"
        "    CREATE EXTENSION IF NOT EXISTS qsessions;\n"
        "    SELECT qsessions.create_session_table();        -- unless it exists\n"
        f"    ALTER TABLE qsessions.session OWNER TO {user};\n"
        f"    SELECT qsessions.grant_access('{user}');\n\n"
        "Execute this in template1, or in the database that the setting TEST: TEMPLATE names, too, and "
        "'manage.py test' creates its databases from there."
    ) from error


def _value(connection, statement, parameters=()):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone()[0]


def _run(connection, statement, parameters=()):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
