"""The middleware that gives each request its session."""

import time
from datetime import timedelta

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangoMiddleware
from django.utils.http import http_date

from qsessions_django.conf import config
from qsessions_django.visitor import WANTED_HINTS, visitor_of

# Browsers keep no cookie longer.
LONGEST_COOKIE = timedelta(days=400)


class SessionMiddleware(DjangoMiddleware):
    """Django's SessionMiddleware, with the address, the browser and the client hints of the visitor."""

    def process_request(self, request):
        """Gives the request its session, which is loaded when it is first used."""
        super().process_request(request)
        request.session.visitor = visitor_of(request)

    def process_response(self, request, response):
        """Saves the session, and sets or deletes its cookie."""
        response = super().process_response(request, response)
        cookie = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and cookie.value and cookie["max-age"] != "":
            _prolong(cookie, request.session)
        if config().accept_client_hints and response.headers.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Accept-CH", WANTED_HINTS)
        return response


def _prolong(cookie, session):
    """A session that slides with each visit needs a cookie that does not end before it."""
    lifetime = getattr(session, "cookie_lifetime", lambda: None)()
    if lifetime is not None:
        seconds = int(min(lifetime, LONGEST_COOKIE).total_seconds())
        cookie["max-age"] = seconds
        cookie["expires"] = http_date(time.time() + seconds)
