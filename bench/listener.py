"""A connection that has executed LISTEN and reads all notifications, as every process that caches sessions does."""

import socket
import struct
import threading

from server import SUPERUSER, Failure


class Listener:
    """Connected by `with`. It implements PostgreSQL's protocol itself: psql reads nothing while it waits for input, and the
    server would have to keep the notifications."""

    def __init__(self, server, database, channel="qsessions"):
        self.bytes_received = 0
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.folder / ".s.PGSQL.5432"))
        names = b"".join(text.encode() + b"\0" for text in ("user", SUPERUSER, "database", database, ""))
        self._socket.sendall(struct.pack("!ii", len(names) + 8, 3 << 16) + names)
        self._wait_for(b"Z")
        query = f"LISTEN {channel}".encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
        self._wait_for(b"Z")
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _wait_for(self, kind):
        """Skips messages up to the first of this kind. Each has a letter, a length and that many bytes."""
        letter = None
        while letter != kind:
            letter, length = struct.unpack("!ci", self._read(5))
            body = self._read(length - 4)
            if letter == b"E":
                raise Failure(f"LISTEN failed: {body!r}")

    def _read(self, length):
        bytes_read = b""
        while len(bytes_read) < length:
            more = self._socket.recv(length - len(bytes_read))
            if not more:
                raise Failure("the server has closed the connection of the listener")
            bytes_read += more
        return bytes_read

    def _listen(self):
        """Counts bytes only: parsing them would take processor time that the server needs."""
        while more := self._socket.recv(1 << 16):
            self.bytes_received += len(more)
