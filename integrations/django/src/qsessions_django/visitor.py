"""Who sends a request: the address, the browser, and its client hints."""

import ipaddress
import json
import re
from typing import NamedTuple

from qsessions_django.conf import config

# What sessions keep, with the names in request.META.
HINTS = {
    "HTTP_" + name.upper().replace("-", "_"): name
    for name in (
        "sec-ch-ua", "sec-ch-ua-arch", "sec-ch-ua-bitness", "sec-ch-ua-form-factors", "sec-ch-ua-full-version",
        "sec-ch-ua-full-version-list", "sec-ch-ua-mobile", "sec-ch-ua-model", "sec-ch-ua-platform",
        "sec-ch-ua-platform-version", "sec-ch-ua-wow64")
}
MAX_HINT_LENGTH = 512
# The value of Accept-CH: what browsers do not send unasked, and what tells devices apart.
WANTED_HINTS = "Sec-CH-UA-Full-Version-List, Sec-CH-UA-Model, Sec-CH-UA-Platform-Version"
_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)', re.IGNORECASE)


class Visitor(NamedTuple):
    """What a request says about its sender; None where it says nothing.

    `ip` is the text of an address, `client_hints` a dict of header values by header names in lower case.
    """

    ip: str | None = None
    user_agent: str | None = None
    client_hints: dict | None = None

    @property
    def hints_json(self):
        """The client hints as JSON; None without any."""
        return json.dumps(self.client_hints) if self.client_hints else None


NOBODY = Visitor()


def visitor_of(request):
    """Returns the Visitor that has sent a request."""
    address = client_address(request)
    hints = {
        name: value for variable, name in HINTS.items()
        if (value := storable(request.META.get(variable))) and len(value) <= MAX_HINT_LENGTH
    }
    return Visitor(
        ip=None if address is None else str(address),
        user_agent=storable(request.META.get("HTTP_USER_AGENT")),
        client_hints=hints or None)


def client_address(request):
    """Returns the address of the client, without a zone: that of the peer, unless a trusted proxy tells another.

    The last address in the header that is not that of a trusted proxy counts. Addresses before it can be forged.
    Returns None if the server does not know the peer, as with a Unix socket, unless the setting trusts such peers.
    """
    settings = config()
    peer = parse_address(request.META.get("REMOTE_ADDR"))
    if not settings.trusted_proxies or not _is_trusted(peer, settings.trusted_proxies):
        return peer
    header = request.META.get("HTTP_" + settings.proxy_header.upper().replace("-", "_"), "")
    client = peer
    for hop in reversed(_hops(header, settings.proxy_header)):
        address = parse_address(hop)
        if address is None:
            break
        client = address
        if not _is_trusted(address, settings.trusted_proxies):
            break
    return client


def parse_address(written):
    """Returns the ipaddress object in what a server or proxy writes, without port, brackets and zone; or None."""
    text = (written or "").replace("\0", "").strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A server that listens on IPv6 sees IPv4 peers as mapped addresses.
    return getattr(address, "ipv4_mapped", None) or address


def storable(text):
    """Returns a text without what PostgreSQL cannot store; None for None."""
    return text and text.encode(errors="ignore").decode().replace("\0", "")


def _is_trusted(address, networks):
    if address is None:
        return "unix" in networks
    return any(address in network for network in networks if network != "unix")


def _hops(header, name):
    hops = header.split(",")
    if name == "Forwarded":
        found = [_FORWARDED_FOR.search(hop) for hop in hops]
        return [match[1].strip().strip('"') if match else "" for match in found]
    return hops
