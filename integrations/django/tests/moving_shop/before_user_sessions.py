"""With django-user-sessions."""

from moving_shop.base import *  # noqa: F403
from moving_shop.base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "user_sessions"]
MIDDLEWARE = ["user_sessions.middleware.SessionMiddleware", *MIDDLEWARE]
SESSION_ENGINE = "user_sessions.backends.db"
SILENCED_SYSTEM_CHECKS = ["models.W042"]
