"""The application, as INSTALLED_APPS names it."""

from django.apps import AppConfig
from django.core import checks


class QsessionsConfig(AppConfig):
    """Registers the system checks."""

    name = "qsessions_django"
    label = "qsessions_django"
    verbose_name = "Sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        from qsessions_django import checks as ours

        checks.register(ours.check_settings)
        checks.register(ours.check_backend)
        checks.register(ours.check_binding, checks.Tags.security)
        checks.register(ours.check_database, checks.Tags.database)
