"""Settings of the project. PGHOST, PGUSER and PGDATABASE name the database."""

import os

SECRET_KEY = "of these tests only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project.urls"
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.messages",
    "qsessions_django"]
SESSION_ENGINE = f"qsessions_django.backends.{os.environ.get('QSESSIONS_TEST_ENGINE', 'db')}"
MIDDLEWARE = [
    "project.tools.Statements",
    "qsessions_django.middleware.SessionMiddleware",
    "project.tools.Meanwhile",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware"]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages"]}}]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
LOGGING_CONFIG = None
USE_TZ = True
DATABASES = {"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"],
    "HOST": os.environ["PGHOST"], "USER": os.environ["PGUSER"],
    "OPTIONS": {"server_side_binding": True}}}
QSESSIONS = {"ROLES": [f"{os.environ['PGDATABASE']}_app"]}
