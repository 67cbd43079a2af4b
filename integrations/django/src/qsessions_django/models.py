"""The session table as a model."""

import json
from functools import cached_property

from django.conf import settings
from django.db import connections, models, router, transaction
from django.db.models.deletion import Collector
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from qsessions_django import keys, observer, sql
from qsessions_django.codec import decode_data, to_json
from qsessions_django.database import execute
from qsessions_django.devices import describe
from qsessions_django.fields import AddressField, DeviceInfo, FiniteDateTimeField, SessionDataField
from qsessions_django.functions import Device, Location, LocationInfo, ParsedUserAgent


class SessionQuerySet(models.QuerySet):
    """Sessions, live or expired."""

    def live(self):
        """Keeps the sessions that have not expired."""
        return self.filter(expires_at__gt=Now())

    def expired(self):
        """Keeps the sessions that have expired and were not purged yet."""
        return self.filter(expires_at__lte=Now())

    def by_key(self, key):
        """Keeps the live session that a key opens. The statement does not contain the key."""
        if not keys.is_valid(key):
            return self.none()
        digest = sql.digest(key)
        opened = RawSQL(
            "SELECT id FROM qsessions.session WHERE id = %s AND (digest = %s"
            " OR former_digest = %s AND former_digest_until > now())",
            (sql.session_id(key), digest, digest),
        )
        return self.live().filter(pk__in=opened)

    def with_devices(self):
        """Has the same query return `device` and `location`."""
        return self.annotate(device=Device.line(), location=Location("ip"))

    def with_details(self):
        """Has the same query return `device_info` and `location_info`."""
        return self.annotate(device_info=ParsedUserAgent(), location_info=LocationInfo("ip"))

    def mark_current(self, key):
        """Has the same query return `is_current`: whether it is the session of `key`, which must be live."""
        current = sql.session_id(key) if key else None
        same = models.Case(models.When(pk=current, then=True), default=False, output_field=models.BooleanField())
        return self.annotate(is_current=same)

    def delete(self):
        """Ends the sessions, as `revoke_session` does for an administrator.

        Returns what Django's `delete()` returns. If there are receivers of the signals of deletion,
        or models that refer to sessions, Django deletes the rows, and an event table records them as
        deleted. Either way caches are notified.
        """
        self._not_support_combined_queries("delete")
        if self.query.is_sliced or self.query.distinct_fields or self._fields is not None:
            return super().delete()  # which raises the error
        using = router.db_for_write(self.model) if self._db is None else self._db
        base = self.model._base_manager.using(using)
        if not Collector(using=using).can_fast_delete(base.all()):
            return super().delete()
        with transaction.atomic(using):
            chosen = list(self.using(using).order_by().values_list("pk", flat=True))
            rows = base.filter(has_id(chosen)).order_by(place())
            ids = list(rows.select_for_update().values_list("pk", flat=True))
            revoke(ids, using)
        self._result_cache = None
        return len(ids), ({self.model._meta.label: len(ids)} if ids else {})

    delete.alters_data = True
    delete.queryset_only = True


def place():
    """The place of a row: rows are locked in the order in which the deletion of their user would meet them."""
    return RawSQL('"session".ctid', ())


def has_id(ids):
    """Whether a session has one of these public ids.

    They are one parameter, because a statement takes at most 65,535 of them. And they are no subquery: with the
    statistics of an empty table, the plan for one compares each session with each other one.
    """
    return RawSQL('"session".id = ANY (%s::uuid[])', (ids,), output_field=models.BooleanField())


def revoke(ids, using):
    """Ends the sessions with these public ids, whichever users they belong to."""
    if not ids:
        return
    execute(
        "SELECT count(*) FILTER (WHERE qsessions.revoke_session(id)) FROM unnest(%s::uuid[]) AS id", (ids,), using
    )
    observer.ended_others(connections[using])


