"""The pages and the import with users whose key is a UUID, in a process and a database of their own."""

import os
import subprocess
import sys

import psycopg
from psycopg import sql

SCRIPT = """
import django
django.setup()
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore as Encoder
from django.core.management import call_command
from django.db import connection
from django.test import Client
from qsessions_django.models import Session
from sessions import begin, session_id

call_command("migrate", run_syncdb=True, verbosity=0)
Member = get_user_model()
# All members may use the admin.
Member.is_staff, Member.has_perm, Member.has_module_perms = True, lambda *_: True, lambda *_: True
ada, bob = (Member.objects.create(email=f"{name}@example.com") for name in ("ada", "bob"))
client = Client()
client.force_login(ada)
key = begin(ada)
page = client.get("/devices/").content.decode()
assert "iPhone" in page and "This device" in page, page
assert client.post("/devices/sign-out/", {"id": session_id(key)}).status_code == 302
assert ada.session_set.count() == 1

begin(bob)
listed = client.get("/admin/qsessions_django/session/").content.decode()
assert "ada@example.com" in listed and "bob@example.com" in listed
found = client.get("/admin/qsessions_django/session/?q=bob@example.com").content.decode()
assert found.count('name="_selected_action"') == 1
detail = client.get(f"/admin/qsessions_django/session/{ada.session_set.get().pk}/change/").content.decode()
assert "ada@example.com" in detail

with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL,"
                   " expire_date timestamptz NOT NULL)")
    for old, user in (("a" * 32, ada.pk), ("b" * 32, "nonsense"), ("c" * 32, "1b4e28ba-2fa1-11d2-883f-0016d3cca427")):
        data = Encoder().encode({SESSION_KEY: str(user)})
        cursor.execute("INSERT INTO django_session VALUES (%s, %s, now() + interval '1 day')", [old, data])
call_command("importsessions", "django_session")
assert Session.objects.by_key("a" * 32).get().user == ada
"""


def test_users_with_a_uuid(application):
    name = f"{os.environ['PGDATABASE']}_members"
    with psycopg.connect(autocommit=True) as outside:
        outside.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, check=False,
                cwd=os.path.dirname(__file__),
                env=os.environ | {"PGDATABASE": name, "DJANGO_SETTINGS_MODULE": "account.members"})
            assert done.returncode == 0, done.stderr
            assert "1 moved" in done.stdout and "2 of users that do not exist" in done.stdout
        finally:
            outside.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
