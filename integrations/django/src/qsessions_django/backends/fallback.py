"""The engine for a change from another one: SESSION_ENGINE = "qsessions_django.backends.fallback"."""

from qsessions_django.backends.bring_along import BringAlong
from qsessions_django.backends.db import SessionStore as DatabaseStore


class SessionStore(BringAlong, DatabaseStore):
    """The engine `db`, which brings sessions of the tables in the setting IMPORT_FROM along."""
