"""Sessions in the memory of a process, dropped when any process changes them.

`entries` holds the sessions. The thread in `listener` applies the notifications of changes, and that in `prober` sends
probes that show up to when all changes are known: the `freshness` of the entries. docs/cache.md has the guarantee, and
its proof: the rules are those of the Rust client.

Each process has one cache. It starts with the first session that the process loads, and so after the fork of a server
that forks its workers.
"""

import atexit
import os
import sys
import threading

from django.core.signals import setting_changed
from django.dispatch import receiver

from qsessions_django import observer
from qsessions_django.cache.core import Cache
from qsessions_django.conf import config

_lock = threading.Lock()
_cache = None


def session_cache():
    """Returns the cache of this process, which is started if there is none.

    Returns None in Django's test environment: the connection of the cache would keep the test database from being
    dropped. QSESSIONS = {"CACHE": {"IN_TESTS": True}} starts it nevertheless.
    """
    return _cache or _start()


def health():
    """Returns the state of the cache as a dict; None if it was not started.

    serving (bool) tells whether the cache answers loads; staleness (seconds or None) that all changes are known that
    were committed longer ago; error (str or None) what is wrong; sessions how many are in memory. The others count
    loads and notifications since the start of the process.
    """
    return _cache and _cache.health()


def catch_up():
    """Waits until the cache knows all changes of sessions that were committed before, by any process.

    Call it after SQL of your own that changes sessions, if the next statement depends on it. It usually takes some
    milliseconds, and at most max_staleness.
    """
    if _cache is not None:
        _cache.catch_up()


def stop():
    """Ends the threads of the cache and its connections. The next session that is loaded starts it again."""
    global _cache
    with _lock:
        cache, _cache = _cache, None
        observer.observe_for(None)
    if cache is not None:
        cache.stop()


def _start():
    global _cache
    settings = config()
    if _is_in_tests() and not settings.cache.in_tests:
        return None
    with _lock:
        if _cache is None:
            _cache = Cache(settings)
            observer.observe_for(_cache)
            _cache.start()
        return _cache


def _is_in_tests():
    # Not imported for this: a program that serves requests has not done so.
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(utils._TestState, "saved_data")


def _forget_in_child():
    # Threads do not survive a fork, and another one may have held the lock. psycopg leaves connections of the parent
    # open.
    global _lock, _cache
    _lock, _cache = threading.Lock(), None
    observer.observe_for(None)


@receiver(setting_changed)
def _restart(*, setting, **_):
    if setting in ("QSESSIONS", "DATABASES"):
        stop()


os.register_at_fork(after_in_child=_forget_in_child)
atexit.register(stop)
