"""With qsessions alone."""

import os

from moving_shop.base import *  # noqa: F403
from moving_shop.base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "qsessions_django"]
MIDDLEWARE = ["qsessions_django.middleware.SessionMiddleware", *MIDDLEWARE]
SESSION_ENGINE = f"qsessions_django.backends.{os.environ.get('AFTER_ENGINE', 'db')}"
