"""The address and the browser of visitors."""

from django.http import HttpRequest
from django.test import override_settings
from qsessions_django.visitor import visitor_of
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


def client_of(trusted, peer="10.0.0.7", header="X-Forwarded-For", **headers):
    """The address of the client, by the headers of a request."""
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": peer, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}
    with override_settings(QSESSIONS={"TRUSTED_PROXIES": trusted, "PROXY_HEADER": header}):
        return visitor_of(request).ip


def test_a_forged_header_changes_nothing_without_trusted_proxies(application):
    forged = {"x_forwarded_for": "192.0.2.1", "forwarded": "for=192.0.2.1", "x_real_ip": "192.0.2.1"}
    for header in ("X-Forwarded-For", "Forwarded"):
        assert client_of([], header=header, **forged) == "10.0.0.7"
        assert client_of(["10.0.0.8/32"], header=header, **forged) == "10.0.0.7"


def test_the_last_address_that_is_no_trusted_proxy_is_the_client(application):
    trusted = ["10.0.0.0/8", "2001:db8::/32"]
    for header, client in (
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 2001:db8::1, 10.1.1.1", "192.0.2.1"),
        ("192.0.2.1:80, [2001:db8::1]:443", "192.0.2.1"),
        ("2001:db9::7, 10.1.1.1", "2001:db9::7"),
        ("::ffff:192.0.2.1, ::ffff:10.1.1.1", "192.0.2.1"),
        ("unknown, 192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, unknown", "10.0.0.7"),
        ("10.1.1.1", "10.1.1.1"),
        ("unknown", "10.0.0.7"),
        ("", "10.0.0.7"),
        ("\xe4, 192.0.2.1", "192.0.2.1"),
    ):
        assert client_of(trusted, x_forwarded_for=header) == client, header
    assert client_of(trusted) == "10.0.0.7"
    assert client_of(trusted, peer="::ffff:10.0.0.7", x_forwarded_for="192.0.2.1") == "192.0.2.1"


def test_only_the_header_that_the_proxies_write_counts(application):
    both = {"x_forwarded_for": "192.0.2.1", "forwarded": 'by=10.1.1.1;For="[2001:db9::7]:80";proto=https'}
    assert client_of(["10.0.0.0/8"], **both) == "192.0.2.1"
    assert client_of(["10.0.0.0/8"], header="forwarded", **both) == "2001:db9::7"
    for header, client in (
        ("for=203.0.113.9, for=192.0.2.1", "192.0.2.1"), ("for=_hidden", "10.0.0.7"), ("proto=https", "10.0.0.7"),
        ("for=192.0.2.1;proto=https, for=10.1.1.1", "192.0.2.1"),
    ):
        assert client_of(["10.0.0.0/8"], header="Forwarded", forwarded=header) == client, header


def test_a_proxy_behind_a_unix_socket_can_be_trusted(application):
    assert client_of(["10.0.0.0/8"], peer="", x_forwarded_for="192.0.2.1") is None
    assert client_of(["unix"], peer="", x_forwarded_for="192.0.2.1") == "192.0.2.1"
    assert client_of(["unix"], peer="10.0.0.7", x_forwarded_for="192.0.2.1") == "10.0.0.7"


def test_client_hints_are_asked_for_and_stored(db):
    browser = Browser()
    answer = browser.post("put", {"a": 1}, Sec_CH_UA_Model='"Pixel 8"', Sec_CH_UA_Nonsense="x", Sec_CH_UA="y" * 513)
    assert browser.row().client_hints == {"sec-ch-ua-model": '"Pixel 8"'}
    browser.whoami(Sec_CH_UA_Platform='"Android"')
    assert browser.row().client_hints == {"sec-ch-ua-model": '"Pixel 8"', "sec-ch-ua-platform": '"Android"'}
    assert "Sec-CH-UA-Model" in answer.headers["Accept-CH"]
    assert "Accept-CH" not in browser.get("whoami").headers
    with override_settings(QSESSIONS={"ACCEPT_CLIENT_HINTS": False}):
        assert "Accept-CH" not in browser.post("put", {"a": 2}).headers


def test_each_visit_is_recorded_once_it_is_due(db):
    browser = Browser()
    browser.post("put", {"a": 1})
    db.rows("UPDATE qsessions.session SET last_seen_at = now() - interval '1 hour', created_at = now() - interval '1 day'")
    browser.whoami()
    seen = browser.row().last_seen_at
    assert db.value("SELECT now() - %s < interval '1 minute'", seen)
    browser.whoami()
    assert browser.row().last_seen_at == seen
    browser.whoami(X_Address='"192.0.2.99"')
    assert browser.row().ip == "192.0.2.99" and browser.row().last_seen_at > seen
