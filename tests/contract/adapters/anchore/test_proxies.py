"""Proxy variables as people write them: what counts, what is ignored and said, and nothing secret in it."""

import logging
from base64 import b64encode

import pytest

from anchore_admission.adapters.proxies import Proxy, proxy_for
from anchore_admission.redaction import redacted

PLAIN, TLS = "http://anchore.example.com:8228", "https://anchore.example.com"
PROXY = "http://proxy.example.com:3128"


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        (PLAIN, {}, None),
        (PLAIN, {"HTTP_PROXY": PROXY}, PROXY),
        (PLAIN, {"http_proxy": PROXY}, PROXY),
        (PLAIN, {"http_proxy": PROXY, "HTTP_PROXY": "http://other:1"}, PROXY),
        (PLAIN, {"HTTP_PROXY": ""}, None),
        (PLAIN, {"HTTPS_PROXY": PROXY}, None),
        (TLS, {"HTTPS_PROXY": PROXY}, PROXY),
        (TLS, {"HTTP_PROXY": PROXY}, None),
        (TLS, {"ALL_PROXY": PROXY}, PROXY),
        (TLS, {"HTTPS_PROXY": "proxy.example.com:3128"}, PROXY),
        (TLS, {"HTTPS_PROXY": "http://proxy.example.com/"}, "http://proxy.example.com:80"),
        (TLS, {"HTTPS_PROXY": "https://proxy.example.com"}, "https://proxy.example.com:443"),
        (TLS, {"HTTPS_PROXY": "HTTP://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
    ],
)
def test_the_variable_of_the_scheme_counts(url: str, environ: dict[str, str], expected: str | None) -> None:
    found = proxy_for(url, environ)
    assert (found.url if found else None) == expected


@pytest.mark.parametrize(
    ("exempt", "host", "is_exempt"),
    [
        ("*", "anchore.example.com", True),
        ("anchore.example.com", "anchore.example.com", True),
        ("ANCHORE.example.com.", "anchore.example.com", True),
        ("example.com", "anchore.example.com", True),
        (".example.com", "anchore.example.com", True),
        ("*.example.com", "anchore.example.com", True),
        ("ample.com", "anchore.example.com", False),
        (".svc", "anchore.team.svc", True),
        (".example.com:8228", "anchore.example.com", True),
        (".example.com:443", "anchore.example.com", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "anchore.example.com", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "[fd00::5]", True),
        ("[fd00::]/8", "[fd00::5]", True),
        ("fd00:10:96::/112", "[fd01::5]", False),
        ("::1/128", "[::1]", True),
        ("[::1]", "[::1]", True),
        ("::1", "[::1]", True),
        ("[fd00::1]:8228", "[fd00::1]", True),
        ("[fd00::1]:443", "[fd00::1]", False),
        ("localhost,127.0.0.1 , .svc", "anchore.svc", True),
        ("localhost 127.0.0.1", "127.0.0.1", True),
        ("", "anchore.example.com", False),
        (",:8228,.,", "anchore.example.com", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_hosts_and_ranges_are_exempt(exempt: str, host: str, *, is_exempt: bool, name: str) -> None:
    found = proxy_for(f"http://{host}:8228", {"HTTP_PROXY": PROXY, name: exempt})
    assert (found is None) == is_exempt


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ("proxy.example.com:port", "with a number as the port"),
        ("http://proxy.example.com:99999", "with a number as the port"),
        ("http://", "expected http://host:port"),
        ("http://[fd00::1", "expected http://host:port"),
        ("ftp://127.0.0.1:21", "ftp is not a proxy scheme"),
        ("socks5://127.0.0.1:1080", "SOCKS proxies are not supported"),
        ("SOCKS5H://127.0.0.1:1080", "SOCKS proxies are not supported"),
        ("http://svc-user:Secret#Pw1@proxy.example.com:3128", "write them as %2F, %3F and %23"),
        ("http://svc-user:Secret/Pw1@proxy.example.com:3128", "write them as %2F, %3F and %23"),
        ("http://svc-user:Secret?Pw1@proxy.example.com:3128", "write them as %2F, %3F and %23"),
        ("svc-user:Secret#Pw1@proxy.example.com:3128", "write them as %2F, %3F and %23"),
        ("socks5://svc-user:Secret/Pw1@proxy.example.com:1080", "SOCKS proxies are not supported"),
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_an_address_that_cannot_be_used_is_named_and_ignored(
    name: str, value: str, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert proxy_for(TLS, {name: value}) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"invalid {name}: ")
    assert record.getMessage().endswith("; the variable is ignored")
    assert cause in record.getMessage()
    assert "Pw1" not in record.getMessage()


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "fd00::/x", "example.com/path"])
def test_an_exemption_that_cannot_be_used_is_named_and_ignored(entry: str, caplog: pytest.LogCaptureFixture) -> None:
    assert proxy_for(TLS, {"HTTPS_PROXY": PROXY, "NO_PROXY": f"localhost,{entry}"}) == Proxy(PROXY)
    assert [record.getMessage() for record in caplog.records] == [
        f"invalid entry in NO_PROXY: {entry}; the entry is ignored"
    ]


@pytest.mark.parametrize(
    ("user_info", "pair"),
    [
        ("user:pass", "user:pass"),
        ("user:Se%23cret%2FPw", "user:Se#cret/Pw"),
        ("user:a@b", "user:a@b"),
        ("user:a:b", "user:a:b"),
        ("user", "user:"),
    ],
)
def test_credentials_are_sent_decoded_and_shown_nowhere(user_info: str, pair: str) -> None:
    found = proxy_for(TLS, {"HTTPS_PROXY": f"http://{user_info}@proxy.example.com:3128"})
    assert found == Proxy(PROXY, f"Basic {b64encode(pair.encode()).decode()}")
    assert found.authorization not in repr(found)


@pytest.mark.parametrize("secret", ["Secret#Pw1", "Secret/Pw1", "Secret?Pw1", "Secret%23Pw1", "Sec@ret:Pw1"])
def test_a_password_is_redacted_from_other_texts_even_if_the_address_cannot_be_read(secret: str) -> None:
    proxy_for(TLS, {"HTTPS_PROXY": f"http://svc-user:{secret}@proxy.example.com:3128"})
    assert "Pw1" not in redacted(f"cannot connect to http://svc-user:{secret}@proxy.example.com:3128")


@pytest.mark.parametrize("address", ["http://t0ken-Pw1@proxy.example.com:3128", "http://t0ken-Pw1:@proxy.example.com"])
def test_a_token_in_place_of_a_user_name_is_redacted(address: str) -> None:
    proxy_for("http://anchore.test", {"http_proxy": address})
    for text in ("t0ken-Pw1", b64encode(b"t0ken-Pw1:").decode()):
        assert redacted(f"sent {text}").startswith("sent [redacted]")
