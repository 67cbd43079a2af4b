"""Settings of the site with users whose key is a UUID, and who are not in Django's groups."""

from account.settings import *  # noqa: F403
from account.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "project.members"]
AUTH_USER_MODEL = "members.Member"
ALLOWED_HOSTS = ["*"]
