"""Sessions of Django in PostgreSQL, by the extension qsessions."""

__version__ = "0.2.0"
