"""manage.py clearsessions: deletes the sessions that have expired."""

from importlib import import_module

from django.conf import settings
from django.core.management.base import BaseCommand

from qsessions_django import sql
from qsessions_django.backends.db import SessionStore
from qsessions_django.moving import movers


class Command(BaseCommand):
    """Deletes all expired sessions, batch after batch, each in a transaction of its own."""

    help = (
        "Deletes the sessions that have expired, in batches, so that no request waits. Where pg_cron is installed, "
        "SELECT qsessions.schedule_purge() makes this command unnecessary."
    )

    def handle(self, *args, **options):
        """Prints progress after each batch, and the number in the end."""
        engine = import_module(settings.SESSION_ENGINE).SessionStore
        if not issubclass(engine, SessionStore):
            # The project has not changed to qsessions yet, or has gone back.
            engine.clear_expired()
            return
        total = 0
        while purged := sql.purge_expired():
            total += purged
            self.tell(f"expired sessions deleted so far: {total}", options, 2)
        for mover in movers():
            if mover.exists():
                mover.delete_expired()
        self.tell(f"expired sessions deleted: {total}", options, 1)

    def tell(self, text, options, level):
        """Prints a line from this verbosity on."""
        if options["verbosity"] >= level:
            self.stdout.write(text)
