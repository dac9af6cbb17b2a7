"""Policy checks in API v2, by hand-made exchanges: responses with and without a verdict."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from anchore_admission.core.facts import AnalysisState, Finding, PolicyEvaluation, PolicyReason, Selector
from anchore_admission.errors import (
    AnchoreRefused,
    AnchoreResponseInvalid,
    EvaluationError,
    PolicyNotEvaluated,
    PolicyNotFound,
)
from anchore_admission.models.configuration import ApiVersion
from support.anchore_calls import DIGEST, OTHER, TAG, client, deadline, error, playing, problem
from support.anchore_v2 import NEW, OLD, asking, image, refusal

STOP = {
    "gate": "vulnerabilities",
    "trigger": "package",
    "trigger_id": "CVE-2026-1+openssl",
    "message": "HIGH Vulnerability found",
    "recommendation": "Upgrade openssl",
    "action": "stop",
    "allowlisted": False,
    "allowlist_match": None,
}


def evaluation(**more: Any) -> dict[str, Any]:
    return {
        "status": "pass",
        "final_action": "go",
        "final_action_reason": "policy_evaluation",
        "evaluation_time": OLD,
        "evaluation_problems": [],
        "number_of_findings": 0,
        "image_allowlisted": False,
        "image_denylisted": False,
        "image_mapped_to_rule": True,
        "matched_mapping_rule": None,
        "details": {"policy": {}, "findings": []},
        **more,
    }


def checked(*evaluations: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"policy_id": "p", "image_digest": DIGEST, "evaluated_tag": TAG, "evaluations": list(evaluations), **more}


PASS = PolicyEvaluation(passed=True, policy="p")
FINDING = Finding(
    "vulnerabilities", "package", "CVE-2026-1+openssl", "HIGH Vulnerability found", recommendation="Upgrade openssl"
)
WARNS = STOP | {"action": "WARN", "trigger_id": "CVE-2026-2+zlib"}
WARNING = replace(FINDING, action="warn", trigger_id="CVE-2026-2+zlib")
LIST_RULE = {"id": "r1", "name": "blessed", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}}


def mappings(*repositories: str) -> list[dict[str, str]]:
    return [{"registry": "*", "repository": repository} for repository in repositories]


class TestCheck:
    @pytest.mark.parametrize(
        ("policy", "selectors"),
        [
            ({}, None),
            ({"mappings": mappings("a", "b", "a")}, (Selector("*", "a"), Selector("*", "b"))),
            ({"mappings": mappings(*map(str, range(2000)))}, None),
            ({"mappings": mappings("*a" * 40_000)}, None),
        ],
        ids=["not shown", "shown", "too many", "too long"],
    )
    async def test_the_patterns_of_a_policy_are_bounded(
        self, policy: dict[str, Any], selectors: tuple[Selector, ...] | None
    ) -> None:
        anchore, _ = asking(checked(evaluation(details={"policy": policy, "findings": []})))
        found = await anchore.check(DIGEST, TAG, "p", deadline())
        assert isinstance(found, PolicyEvaluation)
        assert found.selectors == selectors

    async def test_requests_an_interactive_and_detailed_check(self) -> None:
        anchore, played = asking(checked(evaluation()))
        assert await anchore.check(DIGEST, TAG, "p", deadline()) == PASS
        (request,) = played.asked
        assert request.url.path == f"/v2/images/{DIGEST}/check"
        query = {"tag": TAG, "interactive": "true", "detail": "true", "policy_id": "p"}
        assert dict(request.url.params) == query

    async def test_the_active_policy_is_requested_by_naming_none(self) -> None:
        anchore, played = asking(checked(evaluation(), policy_id="active-one"))
        assert await anchore.check(DIGEST, TAG, None, deadline()) == PolicyEvaluation(passed=True, policy="active-one")
        assert "policy_id" not in played.asked[0].url.params

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"status": "pass", "final_action": "warn"}, PASS),
            ({"details": None}, PASS),
            (
                {"status": "fail", "final_action": "stop", "details": {"findings": [STOP]}},
                PolicyEvaluation(passed=False, policy="p", findings=(FINDING,)),
            ),
            ({"details": {"findings": [STOP | {"action": "warn"}, STOP | {"allowlisted": True}, {}]}}, PASS),
            ({"status": "fail", "details": None}, PolicyEvaluation(passed=False, policy="p")),
            ({"image_mapped_to_rule": False}, PolicyEvaluation(passed=True, policy="p", mapped=False)),
            ({"image_mapped_to_rule": None, "matched_mapping_rule": LIST_RULE}, PASS),
            (
                {"image_mapped_to_rule": None, "matched_mapping_rule": {}},
                PolicyEvaluation(passed=True, policy="p", mapped=False),
            ),
            (
                {"final_action_reason": "allowlisted", "matched_allowlisted_images_rule": LIST_RULE},
                PolicyEvaluation(passed=True, policy="p", reason=PolicyReason.ALLOWLISTED, list_rule="blessed"),
            ),
            (
                {
                    "status": "fail",
                    "final_action": "stop",
                    "final_action_reason": "denylisted",
                    "matched_denylisted_images_rule": {"id": "r1"},
                },
                PolicyEvaluation(passed=False, policy="p", reason=PolicyReason.DENYLISTED, list_rule="r1"),
            ),
            (
                {"final_action_reason": None, "image_allowlisted": True},
                PolicyEvaluation(passed=True, policy="p", reason=PolicyReason.ALLOWLISTED),
            ),
            (
                {"evaluation_problems": [{"severity": "warn", "problem_type": "x", "details": "one rule"}]},
                PASS,
            ),
            (
                {"evaluation_problems": [{"severity": "error", "problem_type": "TypeError", "details": "a\nb"}, {}]},
                PolicyEvaluation(passed=True, policy="p", problems=("TypeError: a b", "not described")),
            ),
        ],
        ids=[
            "warn passes",
            "no details",
            "stop",
            "neither warnings nor excused findings",
            "fail without findings",
            "nothing mapped",
            "mapped by a rule",
            "mapped by an empty rule",
            "allow list",
            "deny list",
            "allow list by flag",
            "a rule's problem",
            "the policy's problems",
        ],
    )
    async def test_reads(self, given: dict[str, Any], expected: PolicyEvaluation) -> None:
        anchore, _ = asking(checked(evaluation(**given)))
        assert await anchore.check(DIGEST, TAG, "p", deadline()) == expected

    @pytest.mark.parametrize(
        ("given", "expected", "total"),
        [
            (
                {"status": "fail", "final_action": "stop", "details": {"findings": [WARNS, STOP]}},
                PolicyEvaluation(False, "p", findings=(FINDING,), warnings=(WARNING,), warnings_total=1),
                2,
            ),
            (
                {"final_action": "warn", "details": {"findings": [WARNS | {"allowlisted": True}, WARNS, {}]}},
                PolicyEvaluation(True, "p", warnings=(WARNING,), warnings_total=1),
                1,
            ),
            ({"details": {"findings": [WARNS | {"action": "go"}]}}, replace(PASS, warnings_total=0), 0),
            ({"details": {"findings": None}}, PASS, None),
            ({"details": None}, PASS, None),
            (
                {"details": {"findings": [WARNS] * 150}},
                PolicyEvaluation(True, "p", warnings=(WARNING,) * 100, warnings_total=150),
                150,
            ),
        ],
        ids=["stop and warn", "excused", "go", "null findings", "no details", "many"],
    )
    async def test_findings_that_warn_are_kept_for_other_policy_engines(
        self, given: dict[str, Any], expected: PolicyEvaluation, total: int | None
    ) -> None:
        anchore, _ = asking(checked(evaluation(**given)), keeps_warnings=True)
        found = await anchore.check(DIGEST, TAG, "p", deadline())
        assert isinstance(found, PolicyEvaluation)
        assert found == expected
        assert (found.total, found.warns) == (total, given.get("final_action") == "warn")

    async def test_the_worst_of_many_findings_that_warn_is_kept(self) -> None:
        worst = WARNS | {"message": "CRITICAL Vulnerability found"}
        anchore, _ = asking(checked(evaluation(details={"findings": [*[WARNS] * 100, worst]})), keeps_warnings=True)
        found = await anchore.check(DIGEST, TAG, "p", deadline())
        assert isinstance(found, PolicyEvaluation)
        assert found.warnings[0].message == worst["message"]

    async def test_the_latest_of_several_counts(self) -> None:
        late = evaluation(status="fail", final_action="stop", evaluation_time=NEW)
        anchore, _ = asking(checked(evaluation(), late, evaluation()))
        verdict = await anchore.check(DIGEST, TAG, "p", deadline())
        assert verdict == PolicyEvaluation(passed=False, policy="p")

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (error(404, "Image not found"), AnalysisState.UNKNOWN),
            (error(404, "image not found in DB"), AnalysisState.UNKNOWN),
            (error(404, "image is not analyzed - analysis_status: analyzing"), AnalysisState.ANALYZING),
            (error(404, "image is not analyzed - analysis_status: analysis_failed"), AnalysisState.FAILED),
            (error(400, "Tag x is not associated with the image"), AnalysisState.UNKNOWN),
            (error(400, "The tag does not belong to image sha256:…"), AnalysisState.UNKNOWN),
        ],
    )
    async def test_states_that_allow_no_evaluation(self, answer: httpx.Response, expected: AnalysisState) -> None:
        anchore, _ = asking(answer)
        assert await anchore.check(DIGEST, TAG, "p", deadline()) is expected

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (error(404, "Policy p not found"), PolicyNotFound),
            (error(404, "Policy bundle p not found in DB"), PolicyNotFound),
            (error(404, "user has no active policy to evaluate: admin"), PolicyNotFound),
            (error(404, "could not find any evaluations for input images"), PolicyNotEvaluated),
            (error(403, "License expired"), AnchoreRefused),
            (error(404, "image is not analyzed - analysis_status: enchanted"), AnchoreResponseInvalid),
            (error(404, "image is not analyzed - analysis_status: analyzed"), AnchoreResponseInvalid),
            (error(404, "User account not found"), AnchoreRefused),
            (error(400, "bad tag"), AnchoreResponseInvalid),
            (problem(404), AnchoreResponseInvalid),
            (checked(), AnchoreResponseInvalid),
            ({}, AnchoreResponseInvalid),
            ([], AnchoreResponseInvalid),
            (checked(evaluation(status=None)), AnchoreResponseInvalid),
            (checked(evaluation(status="PASS")), AnchoreResponseInvalid),
            (checked(evaluation(status="pass", final_action="stop")), AnchoreResponseInvalid),
            (checked(evaluation(), evaluated_tag="r/x:1"), AnchoreResponseInvalid),
            (checked(evaluation(), policy_id="another"), AnchoreResponseInvalid),
            (checked(evaluation(evaluation_problems="broken")), AnchoreResponseInvalid),
        ],
    )
    async def test_an_ambiguous_response_is_invalid(self, answer: Any, kind: type[EvaluationError]) -> None:
        assert isinstance(await refusal(answer, "check"), kind)

    @pytest.mark.parametrize(
        ("record", "expected"),
        [
            (error(404, "Nothing here"), AnalysisState.UNKNOWN),
            (httpx.Response(200, json=image(image_status="deleting")), AnalysisState.UNKNOWN),
            (httpx.Response(200, json=image(analysis_status="analyzing")), AnalysisState.ANALYZING),
            (httpx.Response(200, json=image(analysis_status="analysis_failed")), AnalysisState.FAILED),
            (httpx.Response(200, json=image()), PolicyNotEvaluated),
            (httpx.Response(200, json=image(OTHER)), AnchoreResponseInvalid),
            (problem(404), AnchoreResponseInvalid),
        ],
        ids=["unknown", "not active", "analyzing", "failed", "analyzed", "another image", "a wrong path"],
    )
    async def test_an_unknown_rejection_is_resolved_by_the_state_of_the_image(
        self, record: httpx.Response, expected: AnalysisState | type[EvaluationError]
    ) -> None:
        played = playing(error(404, "something else"), record)
        anchore = client(played.transport(), ApiVersion.V2)
        if isinstance(expected, AnalysisState):
            assert await anchore.check(DIGEST, TAG, "p", deadline()) is expected
        else:
            with pytest.raises(expected):
                await anchore.check(DIGEST, TAG, "p", deadline())
        assert played.paths == [f"/v2/images/{DIGEST}/check", f"/v2/images/{DIGEST}"]

    @pytest.mark.parametrize(
        ("record", "fits"),
        [(image(DIGEST, parent_digest=OTHER), True), (image(OTHER, parent_digest=DIGEST), True), (image(), False)],
        ids=["its list's", "its child's", "another image's"],
    )
    async def test_an_evaluation_of_another_digest_counts_only_for_the_same_image(
        self, record: dict[str, Any], *, fits: bool
    ) -> None:
        played = playing(
            httpx.Response(200, json=checked(evaluation(), image_digest=OTHER)), httpx.Response(200, json=record)
        )
        anchore = client(played.transport(), ApiVersion.V2)
        if fits:
            assert await anchore.check(DIGEST, TAG, "p", deadline()) == PASS
        else:
            with pytest.raises(AnchoreResponseInvalid, match="another image"):
                await anchore.check(DIGEST, TAG, "p", deadline())

    @pytest.mark.parametrize(
        ("reason", "allowlisted", "expected"),
        [
            ("policy_evaluation", True, PolicyReason.EVALUATION),
            ("allowlisted", False, PolicyReason.ALLOWLISTED),
            (None, True, PolicyReason.ALLOWLISTED),
        ],
    )
    async def test_an_image_is_allow_listed_only_if_the_list_decided(
        self, reason: str | None, *, allowlisted: bool, expected: PolicyReason
    ) -> None:
        anchore, _ = asking(checked(evaluation(final_action_reason=reason, image_allowlisted=allowlisted)))
        verdict = await anchore.check(DIGEST, TAG, "p", deadline())
        assert isinstance(verdict, PolicyEvaluation)
        assert verdict.reason is expected

    @pytest.mark.parametrize("full_tag", ["", f"registry.example.com/app@{DIGEST}", f"{TAG}@{DIGEST}"])
    async def test_a_tag_must_be_a_tag(self, full_tag: str) -> None:
        anchore, played = asking(checked(evaluation()))
        with pytest.raises(ValueError, match="not a full tag"):
            await anchore.check(DIGEST, full_tag, None, deadline())
        assert played.asked == []

    @pytest.mark.parametrize(("digest", "policy"), [("", "p"), (DIGEST, ""), ("..", "p")])
    async def test_an_empty_value_is_never_sent(self, digest: str, policy: str) -> None:
        anchore, played = asking(checked(evaluation()))
        with pytest.raises(ValueError, match="an empty or relative value"):
            await anchore.check(digest, TAG, policy, deadline())
        assert played.asked == []
