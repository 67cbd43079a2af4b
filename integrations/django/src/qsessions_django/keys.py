"""Keys of sessions: secrets that must not be printed."""

import base64
import hashlib
import uuid

MIN_LENGTH = 8
MAX_LENGTH = 512
NATIVE_LENGTH = 48


class SessionKey(str):
    """The key of a session, as a str whose repr is that of no secret.

    The repr is what logs, error pages and debuggers show of local variables. Where the text itself is
    wanted, for example in a cookie, this is the same as any other str.
    """

    __slots__ = ()

    def __repr__(self):
        known = native_id(self)
        return f"<key of session {known}>" if known else "<key of a session>"


def is_valid(key):
    """Whether a text from a cookie can be a key. A NUL or half a surrogate pair would be an error in the driver."""
    return isinstance(key, str) and MIN_LENGTH <= len(key) <= MAX_LENGTH and key.isprintable()


def native_id(key):
    """Returns the id (uuid.UUID) in a key that qsessions has made; None for the key of another store."""
    if len(key) != NATIVE_LENGTH or not key.isascii():
        return None
    try:
        raw = base64.b64decode(key, b"-_", validate=True)
    except ValueError:
        return None
    found = uuid.UUID(bytes=raw[:16])
    # A session that began with the key of another store keeps its id, of version 8, under a native key.
    return found if found.version in (7, 8) and found.variant == uuid.RFC_4122 else None


def foreign_id(key):
    """Returns the id (uuid.UUID) that belongs to the key of another store: its SHA-256 as a UUID of version 8."""
    raw = bytearray(hashlib.sha256(key.encode()).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(raw))


def session_id(key):
    """Returns the id (uuid.UUID) of the session that a key belongs to, without asking the database."""
    return native_id(key) or foreign_id(key)
