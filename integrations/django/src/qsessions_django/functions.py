"""Functions of qsessions as expressions for querysets."""

from django.db.models import CharField, Func, JSONField, TextField, Value
from django.db.models.functions import Coalesce

from qsessions_django.fields import DeviceInfoField


class Device(Func):
    """The device, system and browser of a session in one line; empty if the session has no User-Agent."""

    function = "qsessions.device"
    output_field = TextField()

    def __init__(self, user_agent="user_agent", client_hints="client_hints", **extra):
        super().__init__(user_agent, client_hints, **extra)

    @classmethod
    def line(cls):
        """Returns the expression, with an empty text for null."""
        return Coalesce(cls(), Value(""), output_field=TextField())


class ParsedUserAgent(Device):
    """The device of a session as a DeviceInfo."""

    function = "qsessions.parse_user_agent"
    template = "to_jsonb(%(function)s(%(expressions)s))"
    output_field = DeviceInfoField()


class Category(Device):
    """The kind of device, such as `mobile`; see DeviceInfo."""

    function = "qsessions.parse_user_agent"
    template = "(%(function)s(%(expressions)s)).category"
    output_field = CharField()


class Location(Func):
    """City and country of an address, or null."""

    function = "qsessions.location"
    output_field = TextField(null=True)


class LocationInfo(Func):
    """Everything that the GeoIP database has about an address, with the keys of Django's GeoIP2, or null."""

    function = "qsessions.location_info"
    output_field = JSONField(null=True)
