"""Why the cache does not hear of changes any more."""

# Classes of SQLSTATE with which the server will refuse the same statement again.
_PERMANENT = {"0A", "28", "3D", "3F", "42"}


class ListenError(Exception):
    """The listening ends; `is_permanent` if another attempt will fail in the same way."""

    def __init__(self, message, is_permanent=False):
        super().__init__(message)
        self.is_permanent = is_permanent


def other_origin(is_permanent):
    """The database of the application is not the one that the listener hears."""
    return ListenError(
        "the application's connections lead to another server or database than the listener: LISTEN needs a connection "
        "to the same server and database", is_permanent)


def several_servers():
    """This cache hears the changes of one server only."""
    return ListenError(
        "the session table is distributed over several servers, and this cache hears one of them: use the engine "
        "without a cache", is_permanent=True)


def of_psycopg(error, before=""):
    """Returns the ListenError for an error of psycopg; its text contains no password."""
    state = getattr(error, "sqlstate", None) or ""
    return ListenError(f"{before}{' '.join(str(error).split())}", state[:2] in _PERMANENT)
