"""With django-qsessions."""

from moving_shop.base import *  # noqa: F403
from moving_shop.base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "qsessions"]
MIDDLEWARE = ["qsessions.middleware.SessionMiddleware", *MIDDLEWARE]
SESSION_ENGINE = "qsessions.backends.cached_db"
