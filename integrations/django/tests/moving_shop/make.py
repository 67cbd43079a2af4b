"""Makes sessions by the engine of the settings, as a process of its own.

Migrates the database. Then, for each line of the standard input, which is a list of objects with user (the name of
one), data, ip, user_agent and seconds (the time to live), makes sessions and prints a line with the list of their keys.
"""

import json
import sys
from importlib import import_module

import django


def main():
    """Does what the module says."""
    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    engine = import_module(settings.SESSION_ENGINE).SessionStore
    for line in sys.stdin:
        print(json.dumps([make(engine, wanted) for wanted in json.loads(line)]), flush=True)


def make(engine, wanted):
    """Makes a session, and returns its key."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model

    knows_visitor = not engine.__module__.startswith("django.")
    store = engine(ip=wanted.get("ip"), user_agent=wanted.get("user_agent")) if knows_visitor else engine()
    for name, value in wanted.get("data", {}).items():
        store[name] = value
    if wanted.get("user"):
        user = get_user_model().objects.get(username=wanted["user"])
        store[SESSION_KEY] = str(user.pk)
        store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    if "seconds" in wanted:
        store.set_expiry(wanted["seconds"])
    store.save()
    return store.session_key


if __name__ == "__main__":
    main()
