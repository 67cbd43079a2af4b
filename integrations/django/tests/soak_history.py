"""Histories of the random test of caches, in the form of tests/soak/src/history.rs, and the keys of all processes."""

import json
import threading
import time


def key_hash(key):
    """The hash of history::KeyHash: SipHash-1-3 without a key, of the text and a byte 0xff."""
    data = key.encode() + b"\xff"
    mask = 2**64 - 1
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]

    def rotate(x, n):
        return (x << n | x >> (64 - n)) & mask

    def mix():
        v[0] = (v[0] + v[1]) & mask
        v[1] = rotate(v[1], 13) ^ v[0]
        v[0] = rotate(v[0], 32)
        v[2] = (v[2] + v[3]) & mask
        v[3] = rotate(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & mask
        v[3] = rotate(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & mask
        v[1] = rotate(v[1], 17) ^ v[2]
        v[2] = rotate(v[2], 32)

    whole = len(data) // 8 * 8
    words = [int.from_bytes(data[at:at + 8], "little") for at in range(0, whole, 8)]
    words.append(int.from_bytes(data[whole:], "little") | (len(data) & 0xFF) << 56)
    for word in words:
        v[3] ^= word
        mix()
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(3):
        mix()
    return v[0] ^ v[1] ^ v[2] ^ v[3]


class Keyring:
    """The keys of all processes, in a file to which each appends."""

    def __init__(self, folder):
        self._writer = open(folder / "keys", "ab", buffering=0)
        self._reader = open(folder / "keys", "rb")
        self._rest = b""
        self._keys = []
        self._lock = threading.Lock()

    def publish(self, key):
        """Adds a key."""
        from qsessions_django import sql

        self._writer.write(f"{sql.session_id(key)} {key}\n".encode())

    def pick(self, rng):
        """Returns a random key, usually a recent one, with its id; None without any."""
        with self._lock:
            *lines, self._rest = (self._rest + self._reader.read()).split(b"\n")
            self._keys += [line.decode().split(" ", 1) for line in lines]
            among = rng.choice([24] * 6 + [250] * 3 + [len(self._keys)])
            return rng.choice(self._keys[-among:]) if self._keys else None


class Log:
    """The history of this process."""

    def __init__(self, folder, process):
        self._file = open(folder / f"history-{process}.jsonl", "w", encoding="utf-8")
        self._process = process
        self._lock = threading.Lock()
        # Changes that have not ended, by their threads.
        self.running = {}
        self._is_closed = False

    def write(self, operation, start, end, deed):
        """Records a call."""
        line = json.dumps({
            "process": self._process, "operation": operation, "start": start, "end": end, "deed": deed})
        with self._lock:
            if not self._is_closed:
                self._file.write(line + "\n")

    def finish(self):
        """Records the changes that have not ended, and closes the file."""
        for operation, start, effects in list(self.running.values()):
            self.write(operation, start, time.monotonic_ns(), change("Unknown", None, effects))
        with self._lock:
            self._is_closed = True
            self._file.close()


def change(outcome, known, effects):
    """A Deed."""
    return {"Change": {"outcome": outcome, "known": known, "effects": effects}}


def saved(session_id, token):
    """An Effect."""
    return {"Saved": {"id": session_id, "version": None, "token": token}}


def ended(session_id):
    """An Effect."""
    return {"Ended": {"who": {"Session": session_id}, "except": None}}


def began(key, token, expires):
    """The Effects of a new session."""
    from qsessions_django import sql

    session_id = sql.session_id(key)
    return [
        {"KeyBegan": {"id": session_id, "key": key_hash(key)}},
        {"Saved": {"id": session_id, "version": 1, "token": token}},
        {"Expires": {"id": session_id, "at": expires}}]
