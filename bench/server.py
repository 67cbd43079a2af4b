"""A PostgreSQL server for one measurement, with its Unix socket in a temporary folder."""

import ctypes
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time

SUPERUSER = "postgres"
PATIENCE = 60
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

# The cost of the functions is processor time. Waiting for a disk would hide it: both sides of a
# ratio wait equally long. Checkpoints and autovacuum run at any time, so they are off. The library
# is preloaded, as docs/invalidation.md advises for many writers.
SETTINGS = """
shared_preload_libraries = 'qsessions'
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 50
shared_buffers = '1GB'
fsync = off
synchronous_commit = off
full_page_writes = off
checkpoint_timeout = '1d'
max_wal_size = '50GB'
autovacuum = off
timezone = 'UTC'
qsessions.touch_interval = '1 day'
"""


# For measurements that depend on the time of a commit. full_page_writes stays off: it makes commits
# more expensive shortly after a checkpoint, and the measured cost would look smaller.
DURABLE = """
fsync = on
synchronous_commit = on
track_wal_io_timing = on
"""
UNLOADED = """
shared_preload_libraries = ''
"""


class Failure(Exception):
    """An error that is reported in one line."""


class Server:
    """Started by `with`. More settings overrule those above. Without a pg_config it is the private PostgreSQL. A data
    directory that is given is made unless it exists, and stays; the server is then shut down cleanly."""

    def __init__(self, more_settings="", pg_config=None, data=None):
        self.settings = SETTINGS + more_settings
        self.kept_data = data
        pg_config = pg_config or _pg_config()
        self.bin = pathlib.Path(_ask(pg_config, "--bindir"))
        self.extensions = pathlib.Path(_ask(pg_config, "--sharedir")) / "extension"
        self.version = _ask(pg_config, "--version")
        self.major = int(re.match(r"PostgreSQL (\d+)", self.version)[1])
        self.run_as = _server_user()

    def __enter__(self):
        # The path of a socket may have at most 107 bytes, and the user of the server must reach it:
        # hence /tmp.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="qsessions-bench-", dir="/tmp"))
        self.process = None
        try:
            self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_):
        self._remove()

    def _start(self):
        self._hand_over(self.folder)
        self.data = self.kept_data or self.folder / "data"
        if not (self.data / "PG_VERSION").exists():
            if self.kept_data:
                self.data.mkdir(parents=True)
                self._hand_over(self.data)
            self.run("initdb", "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync", "-D", self.data)
            with open(self.data / "postgresql.conf", "a", encoding="utf-8") as settings:
                settings.write("include 'bench.conf'\n")
        (self.data / "bench.conf").write_text(self.settings.format(folder=self.folder), encoding="utf-8")
        self.process = self.start("postgres", "-D", self.data, output=self.folder / "log", end_by=signal.SIGQUIT)
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(
                [self.bin / "pg_isready", "-q", "-h", self.folder], check=False, **self._identity()).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failure("the server does not start; its log ends:\n" + self.log_tail())
            time.sleep(0.05)

    def _remove(self):
        if self.process:
            # SIGINT is a fast shutdown, with a checkpoint.
            self.process.send_signal(signal.SIGINT if self.kept_data else signal.SIGQUIT)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hand_over(self, folder):
        if self.run_as:
            os.chown(folder, self.run_as.pw_uid, self.run_as.pw_gid)

    def _identity(self):
        identity = {"cwd": "/", "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}}
        if self.run_as:
            identity |= {"user": self.run_as.pw_uid, "group": self.run_as.pw_gid, "extra_groups": []}
        return identity

    def make_folder(self, name):
        """A folder that the programs can write to."""
        folder = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=self.folder))
        self._hand_over(folder)
        return folder

    def start(self, program, *arguments, output, end_by=signal.SIGKILL):
        """Starts a program of PostgreSQL, which gets a signal if this process is killed."""
        with open(output, "wb") as file:
            return subprocess.Popen(
                [self.bin / program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                preexec_fn=lambda: end_with_parent(end_by), **self._identity())

    def run(self, program, *arguments, text=""):
        """Runs a program of PostgreSQL on a text; returns its output and its error output."""
        done = subprocess.run(
            [self.bin / program, *map(str, arguments)],
            input=text, capture_output=True, text=True, check=False, **self._identity())
        if done.returncode:
            raise Failure(f"{program} failed: {done.stderr.strip()}")
        return done.stdout, done.stderr

    def sql(self, statements, database="bench"):
        """Runs statements, each in a transaction of its own; returns their output."""
        answer, _ = self.run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", SUPERUSER,
            "-d", database, text=statements)
        return answer.strip()

    def has(self, database):
        """Whether it has a database of this name."""
        return self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{database}'", "postgres") != ""

    def processor_seconds(self):
        """The processor time that the processes of the server have used."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii")
        nanoseconds = 0
        for pid in children.split():
            try:
                nanoseconds += int(pathlib.Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])
            except (FileNotFoundError, ProcessLookupError):
                # It has just ended.
                continue
        return nanoseconds / 1e9

    def log_tail(self):
        """The end of the server's log."""
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])


def end_with_parent(end_by=signal.SIGKILL):
    """Makes the kernel send the calling process a signal if its parent is killed."""
    _LIBC.prctl(PR_SET_PDEATHSIG, end_by)


def _pg_config():
    default = "../.build/pg{0}/lib/postgresql/{0}/bin/pg_config".format(os.environ.get("PG_MAJOR", "15"))
    path = os.environ.get("QSESSIONS_PG_CONFIG") or pathlib.Path(__file__).parent / default
    # The real path: the user of the server may not be allowed to enter the repository.
    path = pathlib.Path(path).resolve()
    if not path.exists():
        raise Failure(f"no PostgreSQL at {path}; `make bench` makes one")
    return path


def _ask(program, option):
    return subprocess.run([program, option], capture_output=True, text=True, check=True).stdout.strip()


def _server_user():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    name = os.environ.get("QSESSIONS_RUN_AS", "postgres")
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise Failure(f"there is no user {name!r} to run PostgreSQL as; root cannot") from None

