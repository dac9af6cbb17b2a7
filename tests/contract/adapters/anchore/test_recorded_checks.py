"""The client's policy checks, compared with recordings of Anchore Engine."""

from dataclasses import replace

import pytest

from anchore_admission.core.facts import Finding, PolicyEvaluation
from anchore_admission.errors import (
    AnchoreRefused,
    AnchoreResponseInvalid,
    AnchoreUnavailable,
    PolicyNotEvaluated,
    PolicyNotFound,
)
from support.anchore_calls import Played, answering, client
from support.anchore_recordings import (
    ALLOWLISTED,
    ALWAYS,
    ANALYZING,
    BIG,
    BROKEN,
    CHILD,
    DENYLISTED,
    FAILED,
    LIST,
    NONE,
    NOT_ANALYZED,
    ROLL_A,
    UNKNOWN,
    WEB,
    WEB_1_1,
    Call,
    Case,
    check,
    demo,
    fails,
    parameters,
    passes,
    recording,
    refused,
    replay,
    replaying,
)

WEB_TAG = demo("web:1.0")
DEFAULT_POLICY = "2c53a13c-1765-11e8-82ef-23527761d060"
ROOT_USER = Finding(
    gate="dockerfile",
    trigger="effective_user",
    trigger_id="cbff271f45d32e78dcc1979dbca9c14d",
    message="User root found as effective user, which is explicity not allowed",
)
SSH_PORT = Finding(
    gate="dockerfile",
    trigger="exposed_ports",
    trigger_id="cc05c35507995b4a657b63f9b0baa281",
    message="Dockerfile exposes port (22) which is in policy file DENIEDPORTS list",
)
SUID_FILE = Finding(
    gate="files",
    trigger="suid_or_guid_set",
    trigger_id="0b9ae2f45cf023fadd00f53a3d2dc39d",
    message="SUID or SGID found set on file /app/suid. Mode: 0o104755",
)
ZLIB = Finding(
    gate="packages",
    trigger="blacklist",
    trigger_id="79021c74b0f57eaf8b005b6fc572bbe2",
    message="Package is blacklisted: zlib1g",
)
HEALTHCHECK = Finding(
    gate="dockerfile",
    trigger="instruction",
    trigger_id="41cb7cdf04850e33a11f80c42bf660b3",
    message="Dockerfile directive 'HEALTHCHECK' not found, matching condition 'not_exists' check",
    action="warn",
)
UNAUTHORIZED = refused(
    AnchoreRefused, "Anchore rejects the credentials (401); it says the same while its database is down"
)
BROKEN_INSIDE = refused(AnchoreUnavailable, "Anchore failed with a server error (500)")
BAD_QUESTION = refused(AnchoreResponseInvalid, "Anchore rejects the request (400)")
BAD_CHARACTERS = refused(AnchoreResponseInvalid, "Anchore rejects the request (400): cannot handle image input string")
NO_DETAIL = refused(AnchoreResponseInvalid, "Anchore's evaluation lacks the requested detail")
ENGINE_DOWN = refused(PolicyNotEvaluated, "Anchore did not evaluate the policy; its policy engine may be down")
NO_DETAIL_ASKED = "asked without detail: such an answer hides what a verdict hangs on"
NOT_INTERACTIVE = "asked otherwise than interactively"

