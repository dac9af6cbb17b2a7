"""Our own secrets, in every form that an echo may give them."""

import html
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from anchore_admission.adapters.redaction import REDACTED, Redaction, pair_forms

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


@pytest.mark.parametrize("limit", range(30))
def test_a_cut_never_leaves_a_part_of_a_secret(limit: int) -> None:
    redaction = knowing("u", "topsecret")
    text = "a topsecret b topsecret c topsecret d " * 100
    clean = redaction.cut(text, limit)
    assert len(clean) == limit or REDACTED in clean
    assert len(clean) <= limit
    for part in clean.replace(REDACTED, "").split():
        assert not "topsecret".startswith(part), clean
