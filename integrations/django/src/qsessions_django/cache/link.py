"""The link to the server that notifies the cache of changes."""

import threading
from dataclasses import dataclass
from typing import NamedTuple

DOWN, LISTENING, SERVING = "down", "listening", "serving"


class Origin(NamedTuple):
    """One database of one server, which is told apart by when it was started."""

    started_at: str
    database: str


@dataclass(frozen=True)
class State:
    """Whether changes are heard, and whether a probe has shown that they are those of the application's database."""

    kind: str
    origin: Origin | None = None
    error: str | None = None
    is_permanent: bool = False


class Link:
    """The present State, and a condition that is notified when it or the freshness changes."""

    def __init__(self):
        self._changed = threading.Condition()
        self.state = State(DOWN, error="the listener is connecting")

    @property
    def is_up(self):
        """Whether changes are heard."""
        return self.state.kind != DOWN

    @property
    def is_serving(self):
        """Whether a probe was heard."""
        return self.state.kind == SERVING

    def down(self, error, is_permanent):
        """Changes are not heard any more."""
        self._set(State(DOWN, error=error, is_permanent=is_permanent))

    def listening(self, origin):
        """Changes are heard, and no probe has shown yet whose they are."""
        self._set(State(LISTENING, origin, "no probe has come back yet"))

    def serve(self):
        """A probe was heard. Returns whether it is the first one."""
        state = self.state
        if state.kind == DOWN:
            return False
        self._set(State(SERVING, state.origin))
        return state.kind == LISTENING

    def set_error(self, error):
        """Something is wrong that does not end the link."""
        state = self.state
        self._set(State(state.kind, state.origin, error, state.is_permanent))

    def wait_for(self, condition, seconds=None):
        """Waits until a condition holds, at most for a time; returns whether it does."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def _set(self, state):
        with self._changed:
            self.state = state
            self._changed.notify_all()
