"""Sessions that tests begin without a browser."""

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.1 Mobile/15E148 Safari/604.1")


def begin(user=None, address="192.0.2.7", user_agent=IPHONE, data="{}", hints=None):
    """Begins a session, and returns its key."""
    from qsessions_django import sql
    from qsessions_django.visitor import Visitor

    visitor, expiry = Visitor(address, user_agent, hints), sql.Expiry()
    return sql.login(None, user.pk, data, visitor, expiry).key if user else sql.create(data, visitor, expiry)


def session_id(key):
    """Returns the id of the session of a key, as text."""
    from qsessions_django import sql

    return sql.session_id(key)


def queries_of(action):
    """Returns the number of queries that an action makes, without the load of the session that makes the request."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as made:
        action()
    loads = ("resume_session", "load_for_cache", "record_visits")
    return sum(not any(name in query["sql"] for name in loads) for query in made)


def drop_events(db):
    """Removes the event table, so that other tests are without one."""
    db.rows("DROP TABLE qsessions.session_event, qsessions.session_event_known, qsessions.session_event_retention")
