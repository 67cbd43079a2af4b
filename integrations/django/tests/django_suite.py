"""Runs the tests that Django has for its own session engines with an engine of this package.

    django_suite.py FOLDER

FOLDER is the unpacked source distribution of the installed Django. PGHOST and PGUSER name the server, PGDATABASE a
template with the extension, and QSESSIONS_TEST_ENGINE the engine. Prints the results, and the tests that are left out.
"""

import os
import sys
import unittest
from importlib import import_module
from pathlib import Path

ENGINE = f"qsessions_django.backends.{os.environ.get('QSESSIONS_TEST_ENGINE', 'db')}"
# What cannot hold, by the name of the test.
LEFT_OUT = {
    "test_empty_session_saved": "looks for the key in the table, which has only the SHA-256 of keys",
}


def configure():
    """Sets up Django with the apps that its tests need."""
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="of these tests only",
        INSTALLED_APPS=[
            "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "qsessions_django"],
        DATABASES={"default": {
            "ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "USER": os.environ["PGUSER"],
            "NAME": os.environ["PGDATABASE"], "OPTIONS": {"server_side_binding": True},
            "TEST": {"NAME": f"test_{os.environ['PGDATABASE']}_suite"}}},
        SESSION_ENGINE=ENGINE, USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        MIDDLEWARE=["qsessions_django.middleware.SessionMiddleware"],
        QSESSIONS={"CACHE": {"IN_TESTS": True}})
    django.setup()


def make_suite(folder):
    """Returns the suite of the tests in Django's source."""
    from django.test import TestCase, TransactionTestCase
    from qsessions_django.middleware import SessionMiddleware

    sys.path.insert(0, str(Path(folder, "tests")))
    # The package of the tests has a model of its own, which needs an app.
    package = type(sys)("sessions_tests")
    package.__path__ = [str(Path(folder, "tests", "sessions_tests"))]
    sys.modules["sessions_tests"] = package
    models = type(sys)("sessions_tests.models")
    models.SessionStore = None
    sys.modules["sessions_tests.models"] = models
    theirs = import_module("sessions_tests.tests")
    theirs.SessionMiddleware = SessionMiddleware
    theirs.DatabaseSession = import_module(ENGINE).SessionStore

    class EngineTests(theirs.SessionTestsMixin, TransactionTestCase):
        """Each change is committed, as in a request."""

        backend = theirs.DatabaseSession

    class EngineInTransactionTests(theirs.SessionTestsMixin, TestCase):
        """All changes are those of a transaction."""

        backend = theirs.DatabaseSession

    class MiddlewareTests(theirs.SessionMiddlewareTests):
        """With the middleware of this package."""

    loader = unittest.TestLoader()
    found = [
        test for case in (MiddlewareTests, EngineInTransactionTests, EngineTests)
        for test in loader.loadTestsFromTestCase(case)]
    left_out = sorted({name for test in found if (name := test._testMethodName) in LEFT_OUT})
    for name in left_out:
        print(f"left out: {name}: {LEFT_OUT[name]}")
    return unittest.TestSuite(test for test in found if test._testMethodName not in LEFT_OUT)


def main(folder):
    """Runs the tests, and returns the status of the process."""
    import django
    from django.test.runner import DiscoverRunner

    configure()
    runner = DiscoverRunner(verbosity=1, interactive=False)
    runner.setup_test_environment()
    suite = make_suite(folder)
    databases = runner.setup_databases(aliases={"default"}, serialized_aliases=set())
    try:
        result = runner.run_suite(suite)
    finally:
        from qsessions_django import cache

        health = cache.health()
        cache.stop()
        runner.teardown_databases(databases)
        runner.teardown_test_environment()
    failed = len(result.failures) + len(result.errors)
    print(f"Django {django.__version__}, {ENGINE}; cache: {health}")
    print(f"test result: {'FAILED' if failed else 'ok'}. {result.testsRun - failed} passed; {failed} failed;")
    return 0 if result.wasSuccessful() and result.testsRun > 50 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
