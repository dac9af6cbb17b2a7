"""API v2 by hand-made exchanges: no recording exists, so every shape its schema allows must be met with care."""

import json
from typing import Any

import httpx
import pytest

from anchore_admission.core.facts import (
    AnalysisState,
    ImageRecord,
    TagRow,
)
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import (
    AnalysisRefused,
    AnchoreRefused,
    AnchoreResponseInvalid,
    EvaluationError,
)
from support.anchore_calls import DIGEST, OTHER, TAG, deadline, error, problem
from support.anchore_v2 import NEW, OLD, asking, image, refusal

ABSENT = {
    "404": error(404, "Image not found"),
    "404 as v1 says it": error(404, "image data not found in DB"),
    "404 in other words": error(404, "No record exists for the requested tag or digest"),
    "404 by the specification's members": httpx.Response(404, json={"message": "gone", "code": 404}),
    "404 with an error type": httpx.Response(404, json={"message": "gone", "error_type": "NotFound"}),
    "404 with nothing but the message": httpx.Response(404, json={"message": "Image not found"}),
}


class TestByTag:
    async def test_sends_the_parameter_by_its_name_in_v2(self) -> None:
        anchore, played = asking({"items": [image()]})
        record = await anchore.by_tag(TAG, deadline())
        assert record == ImageRecord(DIGEST, AnalysisState.ANALYZED, (TagRow(TAG, OLD),))
        (request,) = played.asked
        assert (request.method, request.url.path, dict(request.url.params)) == ("GET", "/v2/images", {"full_tag": TAG})

    @pytest.mark.parametrize(
        "answer",
        [{"items": []}, {}, {"items": None}, *ABSENT.values()],
        ids=["empty", "no items", "null items", *ABSENT],
    )
    async def test_no_image(self, answer: httpx.Response | Any) -> None:
        anchore, _ = asking(answer)
        assert await anchore.by_tag(TAG, deadline()) is None

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ([image(OTHER, ("r/x:1", NEW)), image(DIGEST)], DIGEST),
            ([image(DIGEST, (TAG, NEW)), image(OTHER, (TAG, OLD))], DIGEST),
            ([image(OTHER, ("r/x:1", NEW), (TAG, OLD)), image(DIGEST, (TAG, NEW))], DIGEST),
            ([image(OTHER, (TAG, NEW), image_status="deleting") | {"image_status": "deleting"}, image(DIGEST)], DIGEST),
            ([image(DIGEST, image_status="active")], DIGEST),
            ([image(OTHER, ("r/x:1", OLD))], None),
            ([image(OTHER, image_status="disabled")], None),
            ([image(OTHER, (TAG, "2026-02-01T01:00:00+02:00")), image(DIGEST, (TAG, NEW))], DIGEST),
            ([image(OTHER, (TAG, "soon")), image(DIGEST, (TAG, OLD))], DIGEST),
            ([{"image_digest": OTHER}, image(DIGEST)], DIGEST),
        ],
        ids=[
            "every image came back",
            "newest first",
            "newest by the tag's own time",
            "not active",
            "active by name",
            "only others",
            "only one that is not active",
            "times with an offset",
            "an unreadable time",
            "a row without anything",
        ],
    )
    async def test_takes_the_newest_active_row_that_carries_the_tag(
        self, rows: list[dict[str, Any]], expected: str | None
    ) -> None:
        anchore, _ = asking({"items": rows})
        record = await anchore.by_tag(TAG, deadline())
        assert (record.digest if record else None) == expected

    async def test_rows_of_one_time_are_ordered_by_the_creation_of_the_tag(self) -> None:
        first, second = image(OTHER), image(DIGEST)
        first["image_detail"][0]["created_at"], second["image_detail"][0]["created_at"] = OLD, NEW
        anchore, _ = asking({"items": [second, first]})
        record = await anchore.by_tag(TAG, deadline())
        assert record is not None
        assert record.digest == DIGEST

    async def test_fractions_and_offsets_of_times_are_made_one_form(self) -> None:
        rows = image(DIGEST, (TAG, "2026-02-01T01:02:03.456+01:00"), ("r/x:1", ""), ("r/x:2", "2026-02-01T00:00:00"))
        anchore, _ = asking({"items": [rows]})
        record = await anchore.by_tag(TAG, deadline())
        assert record is not None
        assert record.tags == (TagRow(TAG, "2026-02-01T00:02:03Z"), TagRow("r/x:1"), TagRow("r/x:2", NEW))

    @pytest.mark.parametrize(
        ("answer", "kind", "text"),
        [
            (
                {"items": [image(analysis_status="enchanted")]},
                AnchoreResponseInvalid,
                "unknown analysis state: enchanted",
            ),
            ({"items": [image() | {"analysis_status": None}]}, AnchoreResponseInvalid, "unknown analysis state: none"),
            ({"items": [image() | {"image_digest": None}]}, AnchoreResponseInvalid, "names no digest"),
            ({"items": [image("latest")]}, AnchoreResponseInvalid, "names no digest"),
            ({"items": [image(f"sha256:{'a' * 1000}")]}, AnchoreResponseInvalid, "names no digest"),
            ([image()], AnchoreResponseInvalid, "does not match its API"),
            ("v2", AnchoreResponseInvalid, "does not match its API"),
            (error(404, "User account not found"), AnchoreRefused, "User account not found"),
            (error(404, "Account not found: team"), AnchoreRefused, "Account not found: team"),
            (httpx.Response(404, json={"message": "no Route matched"}), AnchoreRefused, "no Route matched"),
            (httpx.Response(404, json="gone"), AnchoreRefused, "gone"),
            (httpx.Response(404, json={"message": "x", "detail": "a text"}), AnchoreResponseInvalid, "no Anchore API"),
            (httpx.Response(404, json={"httpcode": 404}), AnchoreResponseInvalid, "no Anchore API at this address"),
            (problem(404), AnchoreResponseInvalid, "no Anchore API at this address"),
            (problem(404, "Image not found"), AnchoreResponseInvalid, "no Anchore API at this address"),
            (problem(400), AnchoreResponseInvalid, "rejects the request"),
        ],
    )
    async def test_an_ambiguous_response_is_invalid(self, answer: Any, kind: type[EvaluationError], text: str) -> None:
        raised = await refusal(answer, "by_tag")
        assert isinstance(raised, kind)
        assert text in str(raised)


