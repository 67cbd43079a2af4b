"""Template tags: `{% load qsessions %}`.

    {% device_list %}                       the devices of the user of the request, with buttons to sign out
    {% devices as devices %}                the same as a list of sessions, for HTML of your own
    {{ session|device_name }}               iPhone
    {{ session|device_details }}            iOS 17.1, Safari 17.1
    {{ session.category|device_kind }}      Phone
"""

from datetime import timedelta

from django import template
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from qsessions_django.devices import CATEGORIES, devices_of

register = template.Library()
# The list shows no more than these. A program that signs in for each of its requests can have any number.
MOST_DEVICES = 100


@register.simple_tag(takes_context=True)
def devices(context, most=None):
    """Returns the live sessions of the user of the request, this one first; an empty list without a user.

    `most` is the largest number of them, or None.
    """
    request = context["request"]
    if not request.user.is_authenticated:
        return []
    return devices_of(request.user, request.session.session_key, most)


@register.inclusion_tag("qsessions_django/device_list.html", takes_context=True)
def device_list(context):
    """Shows the devices of the user of the request, with forms to sign out: at most MOST_DEVICES, the last used."""
    found = devices(context, MOST_DEVICES + 1)
    has_more, found = len(found) > MOST_DEVICES, found[:MOST_DEVICES]
    current = [session for session in found if session.is_current]
    others = [session for session in found if not session.is_current]
    return {
        "current": current, "others": others, "has_more": has_more, "csrf_token": context.get("csrf_token"),
        "request": context["request"]}


@register.filter
def device_name(session):
    """Returns what people call a device."""
    return session.device_name or _("Unknown device")


@register.filter
def device_details(session):
    """Returns system and browser of a device."""
    return session.device_details


@register.filter
def device_kind(category):
    """Returns a category in words."""
    return CATEGORIES.get(category, CATEGORIES["other"])


@register.filter
def ago(at):
    """Returns how long ago a time was, in words."""
    if timezone.now() - at < timedelta(minutes=1):
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(at, depth=1)}
