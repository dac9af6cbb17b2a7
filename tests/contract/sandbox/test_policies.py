"""Policies in the sandbox: what is accepted, how it is evaluated, how either API shows it."""

import copy
from typing import Any

import pytest

from anchore_admission.sandbox import InvalidSeed
from anchore_admission.sandbox.seed_file import seed_from
from support.sandbox_calls import Sandbox

IMAGE = "docker.io/library/nginx:1.25"
DEFAULT = "2c53a13c-1765-11e8-82ef-23527761d060"
FINDINGS: list[dict[str, Any]] = [
    {"id": "CVE-2021-1", "severity": "critical", "package": "openssl", "fix": "1.1.1k-r0", "packageType": "APKG"},
    {"id": "CVE-2021-2", "severity": "medium", "package": "libstdc++6", "packageType": "dpkg", "willNotFix": True},
    {
        "id": "GHSA-3",
        "severity": "Low",
        "package": "lodash",
        "version": "4.17.15",
        "packageType": "npm",
        "path": "/app/lodash",
    },
]


def rule(
    gate: str = "vulnerabilities", trigger: str = "package", action: str = "STOP", **params: str
) -> dict[str, Any]:
    pairs = [{"name": name, "value": value} for name, value in params.items()]
    return {"id": "r1", "gate": gate, "trigger": trigger, "action": action, "params": pairs}


def bundle(*rules: dict[str, Any], **changes: Any) -> dict[str, Any]:
    mapping = {"id": "m1", "name": "all", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}}
    return {
        "id": "p",
        "version": "1_0",
        "name": "policy",
        "policies": [{"id": "rs1", "version": "1_0", "name": "rules", "rules": list(rules)}],
        "whitelists": [],
        "whitelisted_images": [],
        "blacklisted_images": [],
        "mappings": [mapping | {"policy_id": "rs1", "whitelist_ids": [w["id"] for w in changes.get("whitelists", [])]}],
    } | changes


def sandbox_with(policy: dict[str, Any], findings: list[dict[str, Any]] = FINDINGS) -> Sandbox:
    images = [{"tag": IMAGE, "findings": findings}]
    return Sandbox({"images": images, "policies": [{"policy": policy, "active": True}]})


async def check(sandbox: Sandbox, tag: str = IMAGE, **params: str) -> dict[str, Any]:
    """The one evaluation of API v2."""
    (image,) = await sandbox.get("/v1/images", params={"fulltag": IMAGE})
    body = await sandbox.get(f"/v2/images/{image['imageDigest']}/check", params={"tag": tag} | params)
    assert body["image_digest"] == image["imageDigest"]
    (evaluation,) = body["evaluations"]
    return dict(evaluation)


ALL = {"package_type": "all"}
FIRED = [
    ({**ALL}, ["CVE-2021-1", "GHSA-3"]),  # above unknown; findings that the vendor will not fix are left out
    ({**ALL, "vendor_only": "false"}, ["CVE-2021-1", "CVE-2021-2", "GHSA-3"]),
    ({**ALL, "severity": "low", "severity_comparison": ">="}, ["CVE-2021-1", "GHSA-3"]),
    ({**ALL, "severity": "low", "severity_comparison": ">"}, ["CVE-2021-1"]),
    ({**ALL, "severity": "low", "severity_comparison": "="}, ["GHSA-3"]),
    ({**ALL, "severity": "low", "severity_comparison": "!="}, ["CVE-2021-1"]),
    ({**ALL, "severity": "low", "severity_comparison": "<"}, []),
    ({**ALL, "severity": "low", "severity_comparison": "<="}, ["GHSA-3"]),
    ({**ALL, "severity": "low"}, ["CVE-2021-1"]),
    ({"package_type": "os"}, ["CVE-2021-1"]),
    ({"package_type": "non-os"}, ["GHSA-3"]),
    ({**ALL, "fix_available": "true"}, ["CVE-2021-1"]),
    ({**ALL, "fix_available": "false"}, ["GHSA-3"]),
]


@pytest.mark.parametrize(("params", "fired"), FIRED)
async def test_the_vulnerability_rule_fires_for_its_parameters(params: dict[str, str], fired: list[str]) -> None:
    evaluation = await check(sandbox_with(bundle(rule(**params))))

    assert [f["trigger_id"].split("+", 1)[0] for f in evaluation["details"]["findings"]] == fired
    assert evaluation["status"] == ("fail" if fired else "pass")
    assert evaluation["number_of_findings"] == len(fired)


