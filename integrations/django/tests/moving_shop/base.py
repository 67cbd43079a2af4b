"""Settings that stay the same."""

import os

SECRET_KEY = "of these tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "moving_shop.urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE = ["django.contrib.auth.middleware.AuthenticationMiddleware"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"],
    "HOST": os.environ["PGHOST"], "USER": os.environ["PGUSER"],
    "CONN_MAX_AGE": 60,
    "OPTIONS": {"server_side_binding": True}}}
