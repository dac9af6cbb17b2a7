"""API v1 where the recordings are silent: shapes that its code can send, and what is sent with a submission."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from anchore_admission.core.facts import Finding, PolicyEvaluation
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnchoreResponseInvalid
from support.anchore_calls import DIGEST, OTHER, TAG, Played, answering, client, deadline, playing, v1_image

THIRD = "sha256:" + "c3" * 32
HEADER = ["Policy_Id", "Gate_Action", "Gate", "Trigger", "Trigger_Id", "Check_Output", "Whitelisted", "New_Column"]
STOP = ["p1", "stop", "dockerfile", "exposed_ports", "abc", "port 22", False, None]
FINDING = Finding("dockerfile", "exposed_ports", "abc", "port 22")
EXCUSED = {"whitelist_name": "w", "whitelist_id": "w1", "matched_rule_id": "r1"}


def evaluation(*rows: list[Any], header: list[str] | None = None, **more: Any) -> dict[str, Any]:
    table = {"final_action": "stop", "header": header or HEADER, "rows": list(rows), "row_count": len(rows)}
    outcome = {
        "final_action": "stop",
        "final_action_reason": "policy_evaluation",
        "matched_mapping_rule": {"id": "m1"},
        "matched_whitelisted_images_rule": False,
        "matched_blacklisted_images_rule": False,
        "evaluation_problems": [],
        "result": {"0" * 64: {"result": table}, "policy_data": [], "policy_name": "", "whitelist_names": []},
    }
    detail = {"policy": {}, "result": outcome}
    return {"policyId": "p", "status": "fail", "last_evaluation": "2026-01-01T00:00:00Z", "detail": detail, **more}


def checked(*evaluations: dict[str, Any], digest: str = DIGEST, tag: str = TAG) -> list[Any]:
    return [{digest: {tag: list(evaluations)}}]


async def check(answer: Any) -> object:
    return await client(Played(answering(answer)).transport()).check(DIGEST, TAG, "p", deadline())


SHORT = PolicyEvaluation(passed=False, policy="p", findings=(Finding("dockerfile", "exposed_ports", "", ""),))
FAILED = PolicyEvaluation(passed=False, policy="p", findings=(FINDING,))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (checked(evaluation(STOP)), FAILED),
        (checked(evaluation(STOP, [*STOP[:1], "warn", *STOP[2:]], [*STOP[:6], EXCUSED, None])), FAILED),
        (checked(evaluation(STOP[:4])), SHORT),
        (checked(evaluation(STOP, header=["Gate"])), PolicyEvaluation(passed=False, policy="p")),
        (checked(evaluation(), evaluation(STOP, last_evaluation="2026-01-02T00:00:00Z"), evaluation()), FAILED),
        (checked(evaluation(STOP, policyId="")), FAILED),
    ],
    ids=[
        "columns by their names",
        "neither warnings nor excused rows",
        "a short row",
        "a table without actions",
        "the latest of several",
        "a policy that is not named",
    ],
)
async def test_reads(answer: Any, expected: PolicyEvaluation) -> None:
    assert await check(answer) == expected


WARN = [*STOP[:1], "Warn", *STOP[2:]]
WARNING = replace(FINDING, action="warn")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (checked(evaluation(WARN, STOP)), replace(FAILED, warnings=(WARNING,), warnings_total=1)),
        (checked(evaluation(STOP, [*WARN[:6], EXCUSED, None])), replace(FAILED, warnings_total=0)),
        (checked(evaluation(STOP, header=["Gate"])), PolicyEvaluation(passed=False, policy="p")),
        (checked(evaluation(detail={"result": {"result": None}})), PolicyEvaluation(False, "p", mapped=False)),
    ],
    ids=["stop and warn", "excused", "a table without actions", "no table"],
)
async def test_findings_that_warn_are_kept_for_other_policy_engines(answer: Any, expected: PolicyEvaluation) -> None:
    anchore = client(Played(answering(answer)).transport(), keeps_warnings=True)
    assert await anchore.check(DIGEST, TAG, "p", deadline()) == expected


def test_replicas_that_keep_more_of_a_response_do_not_share_answers_with_others() -> None:
    """The answers of the others in the shared store lack the findings that warn."""
    fewer, more, again = [client(None, keeps_warnings=keeps).identity.fingerprint for keeps in (False, True, True)]
    assert fewer != more == again


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (v1_image(OTHER, parentDigest=DIGEST), FAILED),
        (v1_image(DIGEST, parentDigest=OTHER), FAILED),
        (v1_image(OTHER, parentDigest=THIRD), AnchoreResponseInvalid),
        (v1_image(DIGEST), AnchoreResponseInvalid),
        (v1_image(DIGEST, image_status="deleting") | {"image_status": "deleting"}, AnchoreResponseInvalid),
    ],
    ids=["its list was asked for", "its child was asked for", "another list", "another image", "an image that is gone"],
)
async def test_an_evaluation_of_another_digest_counts_only_for_the_same_image(
    record: dict[str, Any], expected: PolicyEvaluation | type[AnchoreResponseInvalid]
) -> None:
    played = playing(
        httpx.Response(200, json=checked(evaluation(STOP), digest=OTHER)), httpx.Response(200, json=[record])
    )
    anchore = client(played.transport())
    if isinstance(expected, PolicyEvaluation):
        assert await anchore.check(DIGEST, TAG, "p", deadline()) == expected
    else:
        with pytest.raises(expected):
            await anchore.check(DIGEST, TAG, "p", deadline())
    assert played.paths == [f"/v1/images/{DIGEST}/check", f"/v1/images/{DIGEST}"]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [{}],
        [{DIGEST: {}}],
        checked(),
        [{DIGEST: {TAG: [evaluation()], "r/x:1": [evaluation()]}}],
        [{DIGEST: {TAG: [evaluation()]}}, {OTHER: {TAG: [evaluation()]}}],
        checked(evaluation(), tag="r/x:1"),
        checked(evaluation(policyId="another")),
        checked(evaluation(status="pass")),
        checked({"policyId": "N/A", "final_action": "fail", "last_evaluation": "N/A", "detail": {}}),
        checked(evaluation(status="pass", detail={})),
        checked(evaluation(status="pass", detail=None)),
        checked(evaluation(detail={"result": "gone"})),
        {"policy_id": "p", "evaluations": []},
    ],
    ids=[
        "nothing",
        "no digest",
        "no tag",
        "no evaluation",
        "two tags",
        "two digests",
        "another tag",
        "another policy",
        "passes and says stop",
        "no status",
        "no detail",
        "null detail",
        "unreadable detail",
        "an answer of v2",
    ],
)
async def test_an_ambiguous_response_is_invalid(answer: Any) -> None:
    with pytest.raises(AnchoreResponseInvalid):
        await check(answer)


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        (AnalysisRequest(TAG), {"tag": {"pullstring": TAG}}),
        (
            AnalysisRequest(TAG, DIGEST),
            {
                "digest": {
                    "pullstring": f"registry.example.com/team/app@{DIGEST}",
                    "tag": TAG,
                    "creation_timestamp_override": "2000-01-01T00:00:00Z",
                }
            },
        ),
    ],
    ids=["tag", "digest"],
)
async def test_a_submission_names_the_requestor_and_neither_forces_nor_subscribes(
    asked: AnalysisRequest, source: dict[str, Any]
) -> None:
    played = Played(answering([v1_image()]))
    assert (await client(played.transport()).submit(asked, deadline())).digest == DIGEST
    (sent,) = played.asked
    assert sent.url.raw_path == b"/v1/images?autosubscribe=false"
    assert json.loads(sent.content) == {"source": source, "annotations": {"requestor": "anchore-admission-controller"}}


@pytest.mark.parametrize("answer", [[], [v1_image(), v1_image(OTHER)], v1_image()])
async def test_a_submission_is_answered_with_one_image(answer: Any) -> None:
    with pytest.raises(AnchoreResponseInvalid):
        await client(Played(answering(answer)).transport()).submit(AnalysisRequest(TAG), deadline())
