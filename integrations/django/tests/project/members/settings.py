"""The project with other users."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "django.contrib.admin"] + ["project.members"]
AUTH_USER_MODEL = "members.Member"
QSESSIONS = {}
