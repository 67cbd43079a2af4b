"""Columns of the session table that Django's own fields cannot read or search."""

import dataclasses
import ipaddress
import json

from django.db import models

from qsessions_django.codec import from_json
from qsessions_django.database import LATEST


class SessionDataField(models.JSONField):
    """The data of a session, with NUL and halves of surrogate pairs as the session engine stores them."""

    def from_db_value(self, value, expression, connection):
        """Returns what the application has stored; of a part such as `data__cart`, that part."""
        return from_json(value) if isinstance(value, str) else value


class FiniteDateTimeField(models.DateTimeField):
    """A time that can be `infinity` or later than any datetime of Python: it is read as None then."""

    def select_format(self, compiler, sql, params):
        """Has the server replace what Python cannot read by null."""
        return f"CASE WHEN {sql} < {LATEST} THEN {sql} END", [*params, *params]


class AddressField(models.GenericIPAddressField):
    """An address without a mask, with the lookup `network`: `ip__network="192.0.2.0/24"`."""


@AddressField.register_lookup
class InNetwork(models.Lookup):
    """Whether an address is in a network, or equal to an address.

    The value is an `ipaddress` network or address, or its text. A text that is none raises ValueError.
    """

    lookup_name = "network"
    prepare_rhs = False

    def get_prep_lookup(self):
        """Returns the text of the network. Raises ValueError when the filter is made."""
        value = super().get_prep_lookup()
        return value if hasattr(value, "resolve_expression") else str(ipaddress.ip_network(value, strict=False))

    def get_db_prep_lookup(self, value, connection):
        """Returns the placeholder, and the network as text."""
        return "%s::inet", [value]

    def as_sql(self, compiler, connection):
        """Returns the comparison with the operator of PostgreSQL."""
        column, column_params = self.process_lhs(compiler, connection)
        network, network_params = self.process_rhs(compiler, connection)
        return f"{column} <<= {network}", [*column_params, *network_params]


@dataclasses.dataclass(frozen=True)
class DeviceInfo:
    """What a User-Agent and client hints tell of a device. A part that they do not tell is None.

    `category` is `desktop`, `mobile`, `tablet`, `bot`, `tool`, `tv`, `console` or `other`.
    """

    browser: str | None = None
    browser_version: str | None = None
    os: str | None = None
    os_version: str | None = None
    device: str | None = None
    vendor: str | None = None
    category: str | None = None
    is_bot: bool | None = None

    @classmethod
    def of(cls, value):
        """Returns the info of a JSON object of `parse_user_agent`, or None if there was no User-Agent."""
        if isinstance(value, str):
            value = json.loads(value)
        if value is None or value["category"] is None:
            return None
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: part for name, part in value.items() if name in names})


class DeviceInfoField(models.JSONField):
    """The type of an expression that is a DeviceInfo."""

    def from_db_value(self, value, expression, connection):
        """Returns a DeviceInfo, or None."""
        return DeviceInfo.of(value)