class SessionManager(models.Manager.from_queryset(SessionQuerySet)):
    """Returns sessions with their `device` and `location`, also of `user.session_set`."""

    def get_queryset(self):
        """Returns all sessions."""
        return super().get_queryset().with_devices()


class Session(models.Model):
    """A session. Sessions are created and changed by their session store, and not by `save()`."""

    id = models.UUIDField(_("id"), primary_key=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, verbose_name=_("user"), db_column="user_id"
    )
    data = SessionDataField(_("data"), default=dict)
    ip = AddressField(_("IP address"), null=True, blank=True)
    user_agent = models.TextField(_("User-Agent"), null=True, blank=True)
    client_hints = models.JSONField(_("client hints"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"))
    authenticated_at = models.DateTimeField(_("signed in"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated"))
    last_seen_at = models.DateTimeField(_("last seen"))
    expires_at = FiniteDateTimeField(_("expires"), null=True)
    idle_timeout = models.DurationField(_("idle timeout"), null=True, blank=True)
    deadline = FiniteDateTimeField(_("deadline"), null=True)
    version = models.BigIntegerField(_("version"), default=1)

    objects = SessionManager()

    class Meta:
        """The table belongs to the extension's schema, and a migration creates it."""

        managed = False
        db_table = 'qsessions"."session'
        verbose_name = _("session")
        verbose_name_plural = _("sessions")

    def __str__(self):
        # Not self.device, which may need a query.
        return self.__dict__.get("device") or str(self.pk)

    @property
    def is_active(self):
        """Whether the session has not expired."""
        return self.expires_at is None or self.expires_at > timezone.now()

    # A manager sets these attributes from its query. The properties are for instances of other
    # origin, and each costs a query.

    @cached_property
    def device(self):
        """Device, system and browser in one line; empty if the session has no User-Agent."""
        return self._compute("qsessions.device(%s, %s::jsonb)", *self._agent()) or ""

    @cached_property
    def device_info(self):
        """Device, system and browser as a `DeviceInfo`; None if the session has no User-Agent."""
        return DeviceInfo.of(self._compute("to_jsonb(qsessions.parse_user_agent(%s, %s::jsonb))", *self._agent()))

    @cached_property
    def location(self):
        """City and country of the address, or None."""
        return self._compute("qsessions.location(%s::inet)", self.ip)

    @cached_property
    def location_info(self):
        """What the GeoIP database has about the address, with the keys of Django's GeoIP2, or None."""
        found = self._compute("qsessions.location_info(%s::inet)", self.ip)
        return json.loads(found) if isinstance(found, str) else found

    def _agent(self):
        hints = None if self.client_hints is None else json.dumps(self.client_hints)
        return self.user_agent, hints

    def _compute(self, expression, *arguments):
        using = self._state.db or router.db_for_read(type(self), instance=self)
        return execute(f"SELECT {expression}", arguments, using)[0][0]

    @property
    def device_name(self):
        """What people call the device, such as `iPhone`; empty if it is unknown."""
        return describe(self.device)[0]

    @property
    def device_details(self):
        """System and browser, such as `iOS 17.1, Safari 17.1`."""
        return describe(self.device)[1]

    def get_decoded(self):
        """Returns the data as a dict, as the session engine does."""
        return decode_data(to_json(self.data))

    def save(self, *args, **kwargs):
        """Raises TypeError: a row that a request is using must not be overwritten as a whole."""
        raise TypeError("a session is saved by its session store; to change columns, use QuerySet.update()")

    def delete(self, using=None, keep_parents=False):
        """Ends the session; see `SessionQuerySet.delete`."""
        using = using or router.db_for_write(type(self), instance=self)
        if self.pk is None or not Collector(using=using, origin=self).can_fast_delete(self):
            return super().delete(using, keep_parents)
        ended = type(self)._base_manager.using(using).filter(pk=self.pk)
        return SessionQuerySet(type(self), ended.query, using).delete()

    delete.alters_data = True
