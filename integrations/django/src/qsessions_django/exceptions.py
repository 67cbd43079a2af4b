"""What can go wrong with a session."""

from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.db import DatabaseError


class SessionEnded(UpdateError, SessionInterrupted):
    """The session has ended since it was loaded. Django answers 400, wherever this is raised."""

    def __init__(self, message="The session has ended since it was loaded."):
        super().__init__(message)


class VersionConflict(DatabaseError):
    """Another request has saved the session in the meantime (QS002)."""


class DataTooLarge(DatabaseError):
    """The data of the session is larger than qsessions.max_data_bytes (QS004)."""