class TestByDigest:
    @pytest.mark.parametrize("asked", [DIGEST, OTHER], ids=["its own", "its list's"])
    async def test_answers_to_both_digests(self, asked: str) -> None:
        anchore, played = asking(
            image(DIGEST, parent_digest=OTHER, image_content={"metadata": {"arch": "arm64", "distro": None}})
        )
        record = await anchore.by_digest(asked, deadline())
        assert record == ImageRecord(DIGEST, AnalysisState.ANALYZED, (TagRow(TAG, OLD),), OTHER, "arm64", OTHER, (TAG,))
        assert played.asked[0].url.raw_path == f"/v2/images/{asked.replace(':', '%3A')}".encode()

    @pytest.mark.parametrize(
        "answer",
        [image(image_status="deleting"), *ABSENT.values()],
        ids=["not active", *ABSENT],
    )
    async def test_no_image(self, answer: Any) -> None:
        anchore, _ = asking(answer)
        assert await anchore.by_digest(DIGEST, deadline()) is None

    @pytest.mark.parametrize("answer", [image(OTHER), image() | {"image_digest": None}, [], {"items": []}])
    async def test_rejects_an_image_that_was_not_requested(self, answer: Any) -> None:
        assert isinstance(await refusal(answer, "by_digest"), AnchoreResponseInvalid)


