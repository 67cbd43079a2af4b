"""A connection that listens, as every process that caches sessions has one, and reads what it is told."""

import socket
import struct
import threading

from server import SUPERUSER, Failure


class Listener:
    """Connected by `with`. It speaks PostgreSQL's protocol itself, for psql reads nothing while it waits for input, and who
    doesn't read what he is told has the server keep it."""

    def __init__(self, server, database, channel="qsessions"):
        self.heard = 0
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
        """Skips messages, each a letter, a length and so many bytes, up to the first of this kind."""
        letter = None
        while letter != kind:
            letter, length = struct.unpack("!ci", self._read(5))
            body = self._read(length - 4)
            if letter == b"E":
                raise Failure(f"the listener can't listen: {body!r}")

    def _read(self, length):
        bytes_read = b""
        while len(bytes_read) < length:
            more = self._socket.recv(length - len(bytes_read))
            if not more:
                raise Failure("the server has cut off the listener")
            bytes_read += more
        return bytes_read

    def _listen(self):
        """Counts bytes only: to take them apart would cost a processor that the server needs."""
        while more := self._socket.recv(1 << 16):
            self.heard += len(more)
