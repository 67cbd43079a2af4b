"""The address and the browser of visitors."""

from support import Browser


def test_any_remote_address_is_accepted(application):
    for sent, stored in (
        ("absent", None),
        ('""', None),
        ('"unknown"', None),
        ('"unix:"', None),
        ('"/run/shop.sock"', None),
        ('"localhost"', None),
        ('"192.0.2.7\\u0000"', "192.0.2.7"),
        ('"192.0.2.7"', "192.0.2.7"),
        ('"192.0.2.7:4711"', "192.0.2.7"),
        ('"::ffff:192.0.2.7"', "192.0.2.7"),
        ('"2001:db8::1"', "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ('"fe80::1%eth0"', "fe80::1"),
    ):
        for path, body in (("put", {"a": 1}), ("log_in", {"name": "ada", "password": "secret"})):
            browser = Browser()
            browser.post(path, body, X_Address=sent)
            browser.whoami(X_Address=sent)
            address = browser.row().ip
            assert (address and str(address).split("/")[0]) == stored, (sent, address)


def test_any_user_agent_is_accepted(application):
    for sent, stored in (
        ("", ""),
        ("curl\0/8.7.1", "curl/8.7.1"),
        ("caf\xe9", "caf\xe9"),
        ("x" * 2000, "x" * 512),
    ):
        browser = Browser()
        browser.post("put", {"a": 1}, User_Agent=sent)
        browser.whoami(User_Agent=sent)
        assert browser.row().user_agent == stored, sent[:20]