class TestSubmit:
    @pytest.mark.parametrize(
        ("request_", "source"),
        [
            (AnalysisRequest(TAG), {"tag": {"pull_string": TAG}}),
            (
                AnalysisRequest(TAG, DIGEST),
                {
                    "digest": {
                        "pull_string": f"registry.example.com/team/app@{DIGEST}",
                        "tag": TAG,
                        "creation_timestamp_override": "2000-01-01T00:00:00Z",
                    }
                },
            ),
        ],
        ids=["tag", "digest"],
    )
    async def test_sends_neither_force_nor_a_subscription(
        self, request_: AnalysisRequest, source: dict[str, Any]
    ) -> None:
        anchore, played = asking(image() | {"analysis_status": "not_analyzed"})
        record = await anchore.submit(request_, deadline())
        assert record == ImageRecord(DIGEST, AnalysisState.NOT_ANALYZED, (TagRow(TAG, OLD),))
        (sent,) = played.asked
        assert (sent.method, sent.url.raw_path) == ("POST", b"/v2/images?auto_subscribe=false")
        assert sent.headers["content-type"] == "application/json"
        annotations = {"requestor": "anchore-admission-controller"}
        assert json.loads(sent.content) == {"source": source, "annotations": annotations}

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (error(400, "m", error_codes=["REGISTRY_PERMISSION_DENIED"]), "registry needs credentials"),
            (error(409, "Image is being added"), "another request for this image is in progress in Anchore (409)"),
            (error(409, "Image is being added"), "try again: Image is being added"),
            (httpx.Response(409, text="Conflict"), "another request for this image is in progress in Anchore (409)"),
            (error(403, "License limit exceeded"), "Anchore's license covers no more images (403): License limit"),
            (error(403, "m", error_codes=["LIMIT_EXCEEDED"]), "Anchore's license covers no more images (403): m"),
            (error(402, "Pay"), "Anchore's license covers no more images (402): Pay"),
            (error(400, "m", error_codes=["REGISTRY_IMAGE_NOT_FOUND"]), "not found in the registry"),
            (error(400, "m", error_codes=["REGISTRY_NOT_ACCESSIBLE"]), "the registry cannot be reached"),
            (error(400, "m", error_codes=["REGISTRY_NOT_SUPPORTED"]), "does not support"),
            (error(400, "m", error_codes=["SKOPEO_UNKNOWN_ERROR"]), "may not exist, or the registry needs credentials"),
            (error(400, "m", error_codes=["OSARCH_MISMATCH"]), "no variant for Anchore's platform"),
            (error(400, "no luck", error_codes=["UNKNOWN"], raw_exception_message="skopeo --creds x"), "no luck"),
            (error(400, "no luck", error_codes="nonsense"), "Anchore refuses to analyze it: no luck"),
            (
                error(
                    400,
                    "too large",
                    requested_image_compressed_size_mb=812.5,
                    max_compressed_image_size_mb=700,
                ),
                "Anchore cannot analyze it: the image has 812.5 MB compressed, Anchore accepts 700 MB",
            ),
        ],
    )
    async def test_says_why_anchore_rejects(self, answer: httpx.Response, text: str) -> None:
        raised = await refusal(answer, "submit")
        assert isinstance(raised, AnalysisRefused)
        assert text in str(raised)
        assert "skopeo" not in str(raised)

    @pytest.mark.parametrize(
        "answer",
        [problem(400), problem(404), error(404, "no such thing"), [image()], "done", image() | {"analysis_status": ""}],
    )
    async def test_an_ambiguous_response_is_invalid(self, answer: Any) -> None:
        assert isinstance(await refusal(answer, "submit"), AnchoreResponseInvalid)

    async def test_a_digest_that_was_not_submitted_is_no_answer(self) -> None:
        anchore, _ = asking(image(OTHER))
        with pytest.raises(AnchoreResponseInvalid):
            await anchore.submit(AnalysisRequest(TAG, DIGEST), deadline())
