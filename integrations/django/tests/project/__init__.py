"""A small Django project that the tests serve and change."""
