"""With Django's own engine."""

from moving_shop.base import *  # noqa: F403
from moving_shop.base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.sessions"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware", *MIDDLEWARE]
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
