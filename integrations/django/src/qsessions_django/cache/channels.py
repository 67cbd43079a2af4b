"""The channels on which the server may announce changes."""

# Most installations never have a second one.
MOST = 8


class Channels:
    """The values of qsessions.invalidation_channel that the server has reported, the latest one last."""

    def __init__(self):
        self._names = []

    def add(self, name):
        """Returns whether the channel is a new one."""
        is_new = name not in self._names
        names = [other for other in self._names if other != name] + [name]
        self._names = names[-MOST:]
        return is_new

    def __iter__(self):
        return iter(self._names)
