"""Data of sessions as jsonb, and back.

jsonb cannot hold NUL or half of a surrogate pair, and any visitor can send them. Each is stored as U+FFFE and its
code in four hexadecimal digits, and so is U+FFFE itself. Everything else is stored as it is.
"""

import json
import re

from django.conf import settings
from django.contrib.sessions.serializers import JSONSerializer
from django.utils.module_loading import import_string

_TO_MARK = re.compile("\\\\u0000|\\\\.|[\ud800-\udfff\ufffe]")
_MARKED = re.compile("\ufffe([0-9a-f]{4})")


def to_json(value):
    """Returns the JSON (str) of a value for a column of type jsonb.

    Raises ValueError for NaN and infinite numbers, which JSON does not have, and TypeError for what is no JSON.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # In ASCII only an escaped NUL has to be marked, which spares most data the search.
    if text.isascii() and "\\u0000" not in text:
        return text
    return _TO_MARK.sub(_mark, text)


def from_json(text):
    """Returns the value of what to_json has made, as jsonb shows it."""
    if "\ufffe" in text:
        text = _MARKED.sub(r"\\u\1", text)
    return json.loads(text)


def encode_data(data):
    """Returns the JSON of a session's data, through the SESSION_SERIALIZER of the project if that is another JSON."""
    serializer = _serializer()
    if serializer is JSONSerializer:
        return to_json(data)
    return to_json(json.loads(serializer().dumps(data)))


def decode_data(text):
    """Returns a session's data as a new dict; an empty one if another program has stored something else."""
    serializer = _serializer()
    data = from_json(text)
    if serializer is not JSONSerializer:
        data = serializer().loads(json.dumps(data, separators=(",", ":")).encode("latin-1"))
    return data if isinstance(data, dict) else {}


def decode_members(text):
    """Returns the members of a session's data as plain JSON values, to compare with; None without an object."""
    data = from_json(text)
    return data if isinstance(data, dict) else None


def encode_members(data):
    """Returns the members of a session's data as plain JSON values, by their names in JSON."""
    serializer = _serializer()
    if serializer is not JSONSerializer:
        return json.loads(serializer().dumps(data))
    if all(type(name) is str for name in data):
        return data
    # JSON has no other names: a session's 1 is "1" once it is stored.
    return json.loads(json.dumps(data, allow_nan=False))


def encode_name(name):
    """Returns the name (str) of a member as jsonb has it."""
    return json.loads(to_json(name))


def _mark(found):
    text = "\0" if found[0] == r"\u0000" else found[0]
    return text if text[0] == "\\" else f"\ufffe{ord(text):04x}"


def _serializer():
    name = settings.SESSION_SERIALIZER
    return JSONSerializer if name == _DEFAULT_SERIALIZER else import_string(name)


_DEFAULT_SERIALIZER = "django.contrib.sessions.serializers.JSONSerializer"
