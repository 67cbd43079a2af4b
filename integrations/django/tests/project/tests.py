"""Tests as a project has them, which `manage.py test` runs as a role that is no superuser."""

import json

from django.contrib.auth import get_user_model
from django.test import Client, LiveServerTestCase, TestCase, TransactionTestCase
from qsessions_django.models import Session


class Steps:
    """What each kind of test does."""

    def setUp(self):
        """Finds no session of the test before."""
        self.assertEqual(Session.objects.count(), 0)
        self.ada = get_user_model().objects.create_user("ada", password="secret")

    def test_a_user_signs_in_and_is_deleted(self):
        """By forms, and by force."""
        body = json.dumps({"name": "ada", "password": "secret"})
        self.client.post("/log_in", body, content_type="application/json")
        self.assertEqual(self.client.get("/whoami").json()["user"], self.ada.pk)
        other = Client()
        other.force_login(self.ada)
        self.assertEqual(self.ada.session_set.count(), 2)
        self.ada.session_set.all().delete()
        self.assertIsNone(self.client.get("/whoami").json()["user"])
        other.force_login(self.ada)
        self.ada.delete()
        self.assertEqual(Session.objects.count(), 0)

    def test_a_session_is_kept_until_the_end(self):
        """And not longer."""
        self.client.force_login(self.ada)
        session = self.client.session
        session["cart"] = ["book"]
        session.save()
        self.assertEqual(self.client.get("/whoami").json()["data"]["cart"], ["book"])


class InTransactionTests(Steps, TestCase):
    """Each test is rolled back."""


class CommittedTests(Steps, TransactionTestCase):
    """The tables are emptied after each test."""


class ServedTests(LiveServerTestCase):
    """Requests come from another thread."""

    def test_a_page(self):
        """Is served."""
        from urllib.request import urlopen

        with urlopen(f"{self.live_server_url}/put", data=b'{"a": 1}') as answer:
            self.assertIn("sessionid=", answer.headers["Set-Cookie"])
        self.assertEqual(Session.objects.count(), 1)
