"""What people see of their devices and sign-ins."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from qsessions_django import sql
from qsessions_django.conf import config
from qsessions_django.database import execute, one
from qsessions_django.functions import Category
from qsessions_django.moving import bring_user

CATEGORIES = {
    "desktop": _("Computer"),
    "mobile": _("Phone"),
    "tablet": _("Tablet"),
    "bot": _("Bot"),
    "tool": _("Program"),
    "tv": _("Television"),
    "console": _("Game console"),
    "other": _("Device"),
}


def describe(device):
    """Splits the line of a device into a name and details, without the parts that are unknown.

    `"iPhone / iOS 17.1 / Safari 17.1"` gives `("iPhone", "iOS 17.1, Safari 17.1")`. Nothing known
    gives two empty texts.
    """
    parts = [part for part in (device or "").split(" / ") if part not in ("", "Other")]
    return (parts[0] if parts else ""), ", ".join(parts[1:])


def devices_of(user, key=None, most=None):
    """Returns the live sessions of a user, that of `key` first, then last seen first, by one query.

    `most` is the largest number of them, or None. Each is a `Session` with `device`, `location`, `category` (a key of CATEGORIES) and `is_current`.
    """
    from qsessions_django.models import Session  # which needs this module

    bring_user(user)
    # A replica, to which a router may send what only reads, can still have a session that has just ended.
    live = Session.objects.using(config().database).live()
    sessions = live.filter(user=user).mark_current(key).annotate(category=Category())
    return list(sessions.order_by("-is_current", "-last_seen_at", "-id")[:most])


def sign_out_others(user, key):
    """Ends the sessions of a user but that of `key`, and returns their number."""
    bring_user(user)
    return sql.revoke_user_sessions(user.pk, key)


@dataclass(frozen=True)
class SignIn:
    """A sign-in of the past."""

    at: datetime
    device: str
    location: str | None
    ip: str | None
    is_new_device: bool
    is_new_place: bool

    @property
    def device_name(self):
        """What people call the device; empty if it is unknown."""
        return describe(self.device)[0]

    @property
    def device_details(self):
        """System and browser."""
        return describe(self.device)[1]


def sign_ins_of(user, number):
    """Returns the last sign-ins of a user, latest first; none if the database records no events."""
    if one("SELECT to_regclass('qsessions.session_event')")[0] is None:
        return []
    # Other events than logins are in between, so that more are read than are shown.
    rows = execute(
        """SELECT at, device, location, host(ip), coalesce(is_new_device, false), coalesce(is_new_place, false)
           FROM qsessions.user_events(%s, %s) WHERE event = 'login' ORDER BY at DESC LIMIT %s""",
        (str(user.pk), number * 10, number),
    )
    return [SignIn(*row) for row in rows]
