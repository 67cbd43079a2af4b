"""With qsessions, while sessions come along; the environment has the table and the engine."""

import os

from moving_shop.base import *  # noqa: F403
from moving_shop.base import INSTALLED_APPS, MIDDLEWARE

INSTALLED_APPS = [*INSTALLED_APPS, "qsessions_django"]
MIDDLEWARE = ["qsessions_django.middleware.SessionMiddleware", *MIDDLEWARE]
SESSION_ENGINE = f"qsessions_django.backends.{os.environ.get('MOVING_ENGINE', 'fallback')}"
QSESSIONS = {"IMPORT_FROM": [os.environ.get("MOVING_FROM", "qsessions_session")]}
