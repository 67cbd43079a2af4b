"""Sessions in Django's admin: to be seen and ended."""

import ipaddress
import re
import uuid
from pprint import pformat

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldDoesNotExist
from django.db import router, transaction
from django.db.models.constants import LOOKUP_SEP
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from qsessions_django import sql
from qsessions_django.models import Session, has_id, place

# Names in the data that tell of a secret: `_auth_user_hash`, `_csrftoken`, `_password_reset_token` and those of packages.
SECRET = re.compile("hash|token|secret|passw|passphrase|signature|verifier|key", re.IGNORECASE)
# Entries in a statement, each with a parameter for each column: there can be 65,535.
LOGGED_AT_ONCE = 5000


class ActiveFilter(admin.SimpleListFilter):
    """Live or expired sessions."""

    title = _("state")
    parameter_name = "active"

    def lookups(self, request, model_admin):
        """Returns the choices."""
        return [("1", _("Active")), ("0", _("Expired"))]

    def queryset(self, request, queryset):
        """Applies the choice."""
        choices = {"1": queryset.live, "0": queryset.expired}
        return choices.get(self.value(), queryset.all)()


class OwnerFilter(admin.SimpleListFilter):
    """The sessions of the administrator."""

    title = _("owner")
    parameter_name = "owner"

    def lookups(self, request, model_admin):
        """Returns the choices."""
        return [("my", _("My own")), ("none", _("Not signed in"))]

    def queryset(self, request, queryset):
        """Applies the choice."""
        if self.value() == "my":
            return queryset.filter(user=request.user)
        if self.value() == "none":
            return queryset.filter(user=None)
        return queryset


@admin.register(Session)
class SessionAdmin(admin.ModelAdmin):
    """A list takes the same number of queries whatever its length, with devices and locations."""

    list_display = (
        "device_line", "user_link", "ip", "location_line", "active", "last_seen_at", "created_at", "expires_at")
    list_filter = (ActiveFilter, OwnerFilter)
    list_select_related = ("user",)
    ordering = ("-created_at", "-id")
    # Counting all rows of a large table takes seconds.
    show_full_result_count = False
    search_help_text = _("User, address or network such as 192.0.2.0/24, or id of a session")
    actions = ("delete_selected",)
    fieldsets = (
        (None, {"fields": ("id", "user_link", "active", "data_lines")}),
        (_("Device"), {"fields": ("device_line", "device_info_lines", "user_agent", "hint_lines")}),
        (_("Location"), {"fields": ("ip", "location_line", "location_info_lines")}),
        (
            _("Times"),
            {"fields": ("created_at", "authenticated_at", "updated_at", "last_seen_at", "expiry", "idle_timeout")},
        ),
    )

    class Media:
        """Keeps long values within the page, without inline styles."""

        css = {"all": ("qsessions_django/admin.css",)}

    def has_add_permission(self, request):
        """Returns False: sessions begin with a visitor."""
        return False

    def has_change_permission(self, request, obj=None):
        """Returns False: sessions are changed by their session store."""
        return False

    def get_search_fields(self, request):
        """Returns the address, and the name and e-mail address of the user, if the users have them."""
        user = get_user_model()
        names = (user.USERNAME_FIELD, getattr(user, "EMAIL_FIELD", None))
        return ("ip", *(f"user__{name}" for name in dict.fromkeys(names) if has_field(user, name)))

    def get_search_results(self, request, queryset, search_term):
        """Takes a network or an id for what it is, and anything else as Django does."""
        term = search_term.strip()
        for parse, lookup in ((uuid.UUID, "id"), (network, "ip__network")):
            try:
                return queryset.filter(**{lookup: parse(term)}), False
            except ValueError:
                continue
        return super().get_search_results(request, queryset, search_term)

    def lookup_allowed(self, lookup, value, request=None):
        """Refuses the address of a list that filters by the data: it would tell the secrets letter by letter."""
        if lookup.partition(LOOKUP_SEP)[0] == "data":
            return False
        # Django 4.2 has no third argument.
        return super().lookup_allowed(lookup, value, *([] if request is None else [request]))

    def get_object(self, request, object_id, from_field=None):
        """Returns the session with its details, by one query."""
        try:
            pk = uuid.UUID(object_id)
        except ValueError:
            return None
        return self.get_queryset(request).select_related("user").with_details().filter(pk=pk).first()

    def delete_model(self, request, obj):
        """Ends a session."""
        obj.delete()

    def has_delete_permission(self, request, obj=None):
        """Refuses the session with which the administrator is signed in: there is "Log out" for it."""
        allowed = super().has_delete_permission(request, obj)
        return allowed and (obj is None or not is_own(request, obj.pk))

    @admin.action(description=_("End the selected sessions"), permissions=["delete"])
    def delete_selected(self, request, queryset):
        """Ends sessions, except the one with which the administrator is signed in, and logs each.

        It has the name of Django's own action, and so replaces it.
        """
        using = queryset._db or router.db_for_write(Session)
        sessions = Session.objects.using(using)
        own = current_id(request)
        with transaction.atomic(using):
            ids = list(queryset.using(using).order_by().values_list("pk", flat=True))
            chosen = sessions.filter(has_id(ids)).exclude(pk=own).order_by(place())
            ended = list(chosen.defer("data").select_for_update())
            log_ends(request, ended)
            sessions.filter(has_id([session.pk for session in ended])).delete()
        text = ngettext("%d session was ended.", "%d sessions were ended.", len(ended)) % len(ended)
        self.message_user(request, text, messages.SUCCESS)
        if own and queryset.filter(pk=own).exists():
            self.message_user(request, _("Your own session was kept."), messages.WARNING)

    @admin.display(description=_("device"))
    def device_line(self, obj):
        """The device in one line."""
        return obj.device or _("Unknown")

    @admin.display(description=_("user"), ordering="user", empty_value=_("Not signed in"))
    def user_link(self, obj):
        """The user, with a link to the user's page if the admin has one."""
        if obj.user is None:
            return None
        options = obj.user._meta
        page = f"{self.admin_site.name}:{options.app_label}_{options.model_name}_change"
        try:
            link = reverse(page, args=[obj.user.pk])
        except NoReverseMatch:
            return str(obj.user)
        return format_html('<a href="{}">{}</a>', link, obj.user)

    @admin.display(description=_("location"))
    def location_line(self, obj):
        """City and country."""
        return obj.location

    @admin.display(description=_("active"), boolean=True)
    def active(self, obj):
        """Whether the session is live."""
        return obj.is_active

    @admin.display(description=_("expires"), empty_value=_("Never"))
    def expiry(self, obj):
        """When the session expires."""
        return obj.expires_at

    @admin.display(description=_("data"))
    def data_lines(self, obj):
        """The data of the application, without secrets."""
        return lines(without_secrets(obj.data))

    @admin.display(description=_("recognized"))
    def device_info_lines(self, obj):
        """What the User-Agent and the client hints tell."""
        return lines(vars(obj.device_info)) if obj.device_info else None

    @admin.display(description=_("client hints"))
    def hint_lines(self, obj):
        """The client hints."""
        return lines(obj.client_hints) if obj.client_hints else None

    @admin.display(description=_("GeoIP"))
    def location_info_lines(self, obj):
        """What the GeoIP database has about the address."""
        return lines(obj.location_info) if obj.location_info else None


