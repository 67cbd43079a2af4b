"""What caches receive to know that they are up to date: with probes of each, and with heartbeats for all."""

import selectors
import time

from listener import Listener
from server import SUPERUSER, UNLOADED, Server

LISTENERS = (2, 20, 200)
# Four times within two seconds, the default of max_staleness.
PER_SECOND = 2
SETTINGS = "max_connections = 250\n"
SECONDS = 10
WARM_UP = 2
PROBE = "SELECT qsessions.invalidate(gen_random_uuid());"
HEARTBEAT = "SELECT qsessions.request_heartbeat();"
RING, NOTIFY = "ring", "notify"
WANTED = 11
_LINE = "{:>9}  {:<10} {:<7} {:>9} {:>9} {:>10} {:>10}"


def measure(say):
    """The lines of the report, and whether listeners receive as little as is wanted."""
    lines = [f"each listener stands for a process that asks {PER_SECOND} times a second, for {SECONDS} s; messages and ids",
             "for each listener and second, and milliseconds of the server's processor time for each second", "",
             _LINE.format("listeners", "asks by", "mode", "messages", "ids", "ms", "ms ÷ probes")]
    good = True
    with Server(SETTINGS) as preloaded, Server(SETTINGS + UNLOADED) as plain:
        servers = {RING: preloaded, NOTIFY: plain}
        for server in servers.values():
            server.sql("CREATE DATABASE bench", "postgres")
            server.sql("CREATE EXTENSION qsessions; SELECT qsessions.create_session_table()")
        for count in LISTENERS:
            say(f"{count} listeners")
            spent = None
            for asks, statement, mode in (("probe", PROBE, RING), ("heartbeat", HEARTBEAT, RING), ("probe", PROBE, NOTIFY)):
                messages, ids, millis = _count(servers[mode], count, statement)
                spent = spent or millis
                if asks == "heartbeat":
                    good &= messages <= WANTED
                lines.append(_LINE.format(
                    count, asks, mode, f"{messages:.1f}", f"{ids:.1f}", f"{millis:.0f}", f"{millis / spent:.2f}"))
    lines.append(f"at most {WANTED} messages are wanted with heartbeats: {'ok' if good else 'short'}")
    return lines, good


def _count(server, count, statement):
    """Messages and ids that a listener receives in a second, and the server's processor time in milliseconds."""
    folder = server.make_folder("freshness")
    script = folder / "script.sql"
    script.write_text(statement + "\n", encoding="utf-8")
    with selectors.DefaultSelector() as selector:
        listeners = [Counting(server, "bench") for _ in range(count)]
        for listener in listeners:
            selector.register(listener, selectors.EVENT_READ, listener)
        asking = server.start(
            "pgbench", "-n", "-M", "prepared", "-c", min(count, 8), "-j", 1, "-T", SECONDS + WARM_UP + 1,
            "-R", PER_SECOND * count, "-f", script, f"host={server.folder} user={SUPERUSER} dbname=bench",
            output=folder / "output")
        _receive(selector, WARM_UP)
        for listener in listeners:
            listener.messages = listener.ids = 0
        before, began = server.processor_seconds(), time.monotonic()
        _receive(selector, SECONDS)
        seconds = time.monotonic() - began
        spent = server.processor_seconds() - before
        if asking.wait():
            raise AssertionError((folder / "output").read_text(encoding="utf-8"))
        for listener in listeners:
            selector.unregister(listener)
            listener.close()
    if not all(listener.messages for listener in listeners):
        raise AssertionError("a listener has received nothing")
    messages = sum(listener.messages for listener in listeners)
    ids = sum(listener.ids for listener in listeners)
    return messages / count / seconds, ids / count / seconds, spent * 1000 / seconds


def _receive(selector, seconds):
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0:
        for key, _ in selector.select(rest):
            key.data.receive()


class Counting(Listener):
    """Counts notifications and the ids in them; many are read by one thread."""

    def __init__(self, server, database):
        super().__init__(server, database)
        self.messages = self.ids = 0
        self._rest = b""

    def fileno(self):
        return self._socket.fileno()

    def close(self):
        self._socket.close()

    def receive(self):
        data = self._rest + self._socket.recv(1 << 16)
        while len(data) >= 5:
            end = 1 + int.from_bytes(data[1:5], "big")
            if len(data) < end:
                break
            if data[:1] == b"A":
                self.messages += 1
                # Behind the length and the process, which are binary.
                self.ids += data[9:end].count(b",") + 1
            data = data[end:]
        self._rest = data
