"""Settings of the site, which sets a strict Content-Security-Policy."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.staticfiles", "account"]
TIME_ZONE = "UTC"
ROOT_URLCONF = "account.urls"
LOGIN_REDIRECT_URL = "/devices/"
LANGUAGES = [("en", "English"), ("fa", "Persian")]
MIDDLEWARE = [
    "account.policy.Policy",
    "qsessions_django.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
QSESSIONS = {"TRUSTED_PROXIES": ["127.0.0.0/8"]}
