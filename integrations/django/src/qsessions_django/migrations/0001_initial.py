"""The extension, the session table of the users of this project, and the rights of the application's roles."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import qsessions_django.fields
from qsessions_django import table


class Migration(migrations.Migration):
    """The model is not managed: its table is created by the extension."""

    initial = True
    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations = [
        migrations.RunPython(table.set_up, table.take_down, elidable=False),
        migrations.CreateModel(
            name="Session",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False, verbose_name="id")),
                ("data", qsessions_django.fields.SessionDataField(default=dict, verbose_name="data")),
                ("ip", qsessions_django.fields.AddressField(blank=True, null=True, verbose_name="IP address")),
                ("user_agent", models.TextField(blank=True, null=True, verbose_name="User-Agent")),
                ("client_hints", models.JSONField(blank=True, null=True, verbose_name="client hints")),
                ("created_at", models.DateTimeField(verbose_name="created")),
                ("authenticated_at", models.DateTimeField(blank=True, null=True, verbose_name="signed in")),
                ("updated_at", models.DateTimeField(verbose_name="updated")),
                ("last_seen_at", models.DateTimeField(verbose_name="last seen")),
                ("expires_at", qsessions_django.fields.FiniteDateTimeField(null=True, verbose_name="expires")),
                ("idle_timeout", models.DurationField(blank=True, null=True, verbose_name="idle timeout")),
                ("deadline", qsessions_django.fields.FiniteDateTimeField(null=True, verbose_name="deadline")),
                ("version", models.BigIntegerField(default=1, verbose_name="version")),
                ("user", models.ForeignKey(
                    blank=True, db_column="user_id", null=True, on_delete=django.db.models.deletion.CASCADE,
                    to=settings.AUTH_USER_MODEL, verbose_name="user")),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "db_table": 'qsessions"."session',
                "managed": False,
            },
        ),
    ]