CASES = [
    Case("046", check(NONE, WEB_TAG, DEFAULT_POLICY), UNKNOWN),
    Case("047", check(NONE, WEB_TAG, "no-such-policy"), UNKNOWN),
    Case("103", check(WEB, WEB_TAG, "demo-pass"), NOT_ANALYZED),
    Case("106", check(WEB, WEB_TAG, "demo-pass"), ANALYZING),
    Case("120", check(WEB, WEB_TAG, "demo-pass"), passes("demo-pass")),
    Case("121", check(WEB, WEB_TAG, "demo-fail"), fails("demo-fail", ALWAYS)),
    Case("122", check(WEB, WEB_TAG, "demo-warn"), passes("demo-warn")),
    Case("123", check(WEB, WEB_TAG, "demo-mixed"), passes("demo-mixed")),
    Case(
        "124",
        check(WEB, WEB_TAG, "demo-lists"),
        passes("demo-lists", findings=(ALWAYS,), reason=ALLOWLISTED, list_rule="wl1"),
    ),
    Case("125", check(WEB, WEB_TAG, "demo-nomap"), passes("demo-nomap", mapped=False)),
    Case("126", check(WEB, WEB_TAG, "demo-vuln"), passes("demo-vuln")),
    Case("127", check(WEB, WEB_TAG, "demo-allowlist"), fails("demo-allowlist", ZLIB)),
    Case("128", check(WEB, WEB_TAG, None), passes(DEFAULT_POLICY)),
    Case(
        "129",
        check(WEB, WEB_TAG, "no-such-policy"),
        refused(PolicyNotFound, "policy no-such-policy does not exist in Anchore"),
    ),
    Case("130", check(WEB, WEB_TAG, "demo-pass"), BAD_QUESTION, other="no tag was given"),
    Case("131", check(WEB, demo("unrelated:9"), "demo-pass"), passes("demo-pass")),
    Case("132", check(WEB, "bad ref!", "demo-pass"), BAD_CHARACTERS),
    Case("134", check(WEB, "docker.io/web:latest", "demo-pass"), passes("demo-pass"), other="a short name was given"),
    Case("135", check(WEB, WEB_TAG, "demo-fail"), fails("demo-fail", ALWAYS), other=NOT_INTERACTIVE),
    Case("136", check(WEB, WEB_TAG, "demo-pass"), passes("demo-pass"), other=NOT_INTERACTIVE),
    Case("137", check(WEB, WEB_TAG, "demo-fail"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("138", check(WEB, WEB_TAG, "demo-fail"), fails("demo-fail", ALWAYS), other="detail is the default"),
    Case("140", check(WEB, WEB_TAG, "demo-pass"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("141", check(WEB, WEB_TAG, "demo-pass"), BAD_QUESTION, other=NOT_INTERACTIVE),
    Case("142", check(WEB, WEB_TAG, "demo-pass"), UNAUTHORIZED),
    Case("143", check(WEB, WEB_TAG, "demo-pass"), UNKNOWN),
    Case(
        "144",
        check(WEB, WEB_TAG, "demo-pass"),
        refused(
            AnchoreRefused,
            "Anchore denies access (403): Not authorized."
            " Requires permissions: domain=admin action=getImageEvaluation target=*",
        ),
    ),
    Case(
        "147",
        check("80ba4eb28d17e3ad1544127a9adf9432181df4115735e048d21f6ffa09a83e22", WEB_TAG, "demo-pass"),
        UNKNOWN,
        other=NO_DETAIL_ASKED,
    ),
    Case("151", check(WEB_1_1, demo("web:1.1"), "demo-mixed"), fails("demo-mixed", ROOT_USER, SSH_PORT, SUID_FILE)),
    Case(
        "152",
        check(WEB_1_1, demo("web:1.1"), "demo-lists"),
        fails("demo-lists", ALWAYS, reason=DENYLISTED, list_rule="bl1"),
    ),
    Case("153", check(WEB_1_1, demo("web:1.1"), None), fails(DEFAULT_POLICY, SSH_PORT)),
    Case(
        "260",
        check(WEB, "docker.io/testalpine:latest", "demo-pass"),
        passes("demo-pass"),
        other="a short name was given",
    ),
    Case("272", check(WEB, WEB_TAG, "demo-pass"), NOT_ANALYZED),
    Case("307", check(ROLL_A, demo("roll:latest"), "demo-pass"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("326", check(CHILD, demo("multi:1.0"), "demo-pass"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("327", check(LIST, demo("multi:1.0"), "demo-pass"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("343", check(BROKEN, demo("broken:1.0"), "demo-pass"), FAILED),
    Case(
        "403", check(WEB, WEB_TAG, "demo-pass"), refused(PolicyNotFound, "policy demo-pass does not exist in Anchore")
    ),
    Case("404", check(WEB, WEB_TAG, None), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("412", check(WEB, WEB_TAG, None), fails("demo-fail", ALWAYS)),
    Case("421", check(BIG, demo("big:1.0"), "demo-mixed"), fails("demo-mixed", ROOT_USER, SSH_PORT, SUID_FILE)),
    Case("434", check(ROLL_A, demo("roll:latest"), "demo-pass"), passes("demo-pass")),
    Case("451", check(ROLL_A, demo("roll:latest"), "demo-pass"), UNKNOWN),
    Case("461", check(WEB, WEB_TAG, "demo-flip"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("463", check(WEB, WEB_TAG, "demo-flip"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("464", check(WEB, WEB_TAG, "demo-flip"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("465", check(WEB, WEB_TAG, "demo-flip"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case(
        "468",
        check(WEB, WEB_TAG, "demo-flip"),
        refused(PolicyNotFound, "policy demo-flip does not exist in Anchore"),
        other=NO_DETAIL_ASKED,
    ),
    Case("472", check(WEB, WEB_TAG, None), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("473", check(WEB, WEB_TAG, None), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case(
        "474",
        check(WEB, WEB_TAG, "demo-pass"),
        refused(AnchoreResponseInvalid, "Anchore's response holds no evaluation, or several"),
        other=NO_DETAIL_ASKED,
    ),
    Case("476", check(WEB, WEB_TAG, "demo-pass"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("500", check(WEB, WEB_TAG, "demo-fail"), ENGINE_DOWN),
    Case("501", check(WEB, WEB_TAG, "demo-fail"), ENGINE_DOWN, other=NOT_INTERACTIVE),
    Case("502", check(WEB, demo("web:never"), "demo-fail"), ENGINE_DOWN, other=NOT_INTERACTIVE),
    Case("511", check(WEB, WEB_TAG, "demo-fail"), ENGINE_DOWN),
    Case("522", check(WEB, WEB_TAG, "demo-pass"), BROKEN_INSIDE),
    Case("533", check(WEB, WEB_TAG, "demo-pass"), NO_DETAIL, other=NO_DETAIL_ASKED),
    Case("542", check(WEB, WEB_TAG, "demo-pass"), UNAUTHORIZED),
]


@pytest.mark.parametrize("case", parameters(CASES))
async def test_client_reads_recorded_responses_of_anchore_engine(case: Case) -> None:
    await replay(case)


@pytest.mark.parametrize(
    ("number", "call", "expected"),
    [
        ("122", check(WEB, WEB_TAG, "demo-warn"), passes("demo-warn", warnings=(HEALTHCHECK,), warnings_total=1)),
        (
            "123",
            check(WEB, WEB_TAG, "demo-mixed"),
            passes("demo-mixed", warnings=(HEALTHCHECK, replace(ZLIB, action="warn")), warnings_total=2),
        ),
        (
            "151",
            check(WEB_1_1, demo("web:1.1"), "demo-mixed"),
            fails(
                "demo-mixed",
                *(ROOT_USER, SSH_PORT, SUID_FILE),
                warnings=(HEALTHCHECK, replace(ZLIB, action="warn")),
                warnings_total=2,
            ),
        ),
        ("120", check(WEB, WEB_TAG, "demo-pass"), passes("demo-pass", warnings_total=0)),
        ("125", check(WEB, WEB_TAG, "demo-nomap"), passes("demo-nomap", mapped=False, warnings_total=0)),
    ],
)
async def test_findings_that_warn_are_kept_for_other_policy_engines(
    number: str, call: Call, expected: PolicyEvaluation
) -> None:
    evaluation = await call(replaying(number, keeps_warnings=True))
    assert evaluation == expected
    assert evaluation.warns == (number in {"122", "123"})


async def test_without_another_policy_engine_they_are_not_kept() -> None:
    evaluation = await check(WEB, WEB_TAG, "demo-mixed")(replaying("123"))
    assert (evaluation.warns, evaluation.warnings, evaluation.warnings_total) == (True, (), None)


async def test_a_digest_in_the_place_of_a_tag_is_never_checked() -> None:
    """Anchore Engine answers it with a stop that is no verdict: recording 133 holds a TypeError."""
    query = recording("133")["request"]["query"]
    with pytest.raises(ValueError, match="not a full tag"):
        await check(WEB, query["tag"], query["policyId"])(client(None))


async def test_a_digest_in_the_place_of_a_tag_shows_as_a_problem() -> None:
    exchange = recording("133")
    answers = exchange["response"]["body"]
    (by_tag,) = answers[0].values()
    by_tag[WEB_TAG] = by_tag.pop(exchange["request"]["query"]["tag"])
    evaluation = await check(WEB, WEB_TAG, "demo-pass")(client(Played(answering(answers)).transport()))
    assert evaluation == fails("demo-pass", problems=("TypeError: expected string or bytes-like object",))
