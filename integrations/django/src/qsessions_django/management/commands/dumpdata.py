"""manage.py dumpdata, which leaves sessions out.

The model does not have the digests of the keys, so no session of a fixture could ever be opened, and loaddata would fail.
"""

from django.core.management.commands import dumpdata

from qsessions_django.models import Session


class Command(dumpdata.Command):
    """Django's command, without sessions unless they are named."""

    def handle(self, *app_labels, **options):
        """Writes the fixture."""
        named = {label.lower() for label in app_labels}
        if not named & {Session._meta.app_label, Session._meta.label_lower}:
            options["exclude"] = [*options["exclude"], Session._meta.label]
        return super().handle(*app_labels, **options)
