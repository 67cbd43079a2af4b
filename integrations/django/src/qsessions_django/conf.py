"""The settings of this package: the dictionary QSESSIONS in Django's settings.

    QSESSIONS = {"IDLE_TIMEOUT": timedelta(minutes=30), "TRUSTED_PROXIES": ["10.0.0.0/8"]}

README.md describes each. Durations are timedelta objects or numbers of seconds.
"""

import functools
import ipaddress
from dataclasses import dataclass, fields
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver

PROXY_HEADERS = ("X-Forwarded-For", "Forwarded")
# Tables of other session engines, from which sessions can be imported.
OLD_TABLES = ("django_session", "qsessions_session", "user_sessions_session")


@dataclass(frozen=True)
class CacheConfig:
    """How much the engine cached_db keeps in a process, and how late it may be; see docs/cache.md.

    Durations are seconds. `listen` replaces parameters of the connection on which the process listens.
    """

    capacity: int = 10_000
    max_staleness: float = 2.0
    max_data_bytes: int = 64 * 1024
    negative_capacity: int = 10_000
    negative_ttl: float = 1.0
    listen: dict | None = None
    in_tests: bool = False


@dataclass(frozen=True)
class Config:
    """The settings with their defaults."""

    database: str = "default"
    idle_timeout: timedelta | None = None
    max_age: timedelta | None = None
    max_sessions: int | None = None
    trusted_proxies: tuple = ()
    proxy_header: str = "X-Forwarded-For"
    accept_client_hints: bool = True
    roles: tuple = ()
    import_from: tuple = ()
    import_serializer: str | None = None
    cache: CacheConfig = CacheConfig()


@functools.lru_cache(maxsize=1)
def config():
    """Returns the Config of this project.

    Raises ImproperlyConfigured, whose text begins with the name of the setting, for a value that cannot be used.
    """
    given = getattr(settings, "QSESSIONS", {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured("QSESSIONS must be a dictionary")
    return Config(**_read(given, Config, _READERS, "QSESSIONS"))


@receiver(setting_changed)
def _forget(*, setting, **_):
    if setting == "QSESSIONS":
        config.cache_clear()


def _read(given, kind, readers, path):
    names = {field.name.upper(): field.name for field in fields(kind)}
    values = {}
    for name, value in given.items():
        if name not in names:
            known = ", ".join(sorted(names))
            raise ImproperlyConfigured(f"{path}[{name!r}] is no setting; there are {known}")
        reader = readers.get(names[name], _as_it_is)
        try:
            values[names[name]] = reader(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ImproperlyConfigured(f"{path}[{name!r}]: {error}") from error
    return values


def _as_it_is(value):
    return value


def _duration(value):
    if value is None:
        return None
    duration = value if isinstance(value, timedelta) else timedelta(seconds=value)
    if duration <= timedelta():
        raise ValueError("must be longer than zero")
    return duration


def _seconds(value):
    return _duration(value).total_seconds()


def _count(value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("must be a number of at least 1")
    return value


def _optional_count(value):
    return None if value is None else _count(value)


def _staleness(value):
    seconds = _seconds(value)
    if not 0.02 <= seconds <= 3600:
        raise ValueError("must be between 20 ms and one hour")
    return seconds


def _networks(value):
    if isinstance(value, str):
        raise TypeError("must be a list of networks, such as ['10.0.0.0/8']")
    # "unix" stands for a proxy on this machine that connects through a Unix socket, and so has no address.
    return tuple("unix" if network == "unix" else ipaddress.ip_network(network) for network in value)


def _proxy_header(value):
    for header in PROXY_HEADERS:
        if str(value).lower() == header.lower():
            return header
    raise ValueError(f"must be one of {', '.join(PROXY_HEADERS)}")


def _names(value):
    if isinstance(value, str):
        raise TypeError("must be a list of names")
    return tuple(str(name) for name in value)


def _old_tables(value):
    tables = (value,) if isinstance(value, str) else tuple(value)
    for table in tables:
        if table not in OLD_TABLES:
            raise ValueError(f"must name tables of {', '.join(OLD_TABLES)}")
    return tables


def _cache(value):
    if not isinstance(value, dict):
        raise TypeError("must be a dictionary")
    return CacheConfig(**_read(value, CacheConfig, _CACHE_READERS, "QSESSIONS['CACHE']"))


_READERS = {
    "idle_timeout": _duration,
    "max_age": _duration,
    "max_sessions": _optional_count,
    "trusted_proxies": _networks,
    "proxy_header": _proxy_header,
    "accept_client_hints": bool,
    "roles": _names,
    "import_from": _old_tables,
    "cache": _cache,
}
_CACHE_READERS = {
    "capacity": _count,
    "max_staleness": _staleness,
    "max_data_bytes": _count,
    "negative_capacity": _count,
    "negative_ttl": _seconds,
    "in_tests": bool,
}