def without_secrets(value):
    """Returns a JSON value in which the members with names of secrets are hidden, at any depth."""
    if isinstance(value, dict):
        return {
            name: "(hidden)" if SECRET.search(name) else without_secrets(member) for name, member in value.items()}
    if isinstance(value, list):
        return [without_secrets(member) for member in value]
    return value


def lines(value):
    """Returns a value over several lines, for reading."""
    return format_html('<pre class="qsessions-value" dir="ltr">{}</pre>', pformat(value, width=100))


def has_field(model, name):
    """Returns whether a model has a field of this name."""
    try:
        return bool(name) and model._meta.get_field(name) is not None
    except FieldDoesNotExist:
        return False


def network(text):
    """Returns the text of a network. Raises ValueError if it has no mask, or is none."""
    if "/" not in text:
        raise ValueError("no network")
    return str(ipaddress.ip_network(text, strict=False))


def current_id(request):
    """Returns the id of the session of a request, which is live, or None."""
    key = getattr(request, "session", None) and request.session.session_key
    return uuid.UUID(sql.session_id(key)) if key else None


def is_own(request, pk):
    """Returns whether this is the session of the request."""
    return pk == current_id(request)


def log_ends(request, sessions):
    """Writes an entry into the admin's log for each session, in few statements."""
    content_type = ContentType.objects.get_for_model(Session)
    entries = (
        LogEntry(
            user_id=request.user.pk,
            content_type=content_type,
            object_id=session.pk,
            object_repr=str(session)[:200],
            action_flag=DELETION,
        )
        for session in sessions
    )
    LogEntry.objects.bulk_create(entries, batch_size=LOGGED_AT_ONCE)
