"""Ten million sessions: loads, visits, lists, and a purge beside requests. See bench/README.md."""

import contextlib
import pathlib
import re
import shutil
import tempfile
import time

from server import Failure, Server

from . import fill, lists, loads, purge, speeds, visits

# As in production. The rest of the memory caches files.
SETTINGS = """
shared_buffers = '{buffers}MB'
full_page_writes = on
fsync = on
synchronous_commit = on
autovacuum = on
checkpoint_timeout = '15min'
checkpoint_completion_target = 0.9
max_wal_size = '8GB'
wal_keep_size = '{keep}MB'
wal_compression = on
log_lock_waits = on
deadlock_timeout = '100ms'
log_autovacuum_min_duration = 0
"""

# Bytes of disk for each session: its row, its keys for pgbench and its indexes, and WAL of those that are deleted.
BYTES_LOADED, BYTES_OF_WORK, BYTES_FOR_ALL = 900, 600, 1_500_000_000
# A tenth of the server's memory at least, and a quarter at most, holds a large table's buffers.
BUFFERS_SHARE = 0.2


def measure(rows, keep, say):
    """The lines of the report, and whether every figure is as wanted. `keep` is a folder for the loaded data, or none."""
    begin = time.monotonic()
    # KEEP can name a folder that has other files too. Only the loaded data have a fixed name in it.
    with _folder(keep) as folder, _new_folder(folder) as temporary:
        loaded, work = folder / f"loaded-{rows}", temporary / "data"
        is_loaded = (loaded.with_suffix(".done")).exists()
        _check_room(folder, rows, bool(keep), is_loaded, say)
        if not is_loaded:
            shutil.rmtree(loaded, ignore_errors=True)
            say(f"making {rows:,} sessions")
            fill.make(loaded, rows, say)
            loaded.with_suffix(".done").touch()
        if keep:
            say(f"copying the loaded data, which stay in {loaded}")
            fill.copy(loaded, work)
        else:
            loaded.rename(work)
        lines, good = _measure(work, rows, is_loaded, say)
    return [*lines, f"all of it took {(time.monotonic() - begin) / 60:.0f} min"], good


def _measure(data, rows, is_kept, say):
    lines, all_good = [], True
    buffers = int(_memory() * BUFFERS_SHARE / 2**20)
    with Server(SETTINGS.format(buffers=buffers, keep=max(256, rows * BYTES_OF_WORK // 2**20)), data=data) as server:
        if is_kept:
            _renew(server)
        lines.append(f"{server.version}; {rows:,} sessions, {fill.EXPIRED:.0%} of them expired; {buffers:,} MB of "
                     "shared_buffers; autovacuum, full_page_writes and fsync on")
        lines += ["", *_sizes(server)]
        for part in (loads, lists, speeds, visits, purge):
            more, good = part.measure(server, rows, say)
            lines += ["", *more]
            all_good &= good
            for line in more:
                say(line)
        more, good = lists.measure_after_purge(server, rows, say)
        lines += ["", *more, "", *_vacuums(server)]
        all_good &= good
    return lines, all_good


def _renew(server):
    """The data may be kept from an older revision. What was made just now has the right functions."""
    try:
        fill.renew(server)
    except Failure as error:
        raise Failure(f"the loaded data do not fit the installed version; they stay, use another folder: {error}") from error


def _vacuums(server):
    """What autovacuum has done with the table meanwhile."""
    log = (server.folder / "log").read_text(errors="replace")
    return [f"autovacuum: {found[1]} of the table, {float(found[2]):.0f} s" for found in re.finditer(
        r'automatic (?:aggressive )?(vacuum|analyze) of table "bench.qsessions.session".*?elapsed: ([0-9.]+) s', log, re.DOTALL)] or [
            "autovacuum: not of the table"]


def _sizes(server):
    """Bytes of a session in the table and in each index."""
    answer = server.sql("""
        SELECT what || ': ' || round(bytes::numeric / (SELECT count(*) FROM qsessions.session)) || ' bytes a session'
        FROM (SELECT 'the table', pg_table_size('qsessions.session'), 0 UNION ALL
              SELECT 'index ' || replace(i.indexrelid::regclass::text, 'qsessions.', ''), pg_relation_size(i.indexrelid), 1
              FROM pg_index AS i WHERE i.indrelid = 'qsessions.session'::regclass) AS size (what, bytes, rank)
        ORDER BY rank, bytes DESC""")
    return answer.splitlines()


@contextlib.contextmanager
def _folder(keep):
    """The folder for data directories, which the user of the server can enter."""
    if keep:
        folder = pathlib.Path(keep).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    # /tmp may be in memory.
    with _new_folder("/var/tmp") as folder:
        yield folder


@contextlib.contextmanager
def _new_folder(parent):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="qsessions-scale-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_room(folder, rows, keeps, is_loaded, say):
    """Says what it needs, and fails where there is less."""
    needed = rows * BYTES_OF_WORK + BYTES_FOR_ALL + rows * BYTES_LOADED * ((not is_loaded) + keeps)
    free = shutil.disk_usage(folder).free
    say(f"this needs {needed / 1e9:.1f} GB of disk in {folder}, of which {free / 1e9:.1f} GB are free, and "
        f"{'some 20 minutes' if is_loaded else 'some 30 minutes'} for ten million sessions")
    if free < needed:
        raise Failure(f"not enough disk in {folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; "
                      "set KEEP to a folder on a larger one, or BENCH_SESSIONS to fewer sessions")
    memory = _memory()
    wanted = 2 * 2**30 if rows > 1_000_000 else 2**29
    if memory < wanted:
        raise Failure(f"not enough memory: {wanted / 2**30:.1f} GB are needed, {memory / 2**30:.1f} GB are available; "
                      "set BENCH_SESSIONS to fewer sessions")


def _memory():
    """The bytes of memory that programs can have without taking it from others."""
    for line in pathlib.Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise Failure("/proc/meminfo does not say how much memory is available")
