"""The contract that every implementation of the port ``Anchore`` fulfills."""

from collections.abc import AsyncIterator

import pytest

from anchore_admission.core.facts import AnalysisState, ImageRecord, PolicyEvaluation, PolicyReason, PolicyVersion
from anchore_admission.core.hints import EVERYTHING, Events, Hint, hint_of
from anchore_admission.core.names import AnalysisRequest, label_of
from anchore_admission.errors import (
    AnalysisRefused,
    AnchoreRefused,
    AnchoreResponseInvalid,
    AnchoreUnavailable,
    DeadlineExceeded,
    EvaluationError,
    PolicyNotEvaluated,
    PolicyNotFound,
)
from support.anchore_calls import deadline
from support.anchore_stage import (
    ABSENT,
    BAD,
    BAD_DIGEST,
    FAILED,
    FIRST_DIGEST,
    GOOD,
    GOOD_DIGEST,
    GOOD_TOO,
    LIST_DIGEST,
    MOVED,
    MULTI,
    MULTI_DIGEST,
    NEW,
    NEW_DIGEST,
    NO_DIGEST,
    PENDING,
    PRIVATE,
    REPOSITORY,
    SECOND_DIGEST,
    SHORT,
    STAGES,
    Part,
    Stage,
)

UNFINISHED = [(PENDING, AnalysisState.ANALYZING), (FAILED, AnalysisState.FAILED)]


@pytest.fixture(params=STAGES)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with STAGES[request.param]() as opened:
        yield opened


async def by_tag(stage: Stage, full_tag: str) -> ImageRecord:
    record = await stage.anchore.by_tag(full_tag, deadline())
    assert record is not None
    return record


async def policies(stage: Stage) -> dict[str, PolicyVersion]:
    versions = await stage.anchore.policies(deadline())
    by_name = {version.policy: version for version in versions}
    assert len(by_name) == len(versions)
    return by_name