MESSAGES = {
    "CVE-2021-1+openssl": "CRITICAL Vulnerability found in os package type (APKG) - openssl (fixed in: 1.1.1k-r0)"
    "(CVE-2021-1 - https://nvd.nist.gov/vuln/detail/CVE-2021-1)",
    "CVE-2021-2+libstdc++6": "MEDIUM Vulnerability found in os package type (dpkg) - libstdc++6 "
    "(CVE-2021-2 - https://nvd.nist.gov/vuln/detail/CVE-2021-2)",
    "GHSA-3+lodash-4.17.15": "LOW Vulnerability found in non-os package type (npm) - /app/lodash "
    "(GHSA-3 - https://nvd.nist.gov/vuln/detail/GHSA-3)",
}


async def test_findings_read_as_the_engines() -> None:
    evaluation = await check(sandbox_with(bundle(rule(package_type="all", vendor_only="false"))))

    assert {f["trigger_id"]: f["message"] for f in evaluation["details"]["findings"]} == MESSAGES


ACTIONS = [
    ((), "go", "pass"),
    (("GO",), "go", "pass"),
    (("WARN",), "warn", "pass"),
    (("STOP",), "stop", "fail"),
    (("WARN", "STOP", "GO"), "stop", "fail"),
]


@pytest.mark.parametrize(("actions", "final", "status"), ACTIONS)
async def test_the_worst_action_is_final(actions: tuple[str, ...], final: str, status: str) -> None:
    rules = [rule("always", "always", action) for action in actions]

    evaluation = await check(sandbox_with(bundle(*rules)))

    assert (evaluation["final_action"], evaluation["status"]) == (final, status)
    assert evaluation["details"]["policy_action"] == final


NOT_EVALUATED = [
    rule("dockerfile", "exposed_ports", ports="22", type="denylist"),
    rule("packages", "blacklist", name="zlib"),
    rule("malware", "scans"),
    rule("tag_drift", "packages_added"),
    rule(package_type="all", cvss_v3_base_score="7.0"),
    rule(package_type="all", max_days_since_fix="7", fix_available="true"),
]


@pytest.mark.parametrize("untold", NOT_EVALUATED, ids=lambda r: f"{r['gate']}-{r['trigger']}")
@pytest.mark.parametrize("action", ["GO", "STOP"])
async def test_a_rule_that_the_sandbox_cannot_evaluate_is_a_problem_and_never_a_pass(
    untold: dict[str, Any], action: str
) -> None:
    everywhere = {"name": "all", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}}
    policy = bundle(untold | {"action": action}, rule("always", "always", "GO"), whitelisted_images=[everywhere])

    evaluation = await check(sandbox_with(policy))

    assert (evaluation["status"], evaluation["final_action"]) == ("fail", "stop")
    (problem,) = evaluation["evaluation_problems"]
    assert problem["severity"] == "error"
    assert problem["problem_type"] == "GateNotImplementedError"
    assert len(evaluation["details"]["findings"]) == 1


