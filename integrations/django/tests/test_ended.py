"""Sessions that have ended, and keys that open none."""

from support import IS_ASYNC, Browser, assert_belongs_to


def test_a_session_that_has_ended_meanwhile_does_not_come_back(db, bob):
    changes = (
        ("put", {"a": 1}),
        ("put", {"_auth_user_id": bob.pk}),
        ("pop", "_auth_user_id"),
        ("cycle", None),
        ("create", None),
        ("change_password", {"password": "secret"}),
        ("expire", (3600, "number")),
    )
    if IS_ASYNC:
        changes += (("async_change_password", {"password": "secret"}), ("async_put", {"a": 1}), ("async_cycle", None))
    for path, body in changes:
        browser = Browser()
        browser.log_in("ada")
        browser.post(path, body, expected=400, X_Meanwhile="end")
        assert db.sessions() == 0, path
        assert browser.whoami()["user"] is None, path
    for path, body in (("put", {"a": 1}), ("cycle", None)):
        browser = Browser()
        browser.post("put", {"cart": []})
        browser.post(path, body, expected=400, X_Meanwhile="end")
        assert db.sessions() == 0, path


def test_a_view_that_fails_does_not_change_the_session(ada):
    browser = Browser()
    browser.log_in("ada")
    key = browser.key
    browser.post("fail", expected=500)
    assert browser.key == key
    assert_belongs_to(browser, ada)


def test_a_cookie_of_no_session_begins_a_new_session(db):
    for cookie in (
        "",
        "short",
        '"\\000aaaaaaaaaaaa"',
        "aaaaaaaa\0aaaaaaaa",
        '"\\355\\240\\200aaaaaaaa"',
        "caf\xe9caf\xe9caf\xe9",
        "x" * 513,
        "x" * 5000,
        "nobodyhasthiskey",
        "A" * 48,
    ):
        for path, body in (
            ("whoami", None), ("put", {"a": 1}), ("clear", {"a": 1}), ("cycle", None),
            ("pop", "_auth_user_id"), ("log_out", None), ("expire", (-10, "number")), ("put", {"a": 1}),
            ("log_in", {"name": "ada", "password": "secret"}),
        ):
            browser = Browser()
            browser.post(path, body, Cookie=f"sessionid={cookie}")
            assert browser.key != cookie, path
    assert db.sessions() > 0
    assert not any(db.has_session(key) for key in ("x" * 512, "nobodyhasthiskey", "A" * 48))


def test_an_expiry_in_the_past_ends_the_session(db):
    for value in ((-10, "number"), (-10, "timedelta"), (-10, "datetime"), (0, "timedelta")):
        for name in ("ada", None):
            for begins in (False, True):
                browser = Browser()
                if name:
                    browser.log_in(name)
                elif begins:
                    browser.post("put", {"a": 1})
                browser.post("expire", value)
                assert browser.key is None and db.sessions() == 0, (value, name)


def test_the_expiry_of_django_is_stored(ada):
    def lifetime(browser):
        row = browser.row()
        return (row.expires_at - row.updated_at).total_seconds()

    for name in ("ada", None):
        browser = Browser()
        if name:
            browser.log_in(name)
        answer = browser.post("expire", (3600, "number"))
        assert answer.cookie["sessionid"]["max-age"] == "3600" and lifetime(browser) == 3600
        browser.post("expire", (7200, "timedelta"))
        assert 3600 < lifetime(browser) <= 7200
        answer = browser.post("expire", (0, "number"))
        assert answer.cookie["sessionid"]["max-age"] == "" and lifetime(browser) == 14 * 86400
        assert browser.whoami()["user"] == (ada.pk if name else None)
