"""Sessions in Django's admin."""

import re

import pytest
from sessions import IPHONE, begin, queries_of, session_id
from support import USER_AGENT

LIST = "/admin/qsessions_django/session/"


@pytest.fixture
def site(application):
    """A function that returns a client that is signed in as a user, with the pages of account/urls.py."""
    from django.contrib.auth import get_user_model
    from django.test import Client, override_settings

    db = application.db
    db.rows(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {application.role}")
    db.rows(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {application.role}")
    root = get_user_model().objects.create_superuser("root", "root@example.com", "secret")

    def sign_in(user=root):
        client = Client(headers={"User-Agent": USER_AGENT})
        client.user = user
        client.force_login(user)
        client.get("/put/")
        return client

    with override_settings(ROOT_URLCONF="account.urls"):
        yield sign_in
    root.delete()
    get_user_model().objects.filter(username="viewer").delete()


@pytest.fixture
def viewer(site):
    """A user of the admin who may see sessions, and not end them."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission

    user = get_user_model().objects.create_user("viewer", password="secret", is_staff=True)
    user.user_permissions.add(
        Permission.objects.get(codename="view_session", content_type__app_label="qsessions_django"))
    return user


def key_of(client):
    """Returns the key in the cookie of a client."""
    return client.cookies["sessionid"].value


def rows_of(response):
    """Returns the number of sessions that a page of the list shows."""
    return response.content.decode().count('name="_selected_action"')


def test_the_list_shows_devices_and_users(site, ada):
    client = site()
    begin(ada, "198.51.100.7")
    page = client.get(LIST).content.decode()
    for text in ("iPhone / iOS 17.1 / Safari 17.1", "PC / Linux / Firefox 140.0", "198.51.100.7", "127.0.0.1"):
        assert text in page
    assert f'<a href="/admin/auth/user/{ada.pk}/change/">ada</a>' in page
    assert key_of(client) not in page


def test_the_number_of_queries_does_not_grow_with_the_list(site, ada, bob):
    client = site()

    def show():
        assert client.get(LIST).status_code == 200

    begin(ada)
    few = queries_of(show)
    for number in range(40):
        begin((ada, bob, None)[number % 3], f"192.0.2.{number}", (IPHONE, USER_AGENT, None)[number % 3])
    assert queries_of(show) == few < 6


def test_filters(site, db, ada):
    client = site()
    key = begin(ada)
    begin()
    db.rows("UPDATE qsessions.session SET expires_at = now() WHERE id = %s", session_id(key))
    for query, number in (
        ("", 3), ("?active=1", 2), ("?active=0", 1), ("?owner=my", 1), ("?active=1&owner=my", 1), ("?owner=none", 1),
        ("?active=0&owner=my", 0)):
        response = client.get(LIST + query)
        assert response.status_code == 200 and rows_of(response) == number, query


def test_search(site, ada, bob):
    client = site()
    key = begin(ada, "198.51.100.7")
    begin(bob, "2001:db8::7")
    for term, number in (
        ("ada", 1), ("root@example.com", 1), ("198.51", 1), ("198.51.100.0/24", 1), ("2001:db8::/32", 1),
        ("10.0.0.0/8", 0),
        (session_id(key), 1), ("nobody", 0), ("198.51.100.0/99", 0), ("%", 0), ("", 3), (key, 0)):
        response = client.get(LIST, {"q": term})
        assert response.status_code == 200 and rows_of(response) == number, term


def test_addresses_of_lists_tell_no_secrets(site, viewer, ada):
    client = site(viewer)
    begin(ada, "198.51.100.7", data='{"_csrftoken": "abc"}')
    secret = viewer.get_session_auth_hash()
    for query in (
        {"data___auth_user_hash__startswith": secret[:1]}, {"data___csrftoken": '"abc"'}, {"data__icontains": "abc"},
        {"data": '{"_csrftoken": "abc"}'}, {"user__password__startswith": "md5"}):
        assert client.get(LIST, query).status_code == 400, query
    for query, number in (
        ({"user": ada.pk}, 1), ({"user__id__exact": ada.pk}, 1), ({"ip__network": "198.51.100.0/24"}, 1),
        ({"ip": "127.0.0.1"}, 1)):
        response = client.get(LIST, query)
        assert response.status_code == 200 and response.content.count(b"field-device_line") == number, query
    assert client.get(LIST, {"ip__network": "nonsense"}).url == f"{LIST}?e=1"


def test_columns_can_be_sorted(site, ada):
    client = site()
    begin(ada)
    for column in range(1, 9):
        assert client.get(LIST, {"o": column}).status_code == 200


def test_the_detail_page(site, ada):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = site()
    key = key_of(client)
    begin(ada)
    path = f"{LIST}{session_id(key)}/change/"
    with CaptureQueriesContext(connection) as made:
        page = client.get(path).content.decode()
    assert sum("qsessions.device" in query["sql"] for query in made) == 1
    assert "FOO" in page and "Firefox" in page and "browser_version" in page and USER_AGENT in page
    # Neither the key of the session, nor the secrets in its data.
    assert key not in page and "a secret of the browser" not in page
    assert client.user.get_session_auth_hash() not in page
    assert 'name="_save"' not in page
    for wrong in ("4711", "nonsense", "00000000-0000-0000-0000-000000000000", key):
        assert client.get(f"{LIST}{wrong}/change/").status_code == 302


def test_the_detail_page_shows_no_secrets(site, ada):
    client = site()
    data = (
        '{"_password_reset_token": "abc-1", "oauth": [{"access_token": "abc-2", "state": "shown-1"}],'
        ' "_auth_user_backend": "shown-2", "api": {"Secret": {"deep": "abc-3"}}}')
    key = begin(ada, data=data)
    page = client.get(f"{LIST}{session_id(key)}/change/").content.decode()
    assert "abc" not in page and "shown-1" in page and "shown-2" in page and page.count("(hidden)") == 3


def test_sessions_are_neither_added_nor_changed(site, ada):
    client = site()
    assert client.get(f"{LIST}add/").status_code == 403
    key = begin(ada)
    response = client.post(f"{LIST}{session_id(key)}/change/", {"ip": "192.0.2.99"})
    assert response.status_code == 403


def test_sessions_are_ended(site, db, ada, bob):
    client = site()
    own, keys = key_of(client), [begin(ada), begin(bob), begin(bob)]
    chosen = [session_id(key) for key in (own, *keys[:2])]
    response = client.post(LIST, {"action": "delete_selected", "_selected_action": chosen}, follow=True)
    page = response.content.decode()
    assert "2 sessions were ended." in page and "Your own session was kept." in page
    assert [db.has_session(key) for key in (own, *keys)] == [True, False, False, True]
    logged = db.rows("SELECT object_id FROM django_admin_log WHERE user_id = %s AND action_flag = 3", client.user.pk)
    assert {entry.object_id for entry in logged} == set(chosen[1:])


def test_all_that_a_search_has_found_are_ended(site, db, ada, bob):
    client = site()
    begin(ada), begin(ada)
    kept = begin(bob)
    form = {"action": "delete_selected", "select_across": "1", "_selected_action": session_id(key_of(client))}
    response = client.post(f"{LIST}?q=ada", form, follow=True)
    assert "2 sessions were ended." in response.content.decode()
    assert not db.listed(ada) and db.has_session(kept) and db.has_session(key_of(client))


def test_more_sessions_are_ended_than_a_statement_has_parameters(site, db):
    client = site()
    db.rows("""
        INSERT INTO qsessions.session (id, digest, expires_at)
        SELECT gen_random_uuid(), sha256(i::text::bytea), now() + interval '1 day'
        FROM generate_series(1, 66000) AS i""")
    form = {"action": "delete_selected", "select_across": "1", "_selected_action": session_id(key_of(client))}
    response = client.post(f"{LIST}?owner=none", form, follow=True)
    assert "66000 sessions were ended." in response.content.decode() and db.sessions() == 1
    assert db.value("SELECT count(*) FROM django_admin_log WHERE user_id = %s", client.user.pk) == 66000


def test_with_the_statistics_of_an_empty_table_no_session_is_compared_with_each_other_one(site, db, ada):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = site()
    key = begin(ada)
    db.rows("UPDATE pg_class SET (relpages, reltuples) = (1, 0) WHERE oid = 'qsessions.session'::regclass")
    form = {"action": "delete_selected", "_selected_action": session_id(key)}
    with CaptureQueriesContext(connection) as made:
        assert client.post(LIST, form).status_code == 302
    assert not db.has_session(key)
    locking = [query["sql"] for query in made if "FOR UPDATE" in query["sql"]]
    plans = ["\n".join(line for (line,) in db.rows(f"EXPLAIN {statement}")) for statement in locking]
    assert len(plans) == 2 and not any("Join" in plan or "Nested Loop" in plan for plan in plans), plans


def test_a_session_is_ended_on_its_page(site, db, ada):
    client = site()
    key = begin(ada)
    path = f"{LIST}{session_id(key)}/delete/"
    assert "iPhone" in client.get(path).content.decode()
    assert client.post(path, {"post": "yes"}).status_code == 302
    assert not db.has_session(key)
    own = key_of(client)
    assert client.post(f"{LIST}{session_id(own)}/delete/", {"post": "yes"}).status_code == 403
    assert db.has_session(own)


def test_who_may_only_see_sessions_cannot_end_them(site, viewer, db, ada):
    client = site(viewer)
    key = begin(ada)
    page = client.get(LIST).content.decode()
    assert "iPhone" in page and not re.search(r'<option value="delete_selected"', page)
    client.post(LIST, {"action": "delete_selected", "_selected_action": session_id(key), "post": "yes"})
    assert client.post(f"{LIST}{session_id(key)}/delete/", {"post": "yes"}).status_code == 403
    assert db.has_session(key)


def test_a_visitor_may_see_nothing(site, ada):
    from django.test import Client

    assert Client().get(LIST).status_code == 302
    client = site(ada)
    assert client.get(LIST).status_code == 302


def test_html_in_data_and_browser_is_text(site, ada):
    client = site()
    key = begin(ada, user_agent="<script>alert(1)</script>", data='{"a": "<script>alert(2)</script>"}')
    for path in (LIST, f"{LIST}{session_id(key)}/change/"):
        page = client.get(path).content.decode()
        assert "<script>alert" not in page


def test_deleting_a_user_tells_of_the_sessions(site, ada):
    client = site()
    begin(ada)
    page = client.get(f"/admin/auth/user/{ada.pk}/delete/").content.decode()
    assert "session" in page.lower()
