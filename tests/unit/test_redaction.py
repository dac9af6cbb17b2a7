"""Our own secrets, in every form that an echo may give them."""

import html
import json
import re
import sys
import threading
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html.entities import codepoint2name
from urllib.parse import quote, quote_plus

import pytest

from anchore_admission.redaction import REDACTED, Redaction, pair_forms

PASSWORD = 'p&ß"w\\/?#<1>=+ é'
PAIR = f"svc-user:{PASSWORD}"
FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: text,
    "URL": lambda text: quote(text, safe=""),
    "URL, lower case": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe="")),
    "URL, slashes kept": quote,
    "form": quote_plus,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, not ASCII": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON, slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "HTML": html.escape,
    "HTML, names": lambda text: "".join(f"&{codepoint2name[ord(c)]};" if ord(c) in codepoint2name else c for c in text),
    "XML": lambda text: html.escape(text).replace("&#x27;", "&apos;"),
    "HTML, all numbers": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "HTML, escaped twice": lambda text: html.escape(html.escape(text)),
    "URL, all of it": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "URL, escaped twice": lambda text: quote(quote(text, safe=""), safe=""),
    "URL, Latin-1": lambda text: quote(text.encode("latin-1"), safe=""),
    "JSON, all of it": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "Python's bytes": lambda text: repr(text.encode())[2:-1],
    "UTF-8 as Latin-1": lambda text: text.encode().decode("latin-1"),
    "UTF-8 as Windows-1252": lambda text: text.encode().decode("cp1252", "replace"),
    "Latin-1 as UTF-8": lambda text: text.encode("latin-1").decode(errors="replace"),
    "ASCII": lambda text: text.encode("ascii", "replace").decode(),
    "UTF-16": lambda text: text.encode("utf-16-be").decode("latin-1").lstrip("\0"),
    "wrapped": lambda text: "\r\n".join(text[i : i + 7] for i in range(0, len(text), 7)),
    "zero-width spaces": "\u200b".join,
    "HTML, numbers": lambda text: "".join(c if c.isalnum() and c.isascii() else f"&#{ord(c)};" for c in text),
}
ENCODINGS: dict[str, Callable[[str], str]] = {
    "pair": lambda text: text,
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64url": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "base64, no padding": lambda text: b64encode(text.encode()).decode().rstrip("="),
}


def knowing(username: str = "svc-user", password: str = PASSWORD) -> Redaction:
    redaction = Redaction()
    redaction.remember("account", pair_forms(username, password))
    return redaction


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("secret", [PASSWORD, PAIR], ids=["password", "pair"])
def test_a_secret_is_redacted_in_every_form(form: str, encoding: str, secret: str) -> None:
    echoed = FORMS[form](ENCODINGS[encoding](secret))
    clean = knowing().apply(f"you sent <{echoed}>")
    assert echoed.rstrip("=") not in clean
    assert clean.startswith(f"you sent <{REDACTED}")


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"UTF-16", "wrapped", "zero-width spaces"}))
@pytest.mark.parametrize("password", ["a%41b%2Fc", r"hunt\x41\u0041\n\\er", "&amp;&lt;x&#65;", "tab\there", "%%%%%%"])
def test_a_password_that_looks_like_an_escape_is_redacted(form: str, password: str) -> None:
    echoed = FORMS[form](password)
    clean = knowing(password=password).apply(f"you sent <{echoed}>")
    assert clean == f"you sent <{REDACTED}>"


@pytest.mark.parametrize("before", ["", "x", "xy", "Authorization: "])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_a_password_is_redacted_within_longer_base64(before: str, encode: Callable[[bytes], bytes]) -> None:
    clean = knowing(password="hunter2-?>not-to-be-seen").apply(
        encode(f"{before}hunter2-?>not-to-be-seen".encode()).decode()
    )
    left = len(clean.replace(REDACTED, ""))
    assert REDACTED in clean
    assert left <= len(before) * 4 // 3 + 8


@pytest.mark.parametrize(
    "text",
    [
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl",
        *(f"-----BEGIN {kind}PRIVATE KEY-----\nMIIEvQIBADANBg\n" for kind in ("", "EC ", "RSA ", "ENCRYPTED ")),
    ],
)
def test_tokens_and_private_keys_are_redacted_unknown(text: str) -> None:
    assert Redaction().apply(f"sent {text}") == f"sent {REDACTED}"
    if text.startswith("-"):
        assert Redaction().apply(f"sent {b64encode(text.encode()).decode()} to") == f"sent {REDACTED} to"


def test_text_beside_a_secret_stays() -> None:
    text = "100% of \\x41 &amp; a%2Fb <{}> é\tC:\\new\\table &nbsp; %zz &copy"
    assert knowing(password="hunter2").apply(text.format("hunter%32")) == text.format(REDACTED)


def test_a_short_password_leaves_words_alone_but_not_its_pair() -> None:
    redaction = knowing("admin", "ok")
    assert redaction.apply("that is ok") == "that is ok"
    assert redaction.apply("admin:ok") == REDACTED
    assert redaction.apply(b64encode(b"admin:ok").decode()) == f"{REDACTED}="


def test_a_header_that_is_not_known_is_redacted() -> None:
    assert Redaction().apply("Authorization: Basic YWRtaW46cGFzc3dvcmQ=, …") == f"Authorization: Basic {REDACTED}, …"
    assert Redaction().apply("authorization: bearer eyJhbGciOiJIUzI1NiJ9.e30.x") == f"authorization: bearer {REDACTED}"
    assert Redaction().apply("Basic authentication is not on") == "Basic authentication is not on"


def test_secrets_that_rotated_are_redacted_for_one_more_rotation() -> None:
    redaction = Redaction()
    for secret in ("first-one", "second-one", "third-one", "third-one"):
        redaction.remember("account", [secret])
    assert redaction.apply("first-one second-one third-one") == f"first-one {REDACTED} {REDACTED}"


def test_accounts_do_not_push_out_each_other() -> None:
    redaction = Redaction()
    for number in range(10):
        redaction.remember(f"account {number}", [f"password-{number}"])
    assert redaction.apply("password-0") == REDACTED


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Make threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_secrets_that_threads_learn_at_once_are_all_redacted() -> None:
    owners = range(8)
    with ThreadPoolExecutor(len(owners)) as threads:
        for _ in range(50):
            redaction, together = Redaction(), threading.Barrier(len(owners))

            def learn(owner: int, redaction: Redaction = redaction, together: threading.Barrier = together) -> None:
                together.wait()
                redaction.remember(f"account {owner}", [f"password-{owner}"])

            list(threads.map(learn, owners))
            assert [redaction.apply(f"password-{owner}") for owner in owners] == [REDACTED] * len(owners)


@pytest.mark.parametrize("limit", range(30))
def test_a_cut_never_leaves_a_part_of_a_secret(limit: int) -> None:
    redaction = knowing("u", "topsecret")
    text = "a topsecret b topsecret c topsecret d " * 100
    clean = redaction.cut(text, limit)
    assert len(clean) == limit or REDACTED in clean
    assert len(clean) <= limit
    for part in clean.replace(REDACTED, "").split():
        assert not "topsecret".startswith(part), clean
