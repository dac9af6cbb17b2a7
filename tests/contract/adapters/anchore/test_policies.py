"""The list of policies: recorded responses of Anchore Engine, and responses of API v2 and of other servers."""

from typing import Any

import pytest

from anchore_admission.core.facts import PolicyVersion
from anchore_admission.errors import AnchoreRefused, AnchoreResponseInvalid, AnchoreResponseTooLarge, AnchoreUnavailable
from anchore_admission.models.configuration import ApiVersion
from anchore_admission.ports.anchore import Anchore
from support.anchore_calls import Played, answering, client, deadline, error, page, playing
from support.anchore_recordings import Case, parameters, refused, replay

FIRST = "2026-11-23T11:47:37Z"
DEFAULT = "2c53a13c-1765-11e8-82ef-23527761d060"
DEMOS = ("demo-pass", "demo-fail", "demo-warn", "demo-mixed", "demo-lists", "demo-nomap", "demo-vuln", "demo-allowlist")


async def listed(anchore: Anchore) -> dict[str, tuple[bool, str]]:
    return {row.policy: (row.active, row.last_updated) for row in await anchore.policies(deadline())}


def demos(**changed: tuple[bool, str]) -> dict[str, tuple[bool, str]]:
    """The policies of the recordings; the first two were added a second before the others."""
    return {name: (False, f"2026-11-23T11:48:{49 if name in DEMOS[:2] else 50}Z") for name in DEMOS} | {
        name.replace("_", "-"): version for name, version in changed.items()
    }


CASES = [
    Case("060", listed, {DEFAULT: (True, FIRST)}),
    Case("068", listed, demos() | {DEFAULT: (True, FIRST)}),
    Case(
        "413",
        listed,
        demos(demo_fail=(True, "2026-11-23T11:55:38Z")) | {DEFAULT: (False, "2026-11-23T11:55:38Z")},
    ),
    Case(
        "508",
        listed,
        demos(demo_fail=(False, "2026-11-23T11:55:39Z")) | {DEFAULT: (True, "2026-11-23T11:55:39Z")},
    ),
    Case("526", listed, refused(AnchoreUnavailable, "Anchore failed with a server error (500)")),
]


@pytest.mark.parametrize("case", parameters(CASES))
async def test_client_reads_recorded_lists_of_anchore_engine(case: Case) -> None:
    await replay(case)


def v2_row(name: str = "strict", **more: Any) -> dict[str, Any]:
    return {"policy_id": name, "active": True, "last_updated": "2026-01-01T00:00:00.123456+00:00", **more}


async def test_v2_lists_policies_with_times_in_its_own_format() -> None:
    anchore = Played(answering([v2_row(), v2_row("other", active=False, policy=None)]))
    assert await client(anchore.transport(), ApiVersion.V2).policies(deadline()) == (
        PolicyVersion("strict", True, "2026-01-01T00:00:00.123456+00:00"),
        PolicyVersion("other", False, "2026-01-01T00:00:00.123456+00:00"),
    )
    assert [str(request.url.raw_path, "ascii") for request in anchore.asked] == ["/v2/policies"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], {}),
        ({"items": [v2_row()]}, {"strict": (True, "2026-01-01T00:00:00.123456+00:00")}),
        ([{"policy_id": "bare"}], {"bare": (False, "")}),
        ([v2_row(active=None, last_updated=None, unknown={"a": 1})], {"strict": (False, "")}),
    ],
)
async def test_v2_in_other_shapes(body: Any, expected: dict[str, tuple[bool, str]]) -> None:
    assert await listed(client(Played(answering(body)).transport(), ApiVersion.V2)) == expected


@pytest.mark.parametrize("version", [ApiVersion.V1, ApiVersion.V2])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"policies": []},
        "policies",
        None,
        [[]],
        [{}],
        [{"policy_id": "", "policyId": ""}],
        [{"policy_id": None, "policyId": None}],
        [{"policy_id": 7, "policyId": 7}],
        [{"policy_id": "a", "policyId": "a", "last_updated": 7}],
        [{"policy_id": "a", "policyId": "a", "active": "perhaps"}],
        [{"policy_id": "a", "policyId": "a", "last_updated": "9" * 101}],
        [{"policy_id": "a" * 1001, "policyId": "a" * 1001}],
    ],
)
async def test_a_list_that_cannot_be_read_is_no_list(version: ApiVersion, body: Any) -> None:
    with pytest.raises(AnchoreResponseInvalid):
        await client(Played(answering(body)).transport(), version).policies(deadline())


@pytest.mark.parametrize(
    "body",
    [
        [{"policyId": f"p{number}"} for number in range(2001)],
        [{"policyId": "a", "policybundle": {"comment": "x" * 1024 * 1024}}],
    ],
    ids=["many rows", "large rows"],
)
async def test_a_list_that_is_too_large(body: Any) -> None:
    with pytest.raises(AnchoreResponseTooLarge):
        await client(Played(answering(body)).transport()).policies(deadline())


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (page(), AnchoreResponseInvalid),
        (page(401), AnchoreRefused),
        (error(403, "Not authorized. Requires permissions: domain=a action=listPolicies target=*"), AnchoreRefused),
        (error(404, "User account not found"), AnchoreRefused),
        (error(404, "nothing here"), AnchoreResponseInvalid),
        (error(400, "bad"), AnchoreResponseInvalid),
    ],
)
async def test_a_failure_is_never_an_empty_list(response: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await client(playing(response).transport()).policies(deadline())
