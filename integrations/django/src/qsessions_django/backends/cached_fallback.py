"""The engine for a change from another one: SESSION_ENGINE = "qsessions_django.backends.cached_fallback"."""

from qsessions_django.backends.bring_along import BringAlong
from qsessions_django.backends.cached_db import SessionStore as CachedStore


class SessionStore(BringAlong, CachedStore):
    """The engine `cached_db`, which brings sessions of the tables in the setting IMPORT_FROM along."""
