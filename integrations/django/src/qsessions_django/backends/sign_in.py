"""Tells the application of sign-ins from new devices and places."""

import functools

from django.contrib.auth import get_user_model
from django.db import transaction

from qsessions_django.database import database_connection
from qsessions_django.signals import new_device_sign_in


def announce(store, user, login):
    """Sends new_device_sign_in after the commit of a login (sql.Login) of a user (text), if there is news."""
    if login.is_new_device or login.is_new_place:
        send = functools.partial(
            new_device_sign_in.send_robust,
            sender=type(store),
            user_id=get_user_model()._meta.pk.to_python(user),
            session_id=login.id,
            ip=store.visitor.ip,
            user_agent=store.visitor.user_agent,
            is_new_device=bool(login.is_new_device),
            is_new_place=bool(login.is_new_place))
        transaction.on_commit(send, using=database_connection().alias)
