"""Signals of this package."""

from django.dispatch import Signal

new_device_sign_in = Signal()
"""Sent after a sign-in from a device or a place that the user has not used before.

The database tells where events are recorded: call `SELECT qsessions.create_event_table()` once. The sender is the
session engine's class. The signal is sent when the sign-in is committed, with

- user_id: the primary key of the user, in its Python type
- session_id: the id (uuid.UUID) of the session; it may be shown, and opens nothing
- ip, user_agent: str or None, as the request had them
- is_new_device, is_new_place: bool; at least one is true. None is sent as False.

An error of a receiver is logged and does not fail the request.
"""
