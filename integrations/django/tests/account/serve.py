"""Serves the site until the standard input ends, and prints its address as soon as it is open.

Ada has signed in on some devices before, and Robin administers the site; their passwords are "secret".
"""

import os
import sys

AGENTS = {
    "iphone": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.6 Mobile/15E148 Safari/604.1",
    "mac": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 "
    "Safari/605.1.15",
    "windows": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
    "Safari/537.36 Edg/126.0.2592.87",
    "samsung": "Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) "
    "SamsungBrowser/30.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    "curl": "curl/8.14.1",
}
# The user, the browser, the address, and how long ago the sign-in and the last visit were.
BEFORE = (
    ("ada", "samsung", "133.242.0.3", "11 days", "10 days"),
    ("ada", "iphone", "131.111.150.25", "9 days", "3 minutes"),
    ("ada", "windows", "195.113.144.194", "2 days", "1 day"),
    ("mateo", "mac", "200.16.16.1", "3 days", "2 hours"),
    ("mateo", "iphone", "200.16.16.1", "8 hours", "5 minutes"),
    ("thandi", "windows", "146.141.1.1", "5 hours", "40 minutes"),
    (None, "curl", "192.0.2.44", "1 hour", "50 minutes"),
)


def main():
    """Prepares the database, and serves."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "account.settings"
    import django

    django.setup()
    import psycopg
    from django.contrib.auth import get_user_model
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.db import connection
    from support import serving

    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    names = {
        name: users.create_user(name, f"{name}@example.com", "secret") for name in ("ada", "eve", "mateo", "thandi")}
    users.create_superuser("robin", "robin@example.com", "secret")
    connection.close()
    with psycopg.connect(autocommit=True) as outside:
        fill(outside, {name: user.pk for name, user in names.items()})
    with serving(StaticFilesHandler(get_wsgi_application())) as port:
        print(f"http://127.0.0.1:{port}", flush=True)
        sys.stdin.read()


def fill(outside, users):
    """Makes the sessions of the past."""
    if "QSESSIONS_CITY_MMDB" in os.environ:
        path, database = os.environ["QSESSIONS_CITY_MMDB"], os.environ["PGDATABASE"]
        outside.execute(f"ALTER DATABASE {database} SET qsessions.geoip_path = '{path}'")
        outside.execute(f"SET qsessions.geoip_path = '{path}'")
        outside.execute("SELECT qsessions.geoip_reload()")
    outside.execute("SELECT qsessions.create_event_table()")
    for name, browser, address, since, seen in BEFORE:
        outside.execute(
            """WITH begun AS (SELECT (qsessions.create_session(%s::text, ip => %s::inet, user_agent => %s)).id)
               SELECT id FROM begun""", (users.get(name), address, AGENTS[browser]))
        outside.execute(
            """UPDATE qsessions.session SET created_at = now() - %s::interval, authenticated_at = CASE
               WHEN user_id IS NOT NULL THEN now() - %s::interval END, last_seen_at = now() - %s::interval
               WHERE created_at = (SELECT max(created_at) FROM qsessions.session)""", (since, since, seen))


if __name__ == "__main__":
    main()