REFUSED = [
    (bundle(rule("no-such-gate", "x")), "GateNotFoundError"),
    (bundle(rule("vulnerabilities", "x")), "TriggerNotFoundError"),
    (bundle(rule("always", "x")), "TriggerNotFoundError"),
    (bundle(rule()), "RequiredParameterNotSetError"),
    (bundle(rule(package_type="any")), "ParameterValueInvalidError"),
    (bundle(rule(package_type="all", severity="HIGH")), "ParameterValueInvalidError"),
    (bundle(rule(package_type="all", severity_comparison="=>")), "ParameterValueInvalidError"),
    (bundle(rule(package_type="all", colour="red")), "InvalidParameterError"),
    (bundle(policies=[]), "ReferencedObjectNotFoundError"),
    (
        bundle(mappings=[{"registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}}]),
        "ValidationError",
    ),
]


@pytest.mark.parametrize(("policy", "problem"), REFUSED)
async def test_a_policy_that_anchore_would_reject_is_rejected(policy: dict[str, Any], problem: str) -> None:
    sandbox = Sandbox()

    answer = await sandbox.call("POST", "/v1/policies", json=policy)

    assert (answer.status_code, answer.json()["message"]) == (400, "Bundle failed validation")
    assert problem in [detail["problem_type"] for detail in answer.json()["detail"]["validation_details"]]
    assert [stored["policyId"] for stored in await sandbox.get("/v1/policies")] == [DEFAULT]


MALFORMED = [
    ([], "[] is not of type 'object'"),
    ({"id": "x", "version": "1_0", "policies": []}, "'mappings' is a required property"),
    (bundle(rule("always", "always", "DENY")), "Input should be 'GO', 'WARN' or 'STOP' - 'rule_sets.0.rules.0.action'"),
]


@pytest.mark.parametrize(("policy", "detail"), MALFORMED)
async def test_a_policy_of_the_wrong_shape_is_a_problem_document(policy: Any, detail: str) -> None:
    assert await Sandbox().refused("POST", "/v1/policies", json=policy) == (400, detail)


LISTED = {"id": "l1", "name": "l1", "registry": "docker.io", "repository": "library/*"}


@pytest.mark.parametrize("kind", ["tag", "digest", "id"])
@pytest.mark.parametrize(
    ("allowed", "denied", "reason", "status"),
    [(True, False, "allowlisted", "pass"), (False, True, "denylisted", "fail"), (True, True, "denylisted", "fail")],
)
async def test_image_lists_beat_the_policy(kind: str, allowed: bool, denied: bool, reason: str, status: str) -> None:
    (image,) = await sandbox_with(bundle()).get("/v1/images")
    value = {"tag": "1.*", "digest": image["imageDigest"], "id": image["image_detail"][0]["imageId"]}[kind]
    listed = [LISTED | {"image": {"type": kind, "value": value}}]
    action = "STOP" if allowed and not denied else "GO"

    evaluation = await check(
        sandbox_with(
            bundle(
                rule("always", "always", action),
                whitelisted_images=listed if allowed else [],
                blacklisted_images=listed if denied else [],
            )
        )
    )

    assert (evaluation["final_action_reason"], evaluation["status"]) == (reason, status)
    assert (evaluation["image_allowlisted"], evaluation["image_denylisted"]) == (allowed, denied)
    assert evaluation["details"]["policy_action"] == action.lower()


ALLOWLISTS = [
    ("CVE-2021-1+openssl", None, True),
    ("CVE-2021-1+*", "", True),
    ("*", "2030-01-01T00:00:00Z", True),
    ("CVE-2021-1+openss", None, False),
    ("CVE-2021-1+openssl", "2020-01-01T00:00:00Z", False),
    ("CVE-2021-1+openssl", "2020-01-01T00:00:00", False),
]


@pytest.mark.parametrize(("trigger_id", "expires_on", "allowed"), ALLOWLISTS)
async def test_an_allowlist_lets_a_finding_go_until_it_expires(
    trigger_id: str, expires_on: str | None, allowed: bool
) -> None:
    item: dict[str, Any] = {"id": "i1", "gate": "vulnerabilities", "trigger_id": trigger_id}
    if expires_on is not None:
        item["expires_on"] = expires_on
    allowlist = {"id": "w1", "version": "1_0", "name": "w", "items": [item]}
    policy = bundle(rule(package_type="os"), whitelists=[allowlist])

    evaluation = await check(sandbox_with(policy))

    (finding,) = evaluation["details"]["findings"]
    match = {"id": "w1", "name": "w", "matched_rule_id": "i1"} if allowed else None
    assert (finding["allowlisted"], finding["allowlist_match"]) == (allowed, match)
    assert (finding["action"], evaluation["status"]) == (("go", "pass") if allowed else ("stop", "fail"))


MAPPINGS = [
    ("docker.io", "library/*", {"type": "tag", "value": "1.*"}, True),
    ("*", "*", {"type": "tag", "value": "1.25"}, True),
    ("docker.*", "*nginx", {"type": "tag", "value": "*"}, True),
    ("quay.io", "*", {"type": "tag", "value": "*"}, False),
    ("*", "nginx", {"type": "tag", "value": "*"}, False),
    ("*", "*", {"type": "tag", "value": "1.2"}, False),
    ("*", "LIBRARY/nginx", {"type": "tag", "value": "*"}, False),
    ("*", "*", {"type": "digest", "value": "sha256:x"}, False),
]


@pytest.mark.parametrize(("registry", "repository", "image", "mapped"), MAPPINGS)
async def test_the_first_mapping_that_matches_decides_and_none_is_a_pass(
    registry: str, repository: str, image: dict[str, str], mapped: bool
) -> None:
    names = {"name": "m", "registry": registry, "repository": repository, "image": image}
    mapping = names | {"policy_ids": ["rs1"], "whitelist_ids": []}

    evaluation = await check(sandbox_with(bundle(rule("always", "always"), mappings=[mapping])))

    assert evaluation["image_mapped_to_rule"] is mapped
    assert evaluation["status"] == ("fail" if mapped else "pass")
    expected = names | {"rule_set_ids": ["rs1"], "allowlist_ids": []}
    assert evaluation["matched_mapping_rule"] == (expected if mapped else None)


async def test_a_mapping_by_digest_breaks_an_evaluation_of_v1_but_not_of_v2() -> None:
    sandbox = sandbox_with(bundle())
    (image,) = await sandbox.get("/v1/images")
    by_digest = {"name": "m", "registry": "*", "repository": "*", "policy_id": "rs1", "whitelist_ids": []}
    mapping = by_digest | {"image": {"type": "digest", "value": image["imageDigest"]}}
    sandbox = sandbox_with(bundle(mappings=[mapping]))

    body = await sandbox.get(f"/v1/images/{image['imageDigest']}/check", params={"tag": IMAGE})

    result = body[0][image["imageDigest"]][IMAGE][0]["detail"]["result"]
    assert (result["status"], result["evaluation_problems"][0]["problem_type"]) == ("fail", "AttributeError")
    assert (await check(sandbox))["status"] == "pass"


async def test_a_digest_reference_as_tag_is_a_false_stop() -> None:
    evaluation = await check(sandbox_with(bundle()), tag=f"docker.io/library/nginx@sha256:{'a' * 64}")

    assert (evaluation["status"], evaluation["number_of_findings"]) == ("fail", 0)
    assert evaluation["evaluation_problems"][0]["problem_type"] == "TypeError"


async def test_an_empty_tag_evaluates_every_tag() -> None:
    images = [{"tag": ["r.io/a:2", "r.io/a:1"]}]
    sandbox = Sandbox({"images": images})
    (image,) = await sandbox.get("/v1/images")

    body = await sandbox.get(f"/v1/images/{image['imageDigest']}/check", params={"tag": "", "detail": "false"})

    assert list(body[0][image["imageDigest"]]) == ["r.io/a:1", "r.io/a:2"]


async def test_history_lists_changes_newest_first() -> None:
    sandbox = sandbox_with(bundle(rule("always", "always")))
    (image,) = await sandbox.get("/v1/images")
    path, params = f"/v1/images/{image['imageDigest']}/check", {"tag": IMAGE, "detail": "false"}
    await sandbox.get(path, params=params)
    sandbox.clock.now += 60
    await sandbox.get(path, params=params)
    await sandbox.call("PUT", "/v1/policies/p", json={"policybundle": bundle(rule("always", "always", "WARN"))})
    await sandbox.get(path, params=params | {"interactive": "true"})

    body = await sandbox.get(path, params=params | {"history": "true"})

    assert [e["status"] for e in body[0][image["imageDigest"]][IMAGE]] == ["pass", "fail"]


async def test_new_findings_reach_an_image_that_is_analyzed_already() -> None:
    sandbox = sandbox_with(bundle(rule(package_type="all")), findings=[])
    assert (await check(sandbox))["status"] == "pass"

    entry = {"tag": IMAGE, "findings": FINDINGS}
    assert (await sandbox.call("PUT", "/sandbox/registry", json=entry)).status_code == 200

    assert (await check(sandbox))["status"] == "fail"


async def test_a_v1_bundle_is_shown_as_a_v2_policy() -> None:
    whitelist = {"id": "w1", "version": "1_0", "name": "w", "comment": "why", "items": []}
    sandbox = sandbox_with(bundle(rule("always", "always"), comment="mine", whitelists=[whitelist]))

    record = await sandbox.get("/v2/policies/p")

    assert (record["policy_id"], record["account_name"], record["active"]) == ("p", "admin", True)
    assert (record["name"], record["description"]) == ("policy", "mine")
    policy = record["policy"]
    assert policy["version"] == "2"
    assert set(policy) == {
        *("id", "version", "name", "description", "rule_sets", "allowlists", "mappings"),
        *("allowlisted_images", "denylisted_images"),
    }
    assert policy["allowlists"][0]["description"] == "why"
    assert policy["mappings"][0]["rule_set_ids"] == ["rs1"]
    assert policy["mappings"][0]["allowlist_ids"] == ["w1"]
    assert "policy_id" not in policy["mappings"][0]


def v2_policy(**changes: Any) -> dict[str, Any]:
    mapping = {"id": "m1", "name": "m", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}}
    return {
        "id": "v2",
        "name": "two",
        "version": "2",
        "rule_sets": [{"id": "rs1", "name": "rs", "version": "2", "rules": [rule("always", "always")]}],
        "allowlists": [],
        "mappings": [mapping | {"rule_set_ids": ["rs1"], "allowlist_ids": []}],
        "allowlisted_images": [],
        "denylisted_images": [],
    } | changes


async def test_a_v2_policy_is_shown_as_a_v1_bundle_and_evaluated() -> None:
    policy = v2_policy()
    sandbox = Sandbox({"images": [{"tag": IMAGE}]})

    added = await sandbox.call("POST", "/v2/policies", json=policy)
    activated = await sandbox.call("PUT", "/v2/policies/v2", params={"active": "true"}, json=added.json())
    (shown,) = await sandbox.get("/v1/policies/v2")

    assert added.json()["policy"] == policy
    assert (added.json()["active"], activated.json()["active"], shown["active"]) == (False, True, True)
    assert shown["policybundle"]["version"] == "1_0"
    assert shown["policybundle"]["mappings"][0]["policy_ids"] == ["rs1"]
    assert (await check(sandbox))["status"] == "fail"
    assert (await sandbox.call("DELETE", f"/v2/policies/{DEFAULT}")).status_code == 204
    assert (await sandbox.refused("DELETE", "/v2/policies/v2"))[0] == 500
    assert [p["policy_id"] for p in await sandbox.get("/v2/policies")] == ["v2"]


def _without(path: str) -> dict[str, Any]:
    """Return the policy without the key at the end of a path of keys and indexes."""
    allowlist = {"id": "a", "name": "a", "version": "2", "items": [{"id": "i", "gate": "g", "trigger_id": "t"}]}
    listed = {"id": "l", "name": "l", "registry": "*", "repository": "*", "image": {"type": "tag", "value": "*"}}
    source = {"id": "s", "name": "s", "host": "*", "repository": "*", "rule_set_ids": ["rs1"], "allowlist_ids": []}
    policy = copy.deepcopy(
        v2_policy(
            rule_sets=[{"id": "rs1", "name": "rs", "version": "2", "rules": [rule(package_type="all")]}],
            allowlists=[allowlist],
            allowlisted_images=[listed],
            denylisted_images=[dict(listed)],
            source_mappings=[source],
        )
    )
    part: Any = policy
    *above, last = path.split(".")
    for key in above:
        part = part[int(key) if key.isdigit() else key]
    del part[last]
    return policy


REQUIRED_BY_V2 = [
    *("id", "name", "version", "rule_sets", "mappings"),
    *(f"rule_sets.0.{key}" for key in ("id", "name", "version", "rules")),
    *(f"rule_sets.0.rules.0.{key}" for key in ("id", "gate", "trigger", "action", "params")),
    *(f"rule_sets.0.rules.0.params.0.{key}" for key in ("name", "value")),
    *(f"mappings.0.{key}" for key in ("id", "name", "registry", "repository", "image", "rule_set_ids")),
    "mappings.0.allowlist_ids",
    *(f"mappings.0.image.{key}" for key in ("type", "value")),
    *(f"allowlists.0.{key}" for key in ("id", "name", "version", "items")),
    *(f"allowlists.0.items.0.{key}" for key in ("id", "gate", "trigger_id")),
    *(f"allowlisted_images.0.{key}" for key in ("id", "name", "registry", "repository", "image")),
    *(f"denylisted_images.0.{key}" for key in ("id", "name", "registry", "repository", "image")),
    *(f"source_mappings.0.{key}" for key in ("id", "name", "host", "repository", "rule_set_ids", "allowlist_ids")),
]


@pytest.mark.parametrize("path", REQUIRED_BY_V2)
async def test_v2_rejects_a_policy_that_lacks_required_fields(path: str) -> None:
    above, _, last = path.rpartition(".")
    detail = f"'{last}' is a required property" + (f" - '{above}'" if above else "")
    sandbox = Sandbox()

    assert await sandbox.refused("POST", "/v2/policies", json=_without(path)) == (400, detail)
    assert [stored["policy_id"] for stored in await sandbox.get("/v2/policies")] == [DEFAULT]


REFUSED_BY_V2 = [
    ([], "[] is not of type 'object'"),
    (v2_policy(name=""), "String should have at least 1 character - 'name'"),
    (v2_policy(comment="v1's"), "Additional properties are not allowed ('comment' was unexpected)"),
    (v2_policy(whitelists=[]), "Additional properties are not allowed ('whitelists' was unexpected)"),
    (v2_policy(version=2), "Input should be a valid string - 'version'"),
    (v2_policy(description=None), "Input should be a valid string - 'description'"),
    (
        v2_policy(mappings=[v2_policy()["mappings"][0] | {"policy_id": "rs1"}]),
        "Additional properties are not allowed ('policy_id' was unexpected) - 'mappings.0'",
    ),
    (
        v2_policy(rule_sets=[v2_policy()["rule_sets"][0] | {"comment": ""}]),
        "Additional properties are not allowed ('comment' was unexpected) - 'rule_sets.0'",
    ),
    (
        v2_policy(rule_sets=[v2_policy()["rule_sets"][0] | {"rules": [rule("always", "always") | {"params": {}}]}]),
        "Input should be a valid list - 'rule_sets.0.rules.0.params'",
    ),
]


@pytest.mark.parametrize(("policy", "detail"), REFUSED_BY_V2)
async def test_v2_rejects_fields_that_its_schema_does_not_know(policy: Any, detail: str) -> None:
    sandbox = Sandbox()

    assert await sandbox.refused("POST", "/v2/policies", json=policy) == (400, detail)
    (stored,) = await sandbox.get("/v2/policies")
    if isinstance(policy, dict):
        record = stored | {"policy": policy}
        assert (await sandbox.refused("PUT", f"/v2/policies/{DEFAULT}", json=record)) == (400, detail)


async def test_v2_accepts_everything_that_its_schema_names() -> None:
    described = {"description": "why"}
    policy = v2_policy(
        **described,
        rule_sets=[
            {"id": "rs1", "name": "rs", "version": "2", "rules": [rule("always", "always") | described]}
            | {"artifact_type": "image"}
            | described
        ],
        last_updated=1,
    )
    policy["rule_sets"][0]["rules"][0]["recommendation"] = "do not"
    items = [{"id": "i", "gate": "g", "trigger_id": "t", "expires_on": None} | described]
    policy["allowlists"] = [{"id": "a", "name": "a", "version": "2", "items": items} | described]

    answer = await Sandbox().call("POST", "/v2/policies", json=policy)

    assert (answer.status_code, answer.json()["policy"]) == (200, policy)


async def test_a_known_policy_is_a_conflict_for_v2_and_replaced_by_v1() -> None:
    """Recording 064; the description of API v2 has a 409."""
    sandbox = Sandbox()
    assert (await sandbox.call("POST", "/v2/policies", json=v2_policy())).status_code == 200

    assert await sandbox.refused("POST", "/v2/policies", json=v2_policy(name="again")) == (
        409,
        "Policy v2 already exists",
    )
    assert (await sandbox.get("/v2/policies/v2"))["name"] == "two"
    assert (await sandbox.call("POST", "/v1/policies", json=bundle(id="v2"))).status_code == 200


@pytest.mark.parametrize("key", ["account_name", "active", "name", "policy_id", "policy_source"])
async def test_v2_changes_a_policy_only_by_its_whole_record(key: str) -> None:
    sandbox = Sandbox()
    path = f"/v2/policies/{DEFAULT}"
    record = await sandbox.get(path)

    for policy in (None, record["policy"]):
        assert (await sandbox.call("PUT", path, json=record | {"policy": policy})).status_code == 200
    assert await sandbox.get(path) == record
    del record[key]
    assert await sandbox.refused("PUT", path, json=record) == (400, f"'{key}' is a required property")


def test_a_seed_is_held_to_the_schema_of_the_api_that_its_policy_is_written_for() -> None:
    policy = v2_policy()
    del policy["rule_sets"][0]["version"]

    with pytest.raises(InvalidSeed) as caught:
        seed_from({"policies": [{"policy": policy}]}, "seed.yaml")

    assert "policies[0].policy: 'version' is a required property - 'rule_sets.0'" in str(caught.value)