def changed(before: dict[str, PolicyVersion], after: dict[str, PolicyVersion]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


async def check(stage: Stage, digest: str, full_tag: str, policy: str | None = "strict") -> PolicyEvaluation:
    evaluation = await stage.anchore.check(digest, full_tag, policy, deadline())
    assert isinstance(evaluation, PolicyEvaluation)
    return evaluation


class TestByTag:
    @pytest.mark.parametrize("full_tag", [GOOD, GOOD_TOO, SHORT])
    async def test_finds_the_image_by_each_of_its_tags(self, stage: Stage, full_tag: str) -> None:
        record = await by_tag(stage, full_tag)
        assert (record.digest, record.state, record.parent_digest) == (GOOD_DIGEST, AnalysisState.ANALYZED, None)
        assert record.list_digest == GOOD_DIGEST
        assert record.architecture == "amd64"
        assert {tag.full_tag for tag in record.tags} == {GOOD, GOOD_TOO, SHORT}
        assert all(tag.detected_at.endswith("Z") for tag in record.tags)

    @pytest.mark.parametrize(
        "full_tag", [ABSENT, NEW, f"{REPOSITORY}/good:9", "docker.io/library/tool:1", "other.example.com/shop/good:1"]
    )
    async def test_none_where_anchore_surely_holds_none(self, stage: Stage, full_tag: str) -> None:
        assert await stage.anchore.by_tag(full_tag, deadline()) is None

    @pytest.mark.parametrize(
        ("full_tag", "state"), [(PENDING, AnalysisState.ANALYZING), (FAILED, AnalysisState.FAILED)]
    )
    async def test_reports_the_state_of_the_analysis(self, stage: Stage, full_tag: str, state: AnalysisState) -> None:
        assert (await by_tag(stage, full_tag)).state is state

    async def test_knows_only_submitted_images_of_the_registry(self, stage: Stage) -> None:
        assert (await by_tag(stage, MOVED)).digest == FIRST_DIGEST


class TestByDigest:
    @pytest.mark.parametrize("digest", [MULTI_DIGEST, LIST_DIGEST])
    async def test_finds_the_image_by_its_own_and_by_its_lists_digest(self, stage: Stage, digest: str) -> None:
        record = await stage.anchore.by_digest(digest, deadline())
        assert record is not None
        assert (record.digest, record.parent_digest, record.list_digest) == (MULTI_DIGEST, LIST_DIGEST, LIST_DIGEST)
        assert [tag.full_tag for tag in record.tags] == [MULTI]

    async def test_none_where_anchore_surely_holds_none(self, stage: Stage) -> None:
        assert await stage.anchore.by_digest(NO_DIGEST, deadline()) is None


class TestCheck:
    async def test_a_pass(self, stage: Stage) -> None:
        assert await check(stage, GOOD_DIGEST, GOOD) == PolicyEvaluation(passed=True, policy="strict")

    async def test_a_failure_with_its_findings(self, stage: Stage) -> None:
        evaluation = await check(stage, BAD_DIGEST, BAD)
        assert (evaluation.passed, evaluation.policy, evaluation.mapped) == (False, "strict", True)
        assert (evaluation.reason, evaluation.problems) == (PolicyReason.EVALUATION, ())
        (finding,) = evaluation.findings
        assert (finding.gate, finding.trigger) == ("vulnerabilities", "package")
        assert finding.trigger_id == "CVE-2026-0001+openssl"
        assert "openssl" in finding.message

    async def test_warnings_pass_and_are_no_findings(self, stage: Stage) -> None:
        assert await check(stage, BAD_DIGEST, BAD, "lenient") == PolicyEvaluation(passed=True, policy="lenient")

    async def test_the_active_policy_is_named_by_the_answer(self, stage: Stage) -> None:
        assert (await check(stage, GOOD_DIGEST, GOOD, None)).policy == "strict"

    async def test_an_allow_list_passes_what_its_rules_stop(self, stage: Stage) -> None:
        evaluation = await check(stage, BAD_DIGEST, BAD, "blessing")
        assert (evaluation.passed, evaluation.reason) == (True, PolicyReason.ALLOWLISTED)
        assert evaluation.list_rule == "blessed"

    async def test_a_deny_list_stops_what_its_rules_pass(self, stage: Stage) -> None:
        evaluation = await check(stage, GOOD_DIGEST, GOOD, "banning")
        assert (evaluation.passed, evaluation.reason) == (False, PolicyReason.DENYLISTED)
        assert (evaluation.list_rule, evaluation.findings) == ("banned", ())

    async def test_a_policy_that_maps_nothing_to_the_image(self, stage: Stage) -> None:
        evaluation = await check(stage, BAD_DIGEST, BAD, "elsewhere")
        assert (evaluation.passed, evaluation.mapped) == (True, False)

    async def test_the_tag_decides_what_is_mapped_and_need_not_be_the_images(self, stage: Stage) -> None:
        evaluation = await check(stage, BAD_DIGEST, "other.example.com/any:1", "elsewhere")
        assert (evaluation.passed, evaluation.mapped) == (False, True)

    async def test_by_the_digest_of_the_list(self, stage: Stage) -> None:
        assert (await check(stage, LIST_DIGEST, MULTI)).passed

    async def test_a_policy_that_does_not_exist(self, stage: Stage) -> None:
        with pytest.raises(PolicyNotFound, match="policy missing does not exist in Anchore"):
            await check(stage, GOOD_DIGEST, GOOD, "missing")

    async def test_an_image_that_does_not_exist(self, stage: Stage) -> None:
        assert await stage.anchore.check(NO_DIGEST, GOOD, "strict", deadline()) is AnalysisState.UNKNOWN

    @pytest.mark.parametrize(
        ("full_tag", "state"), [(PENDING, AnalysisState.ANALYZING), (FAILED, AnalysisState.FAILED)]
    )
    async def test_an_image_that_is_not_analyzed(self, stage: Stage, full_tag: str, state: AnalysisState) -> None:
        digest = (await by_tag(stage, full_tag)).digest
        assert await stage.anchore.check(digest, full_tag, "strict", deadline()) is state

    async def test_a_digest_is_no_tag(self, stage: Stage) -> None:
        with pytest.raises(ValueError, match="not a full tag"):
            await stage.anchore.check(GOOD_DIGEST, f"{REPOSITORY}/good@{GOOD_DIGEST}", "strict", deadline())


class TestSubmit:
    async def test_a_new_image_is_queued_and_then_analyzed(self, stage: Stage) -> None:
        record = await stage.anchore.submit(AnalysisRequest(NEW), deadline())
        assert (record.digest, record.state) == (NEW_DIGEST, AnalysisState.NOT_ANALYZED)
        assert [tag.full_tag for tag in record.tags] == [NEW]
        assert (await by_tag(stage, NEW)).state is AnalysisState.NOT_ANALYZED
        stage.pass_time()
        assert (await by_tag(stage, NEW)).state is AnalysisState.ANALYZED
        assert (await check(stage, NEW_DIGEST, NEW)).passed

    async def test_an_analyzed_image_stays_analyzed(self, stage: Stage) -> None:
        record = await stage.anchore.submit(AnalysisRequest(BAD), deadline())
        assert (record.digest, record.state) == (BAD_DIGEST, AnalysisState.ANALYZED)
        assert not (await check(stage, BAD_DIGEST, BAD)).passed

    async def test_a_failed_analysis_is_begun_again(self, stage: Stage) -> None:
        record = await stage.anchore.submit(AnalysisRequest(FAILED), deadline())
        assert record.state is AnalysisState.NOT_ANALYZED

    async def test_the_answer_says_where_a_tag_points_now(self, stage: Stage) -> None:
        record = await stage.anchore.submit(AnalysisRequest(MOVED), deadline())
        assert record.digest == SECOND_DIGEST
        assert (await by_tag(stage, MOVED)).digest == SECOND_DIGEST

    async def test_a_digest_with_a_label(self, stage: Stage) -> None:
        label = f"{REPOSITORY}/new:{label_of(NEW_DIGEST)}"
        record = await stage.anchore.submit(AnalysisRequest(label, NEW_DIGEST), deadline())
        assert (record.digest, record.tags) == (NEW_DIGEST, ())
        assert await stage.anchore.by_digest(NEW_DIGEST, deadline()) == record
        assert await stage.anchore.by_tag(label, deadline()) is None

    @pytest.mark.parametrize("tag", [GOOD, f"{REPOSITORY}/good:2", f"{REPOSITORY}/good:9"])
    async def test_a_digest_says_nothing_about_the_tag_it_is_submitted_with(self, stage: Stage, tag: str) -> None:
        """Otherwise the author of a Pod could decide what a tag means to all others."""
        before = await stage.anchore.by_tag(tag, deadline())
        record = await stage.anchore.submit(AnalysisRequest(tag, SECOND_DIGEST), deadline())
        assert tag not in {row.full_tag for row in record.tags}
        assert await stage.anchore.by_tag(tag, deadline()) == before

    @pytest.mark.parametrize(
        ("full_tag", "reason"),
        [
            (PRIVATE, "Anchore cannot pull it: registry needs credentials"),
            (ABSENT, "Anchore cannot pull it: not found in the registry"),
        ],
    )
    async def test_a_rejection_says_why(self, stage: Stage, full_tag: str, reason: str) -> None:
        with pytest.raises(AnalysisRefused) as caught:
            await stage.anchore.submit(AnalysisRequest(full_tag), deadline())
        assert str(caught.value) == reason


class TestPolicies:
    async def test_lists_every_policy_and_the_active_one(self, stage: Stage) -> None:
        versions = await policies(stage)
        assert versions.keys() >= {"strict", "lenient", "blessing", "banning", "elsewhere"}
        assert [name for name, version in versions.items() if version.active] == ["strict"]
        assert all(version.last_updated for version in versions.values())

    @pytest.mark.parametrize("name", ["strict", "lenient"])
    async def test_a_change_shows_in_that_policy_alone(self, stage: Stage, name: str) -> None:
        before = await policies(stage)
        await stage.change_policy(name)
        after = await policies(stage)
        assert changed(before, after) == {name}
        assert after[name].last_updated != before[name].last_updated

    async def test_another_active_policy_shows_in_both(self, stage: Stage) -> None:
        before = await policies(stage)
        await stage.change_policy("lenient", active=True)
        after = await policies(stage)
        assert changed(before, after) == {"strict", "lenient"}
        assert [name for name, version in after.items() if version.active] == ["lenient"]

    async def test_nothing_changes_by_checks(self, stage: Stage) -> None:
        before = await policies(stage)
        await check(stage, BAD_DIGEST, BAD)
        stage.pass_time()
        assert await policies(stage) == before


class TestEvents:
    async def test_there_are_none_at_first(self, stage: Stage) -> None:
        assert await stage.anchore.events("", deadline()) == Events((), "")

    async def test_an_analysis_that_ends(self, stage: Stage) -> None:
        await stage.anchore.submit(AnalysisRequest(NEW), deadline())
        stage.pass_time()
        (event,) = (await stage.anchore.events("", deadline())).entries
        assert (event.kind, event.resource_type, event.resource) == ("user.image.analysis.completed", "image_tag", NEW)
        assert hint_of(event) == Hint(full_tag=NEW)

    async def test_another_active_policy(self, stage: Stage) -> None:
        await stage.change_policy("lenient", active=True)
        (event,) = (await stage.anchore.events("", deadline())).entries
        assert (event.kind, event.resource_type, event.resource) == ("user.policy.active.updated", "policy_bundle", "")
        assert hint_of(event) == EVERYTHING

    @pytest.mark.parametrize(("name", "kinds"), [("strict", ["user.policy.active.content_change"]), ("lenient", [])])
    async def test_a_change_shows_only_if_the_policy_is_active(self, stage: Stage, name: str, kinds: list[str]) -> None:
        await stage.change_policy(name)
        assert [event.kind for event in (await stage.anchore.events("", deadline())).entries] == kinds

    async def test_later_look_ups_overlap_and_then_leave_old_events_out(self, stage: Stage) -> None:
        await stage.anchore.submit(AnalysisRequest(NEW), deadline())
        stage.pass_time()
        first = await stage.anchore.events("", deadline())
        again = await stage.anchore.events(first.since, deadline())
        assert again == first
        stage.pass_time()
        stage.pass_time()
        await stage.change_policy("strict")
        second = await stage.anchore.events(first.since, deadline())
        third = await stage.anchore.events(second.since, deadline())
        assert len(second.entries) == 2
        assert set(second.entries) > set(first.entries)
        assert set(third.entries) == set(second.entries) - set(first.entries)
        assert not any(listed.more for listed in (first, again, second, third))


class TestNoAnswer:
    @pytest.mark.parametrize(
        ("part", "kind"),
        [
            (Part.CATALOG, AnchoreUnavailable),
            (Part.DATABASE, AnchoreRefused),
            (Part.LOGIN_PROXY, AnchoreResponseInvalid),
            (Part.EVERYTHING, AnchoreUnavailable),
        ],
    )
    async def test_a_broken_response_is_never_an_absence(
        self, stage: Stage, part: Part, kind: type[EvaluationError]
    ) -> None:
        await stage.break_down(part)
        with pytest.raises(kind):
            await stage.anchore.by_tag(ABSENT, deadline())
        with pytest.raises(kind):
            await stage.anchore.by_digest(NO_DIGEST, deadline())
        with pytest.raises(kind):
            await stage.anchore.check(NO_DIGEST, GOOD, "strict", deadline())
        with pytest.raises(kind):
            await stage.anchore.submit(AnalysisRequest(NEW), deadline())
        with pytest.raises(kind):
            await stage.anchore.policies(deadline())
        with pytest.raises(kind):
            await stage.anchore.events("", deadline())

    async def test_a_policy_engine_that_is_down_gives_no_verdict(self, stage: Stage) -> None:
        await stage.break_down(Part.POLICY_ENGINE)
        assert (await by_tag(stage, GOOD)).digest == GOOD_DIGEST
        with pytest.raises(PolicyNotEvaluated):
            await check(stage, GOOD_DIGEST, GOOD)

    async def test_an_anchore_that_hangs_costs_no_more_than_the_deadline(self, stage: Stage) -> None:
        await stage.break_down(Part.TIME)
        with pytest.raises(DeadlineExceeded):
            await stage.anchore.by_tag(GOOD, deadline(0.02))

    async def test_a_deadline_that_has_passed(self, stage: Stage) -> None:
        with pytest.raises(DeadlineExceeded):
            await stage.anchore.by_tag(GOOD, deadline(0))

    async def test_wrong_credentials(self, stage: Stage) -> None:
        with pytest.raises(AnchoreRefused):
            await stage.stranger.by_tag(GOOD, deadline())
