"""A project that moves from another session engine: its settings before, in between and after, and its views."""
