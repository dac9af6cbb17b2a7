"""The address and the user of requests to Anchore; no secret is ever shown."""

import base64
import logging
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from anchore_admission.adapters.anchore import AnchoreEndpoint, Credentials
from anchore_admission.adapters.anchore.connect import connect
from anchore_admission.adapters.anchore.endpoint import root_of
from anchore_admission.errors import (
    AnchoreRefused,
    ConfigurationError,
    EvaluationError,
)
from anchore_admission.models.configuration import ApiVersion
from support.anchore_calls import (
    BOUNDS,
    DIGEST,
    SECRET,
    TAG,
    client,
    deadline,
    error,
    page,
    playing,
    v1_image,
)
from support.fakes import FakeRecorder

FOUND = httpx.Response(200, json=[v1_image()])


class TestAddress:
    @pytest.mark.parametrize(
        ("written", "root", "hint"),
        [
            ("http://h:8228", "http://h:8228", ApiVersion.AUTO),
            (" http://h:8228/ ", "http://h:8228", ApiVersion.AUTO),
            ("http://h:8228///", "http://h:8228", ApiVersion.AUTO),
            ("http://h:8228/v1", "http://h:8228", ApiVersion.V1),
            ("http://h:8228/v1/", "http://h:8228", ApiVersion.V1),
            ("http://h:8228/v2//", "http://h:8228", ApiVersion.V2),
            ("https://gw/anchore/v2", "https://gw/anchore", ApiVersion.V2),
            ("https://gw/anchore/", "https://gw/anchore", ApiVersion.AUTO),
            ("https://gw/v1/v2", "https://gw/v1", ApiVersion.V2),
            ("https://gw/v3", "https://gw/v3", ApiVersion.AUTO),
            ("https://gw/dev1", "https://gw/dev1", ApiVersion.AUTO),
            ("http://[::1]:8228/v2", "http://[::1]:8228", ApiVersion.V2),
        ],
    )
    def test_all_ways_to_write_it_mean_one_root(self, written: str, root: str, hint: ApiVersion) -> None:
        found = root_of(AnchoreEndpoint(written))
        assert (found.url, found.hint) == (root, hint)

    @pytest.mark.parametrize(
        "written",
        [
            *("", "h:8228", "ftp://h", "http://", f"http://u:{SECRET}@h", "http://u@h", "http://h?a=b", "http://h/#a"),
            f"http://u:2026/{SECRET}@h",
        ],
    )
    def test_anything_else_is_rejected_without_repeating_it(self, written: str) -> None:
        with pytest.raises(ConfigurationError, match="must be a plain http") as caught:
            root_of(AnchoreEndpoint(written))
        assert SECRET not in str(caught.value)

    async def test_a_prefix_stays_before_the_api_version(self) -> None:
        played = playing(FOUND)
        await client(played.transport(), url="http://gw/anchore/v2/").by_digest(DIGEST, deadline())
        assert played.asked[0].url.raw_path == f"/anchore/v1/images/{DIGEST.replace(':', '%3A')}".encode()

    async def test_paths_and_values_are_escaped(self) -> None:
        played = playing(error(404, "image not found in DB"), error(404, "image not found in DB"))
        anchore = client(played.transport())
        await anchore.by_digest("a/../b?c#d%2e", deadline())
        await anchore.by_tag("h:5000/a&b=c+d:1", deadline())
        assert [request.url.raw_path for request in played.asked] == [
            b"/v1/images/a%2F..%2Fb%3Fc%23d%252e",
            b"/v1/images?fulltag=h%3A5000%2Fa%26b%3Dc%2Bd%3A1",
        ]

    @pytest.mark.parametrize("account", ["", " a", "a\r\nx-evil: 1", "ä"])
    def test_an_account_that_no_header_can_carry_is_rejected(self, account: str) -> None:
        with pytest.raises(ConfigurationError, match="anchoreAccount"):
            client(None, anchore_account=account)


class TestWhoAsks:
    async def test_a_user_by_basic_authentication(self) -> None:
        played = playing(FOUND)
        await client(played.transport(), credentials=Credentials("ü", SecretStr("p:ß"))).by_tag(TAG, deadline())
        expected = base64.b64encode("ü:p:ß".encode()).decode()
        assert played.asked[0].headers["authorization"] == f"Basic {expected}"

    async def test_an_api_key_as_the_user_that_all_keys_share(self) -> None:
        played = playing(FOUND)
        await client(played.transport(), credentials=Credentials.api_key(SecretStr("k1"))).by_tag(TAG, deadline())
        assert base64.b64decode(played.asked[0].headers["authorization"].removeprefix("Basic ")) == b"_api_key:k1"

    async def test_no_credentials_means_no_authorization_header(self) -> None:
        played = playing(FOUND)
        await client(played.transport(), credentials=None).by_tag(TAG, deadline())
        assert "authorization" not in played.asked[0].headers

    async def test_credentials_that_rotate_are_used_from_the_next_call_on(self) -> None:
        class Rotating:
            now = Credentials("old", SecretStr("a"))

            def current(self) -> Credentials:
                return self.now

        played, rotating = playing(FOUND, FOUND, FOUND), Rotating()
        anchore = client(played.transport(), credentials=rotating)
        await anchore.by_tag(TAG, deadline())
        await anchore.by_tag(TAG, deadline())
        rotating.now = Credentials("new", SecretStr("b"))
        await anchore.by_tag(TAG, deadline())
        sent = [base64.b64decode(request.headers["authorization"][6:]) for request in played.asked]
        assert sent == [b"old:a", b"old:a", b"new:b"]

    async def test_credentials_that_cannot_be_read_are_no_verdict(self) -> None:
        class Lost:
            def current(self) -> Credentials:
                raise AnchoreRefused("the credentials cannot be read")

        played, recorder = playing(FOUND), FakeRecorder()
        with pytest.raises(AnchoreRefused, match="cannot be read"):
            await client(played.transport(), credentials=Lost(), recorder=recorder).by_tag(TAG, deadline())
        assert (played.asked, recorder.outcomes) == ([], ["refused"])

    async def test_another_account_by_header(self) -> None:
        played = playing(FOUND, FOUND)
        await client(played.transport(), anchore_account="team-a").by_tag(TAG, deadline())
        await client(played.transport()).by_tag(TAG, deadline())
        assert [request.headers.get("x-anchore-account") for request in played.asked] == ["team-a", None]

    @pytest.mark.parametrize(
        "answer", [httpx.Response(401, text="Unauthorized"), error(403, "Not authorized."), page()]
    )
    async def test_no_secret_is_logged_or_raised(
        self, answer: httpx.Response, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with pytest.raises(EvaluationError) as caught:
            await client(playing(answer).transport()).by_tag(TAG, deadline())
        output = f"{caplog.text}{caught.value!r}"
        for secret in (SECRET, base64.b64encode(f"admin:{SECRET}".encode()).decode(), "uthorization: B"):
            assert secret not in output
        assert "Anchore account default, by_tag" in caplog.text


def test_a_ca_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Any) -> None:
    wrong = tmp_path / "ca.crt"
    wrong.write_text("no certificate")
    for path in (wrong, tmp_path / "missing.crt"):
        endpoint = AnchoreEndpoint("https://h", ca_file=str(path))
        with pytest.raises(ConfigurationError, match="caFile"):
            connect(endpoint, None, name="default", recorder=FakeRecorder(), bounds=BOUNDS)
