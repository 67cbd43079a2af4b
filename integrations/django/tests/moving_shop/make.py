"""Makes sessions by the engine of the settings, as a process of its own.

Reads a list of objects with user (the name of one), data, ip, user_agent and seconds (the time to live) from the
standard input, and prints the list of their keys.
"""

import json
import sys
from importlib import import_module

import django


def main():
    """Migrates the database, and makes the sessions."""
    django.setup()
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    engine = import_module(settings.SESSION_ENGINE).SessionStore
    users = get_user_model().objects
    keys = []
    for wanted in json.load(sys.stdin):
        knows_visitor = not engine.__module__.startswith("django.")
        visitor = {"ip": wanted.get("ip"), "user_agent": wanted.get("user_agent")} if knows_visitor else {}
        store = engine(**visitor)
        for name, value in wanted.get("data", {}).items():
            store[name] = value
        if wanted.get("user"):
            user = users.get(username=wanted["user"])
            store[SESSION_KEY] = str(user.pk)
            store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            store[HASH_SESSION_KEY] = user.get_session_auth_hash()
        if "seconds" in wanted:
            store.set_expiry(wanted["seconds"])
        store.save()
        keys.append(store.session_key)
    json.dump(keys, sys.stdout)


if __name__ == "__main__":
    main()
