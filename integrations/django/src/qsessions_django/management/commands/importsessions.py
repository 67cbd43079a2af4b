"""manage.py importsessions: moves the sessions of another session engine."""

from django.core.management.base import BaseCommand, CommandError

from qsessions_django.conf import OLD_TABLES
from qsessions_django.moving import BATCH_SIZE, Mover

MEANINGS = {
    "moved": "moved",
    "present": "had come along before",
    "expired": "expired, left there",
    "undecodable": "undecodable, left there: no valid signature, or another serializer",
    "unstorable": "not storable, left there: no JSON, or larger than qsessions.max_data_bytes",
    "without_user": "of users that do not exist any more, left there",
}


class Command(BaseCommand):
    """Moves live sessions from another engine's table, in batches; it can be repeated and interrupted."""

    help = (
        "Moves the live sessions of another session engine into qsessions, under the keys that cookies contain. "
        "Each session is deleted from the old table by the transaction that imports it, so stop all processes that "
        "use the old engine before. The command can be interrupted and repeated."
    )

    def add_arguments(self, parser):
        """Adds the table and the options."""
        parser.add_argument(
            "table",
            choices=OLD_TABLES,
            help="django_session of Django's own engines db and cached_db, qsessions_session of django-qsessions, "
            "or user_sessions_session of django-user-sessions",
        )
        parser.add_argument(
            "--serializer",
            help="path of the class that has written the data; by default QSESSIONS['IMPORT_SERIALIZER'], or else "
            "SESSION_SERIALIZER",
        )
        parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="sessions in a transaction")
        parser.add_argument("--dry-run", action="store_true", help="read and count, but change nothing")

    def handle(self, *args, table, serializer, batch_size, dry_run, **options):
        """Prints progress after each batch, and what has happened to all sessions."""
        if batch_size < 1:
            raise CommandError("--batch-size must be at least 1")
        try:
            mover = Mover(table, serializer)
        except ImportError as error:
            raise CommandError(f"--serializer: {error}") from error
        if not mover.exists():
            raise CommandError(f'table "{table}" does not exist')
        live, expired = mover.numbers()
        for _ in mover.move_all(batch_size, change=not dry_run):
            if options["verbosity"] >= 2:
                self.stdout.write(f"{sum(mover.counts.values())} of {live}")
        counts = {**mover.counts, "expired": expired}
        if options["verbosity"] >= 1:
            for name, meaning in MEANINGS.items():
                if counts.get(name) or name in ("moved", "expired", "undecodable"):
                    self.stdout.write(f"{counts.get(name, 0):>9} {meaning}")
            if dry_run:
                self.stdout.write("Nothing was changed.")
