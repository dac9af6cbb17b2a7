"""The sandbox answers what a real engine answered: status, message and the keys of every body."""

import json
import re
from typing import Any

import httpx
import pytest

from support.paths import DATA
from support.sandbox_calls import ADMIN, Sandbox

RECORDINGS = DATA / "anchore-engine-v1"
WEB = "sha256:041f9806415e0bdd35072739cd96ef000fc600f90dbc4bdc20457083ce96d719"
FAILING = "sha256:3c1b8b9953ea8c721b014c15b9b47d0db6f3f225a8618b5c9977edcb6451ebca"
ROLL = "sha256:3e1a61cce3889cd68d994f9fc22db83309855ab8b906648cd13cd677289bcb05"
ROLLED = "sha256:06cf6e5d5127b68a1f04e32026a34a0552eb93bf0ee876dead05b67add37550b"
CHILD = "sha256:0b80bbc6dcde86a1d9c3df1a16cbcbb21318443c41919976ec95fccdfbd0fbf5"
LIST = "sha256:d803f651d988276632959dc55aac851abaa26e0afda914a6129f755a7714432f"
BROKEN = "sha256:cf0e6523cc025566be1f6c0155a993e95142b0628c2e70a37d70cfc118761819"
REPO = "127.0.0.1:5000/demo"
CTL, BOB = ("ctl", "secret-ctl"), ("bob", "secret-bob")
CTL_CALLS = {"035", "041", "052", "053", "054", "055", "061", "143", "144", "400", "401"}
BOB_CALLS = {"441", "442"}
WRONG_CALLS = {"021", "022", "026", "142", "546"}
# bodies that hold whole policies, the engine's own notes on its storage, and the sandbox's marks
NOT_COMPARED = {"policybundle", "policybundlemeta", "policy", "bundle", "annotations"}
MARKS = {"sandbox"}


def recording(name: str) -> dict[str, Any]:
    (path,) = RECORDINGS.glob(f"{name}-*.json" if len(name) == 3 else f"{name}.json")
    exchange: dict[str, Any] = json.loads(path.read_text())
    return exchange


def passing_policy() -> dict[str, Any]:
    """The recorded demo-pass with a rule of a gate that the sandbox evaluates."""
    policy: dict[str, Any] = recording("063")["request"]["body"]
    params = [{"name": "package_type", "value": "all"}]
    rule = {"id": "r1", "gate": "vulnerabilities", "trigger": "package", "action": "STOP", "params": params}
    policy["policies"][0]["rules"] = [rule]
    return policy


IN_REGISTRY = ("queued", "analyzing", "empty", "disabled")


def known(stage: str) -> list[dict[str, Any]]:
    """The images of a stage, of the registry alone or of Anchore too."""
    more: dict[str, list[dict[str, Any]]] = {
        "moved": [{"tag": f"{REPO}/roll:latest", "digest": ROLL}],
        "rolled": [{"tag": f"{REPO}/roll:latest", "digest": ROLL}],
        "queued": [{"tag": f"{REPO}/multi:1.0", "digest": CHILD, "parentDigest": LIST}, {"tag": f"{REPO}/broken:1.0"}],
        "analyzed": [
            {"tag": f"{REPO}/multi:1.0", "digest": CHILD, "parentDigest": LIST},
            {"tag": f"{REPO}/broken:1.0", "digest": BROKEN, "state": "analysis_failed"},
        ],
        "hub": [
            {"tag": ["docker.io/testalpine:latest", "docker.io/library/testalpine:latest"]},
            {"tag": "docker.io/acme/tool:2", "digest": FAILING},
        ],
    }
    always = [{"tag": f"{REPO}/web:1.0", "digest": WEB}, {"tag": f"{REPO}/web:1.1", "digest": FAILING}]
    return always + more.get(stage, [])


def registry(stage: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {"tag": [f"{REPO}/web:latest", f"{REPO}/web:stable"], "digest": WEB},
        {"tag": "127.0.0.1:5999/demo/web:1.0", "error": "REGISTRY_NOT_ACCESSIBLE"},
    ]
    if stage in ("roll", "rolled"):
        entries.append({"tag": f"{REPO}/roll:latest", "digest": ROLL if stage == "roll" else ROLLED})
    return entries + (known(stage) if stage in IN_REGISTRY else [])


def accounts(stage: str) -> list[dict[str, Any]]:
    teams = [
        {"name": "team-a", "users": [{"username": CTL[0], "password": CTL[1]}]},
        {"name": "team-b", "users": [{"username": BOB[0], "password": BOB[1]}]},
    ]
    if stage == "disabled":
        teams[1]["state"] = "disabled"
    admin = {"name": "admin", "users": [{"username": ADMIN[0], "password": ADMIN[1]}]}
    return [admin] if stage == "bare" else [admin, *teams]


def policies(stage: str) -> list[dict[str, Any]]:
    if stage in ("bare", "empty"):
        return []
    recorded = [recording(f"065-policy-add-{name}")["request"]["body"] for name in ("fail", "lists", "nomap", "vuln")]
    return [{"policy": policy} for policy in (passing_policy(), *recorded)]


def seed(stage: str) -> dict[str, Any]:
    return {
        "apiVersions": ["v1"],
        "unknownImages": "refuse",
        "analysisTime": 10,
        "accounts": accounts(stage),
        "policies": policies(stage),
        "images": [] if stage in (*IN_REGISTRY, "bare") else known(stage),
        "registry": registry(stage),
        "faults": [{"mode": stage}] if stage in FAULTS else [],
    }


FAULTS = ("policyEngineDown", "catalogDown", "databaseDown", "registryDown")
TABLE: dict[str, tuple[str, ...]] = {
    "bare": (
        *(
            "001",
            "002",
            "003",
            "004",
            "005",
            "006",
            "007",
            "008",
            "009",
            "010",
            "020",
            "021",
            "022",
            "023",
            "024",
            "025",
        ),
        *("026", "030", "040", "042", "043", "044", "045", "046", "047", "048", "051", "056", "060", "062", "067"),
    ),
    "empty": ("031", "035", "041", "050", "052", "053", "054", "055", "061", "063", "066", "444"),
    "disabled": ("441", "442", "443"),
    "queued": ("100", "101", "102", "103", "104", "150", "320", "340"),
    "analyzing": ("105", "106", "107"),
    "analyzed": (
        *("110", "111", "112", "120", "121", "124", "125", "129", "130", "131", "132", "133", "134", "135", "136"),
        *(
            "137",
            "138",
            "140",
            "141",
            "142",
            "143",
            "144",
            "152",
            "160",
            "163",
            "164",
            "165",
            "166",
            "167",
            "168",
            "169",
        ),
        *("200", "201", "202", "203", "204", "205", "206", "207", "208", "209", "210", "211", "212", "220", "221"),
        *("222", "223", "224", "225", "270", "321", "322", "323", "324", "325", "326", "327", "328", "341", "342"),
        *("343", "344", "410", "411", "435", "467", "471", "473", "475", "476", "477", "478", "479", "480"),
    ),
    "hub": ("240", "241", "242", "243", "250", "251", "252", "253", "254", "255", "256", "257", "258", "259"),
    "forced": ("271", "272"),
    "roll": ("230",),
    "moved": ("300", "430", "431"),
    "rolled": ("301",),
    "policyEngineDown": ("500", "501", "502", "503", "504", "505", "506", "507", "508", "509", "510"),
    "catalogDown": ("520", "521", "522", "523", "524", "525", "526", "527"),
    "databaseDown": ("540", "541", "542", "543", "544", "545", "546"),
    "registryDown": ("531", "532", "533"),
}
ROWS = [pytest.param(stage, name, id=f"{name}-{stage}") for stage, names in TABLE.items() for name in names]


async def staged(stage: str) -> Sandbox:
    sandbox = Sandbox(seed(stage))
    if stage in ("queued", "analyzing"):
        await sandbox.add(f"{REPO}/web:1.0")
    if stage == "analyzing":
        sandbox.clock.now += 5
    if stage == "forced":
        await sandbox.add(f"{REPO}/web:1.0", force="true")
    return sandbox


async def replayed(sandbox: Sandbox, name: str) -> httpx.Response:
    request = recording(name)["request"]
    headers = {k: v for k, v in request["headers"].items() if k in ("content-type", "x-anchore-account")}
    body = request["body"]
    content = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
    user: tuple[str, str] | None = ADMIN
    if name in CTL_CALLS | BOB_CALLS:
        user = CTL if name in CTL_CALLS else BOB
    if name in WRONG_CALLS:
        user = ("admin", "wrong")
    if request["headers"].get("authorization") != "<basic>":
        user, headers = None, headers | {k: v for k, v in request["headers"].items() if k == "authorization"}
    return await sandbox.call(
        request["method"], request["path"], params=request["query"], headers=headers, content=content, user=user
    )


def shape(value: Any) -> Any:
    """The keys, all the way down; lists by their first item."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in MARKS}
        return {_key(k): ... if k in NOT_COMPARED else shape(v) for k, v in kept.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return ...


def _key(key: str) -> str:
    return "<image id>" if re.fullmatch("[0-9a-f]{64}", key) else key


def body_of(content_type: str, body: Any) -> Any:
    return json.loads(body) if "json" in content_type else body


@pytest.mark.parametrize(("stage", "name"), ROWS)
async def test_the_sandbox_answers_as_the_engine_did(stage: str, name: str) -> None:
    expected = recording(name)["response"]
    sandbox = await staged(stage)

    answer = await replayed(sandbox, name)

    assert answer.status_code == expected["status"], answer.text
    assert answer.headers["content-type"] == expected["headers"]["content-type"]
    assert answer.headers["x-anchore-sandbox"] == "true"
    body = body_of(answer.headers["content-type"], answer.text)
    if isinstance(expected["body"], dict) and answer.status_code >= 400:
        assert body.get("message") == expected["body"].get("message")
        assert body.get("title") == expected["body"].get("title")
        if "error_codes" in (expected["body"]["detail"] or {}):
            assert body["detail"]["error_codes"] == expected["body"]["detail"]["error_codes"]
    assert shape(body) == shape(expected["body"])


VERDICTS = [
    ("120", "pass"),
    ("121", "fail"),
    ("124", "pass"),
    ("125", "pass"),
    ("133", "fail"),
    ("152", "fail"),
]


@pytest.mark.parametrize(("name", "status"), VERDICTS)
async def test_the_sandbox_reaches_the_verdict_the_engine_reached(name: str, status: str) -> None:
    sandbox = await staged("analyzed")

    answer = (await replayed(sandbox, name)).json()

    (expected,) = next(iter(recording(name)["response"]["body"][0].values())).values()
    (found,) = next(iter(answer[0].values())).values()
    actual, wanted = found[0]["detail"]["result"], expected[0]["detail"]["result"]
    assert found[0]["status"] == expected[0]["status"] == status
    for key in (
        *("final_action", "final_action_reason", "matched_mapping_rule", "matched_whitelisted_images_rule"),
        *("matched_blacklisted_images_rule", "evaluation_problems", "tag", "image_digest", "user_id"),
    ):
        assert actual[key] == wanted[key], key
    (actual_table,), (wanted_table,) = (
        [v["result"] for v in result["result"].values() if isinstance(v, dict)] for result in (actual, wanted)
    )
    assert [row[2:] for row in actual_table["rows"]] == [row[2:] for row in wanted_table["rows"]]
    assert {k: v for k, v in actual_table.items() if k != "rows"} == {
        k: v for k, v in wanted_table.items() if k != "rows"
    }


@pytest.mark.parametrize("name", ["063", "065-policy-add-lists", "065-policy-add-vuln"])
async def test_a_bundle_comes_back_as_it_was_given(name: str) -> None:
    sandbox = await staged("bare")
    bundle = recording(name)["request"]["body"]

    await sandbox.call("POST", "/v1/policies", json=bundle)

    assert (await sandbox.get(f"/v1/policies/{bundle['id']}"))[0]["policybundle"] == bundle


async def test_an_unknown_gate_is_rejected_with_the_message_of_the_engine() -> None:
    sandbox = await staged("bare")

    answer = await replayed(sandbox, "066")

    assert answer.json() == recording("066")["response"]["body"]


async def test_a_tag_rolled_back_is_answered_by_the_add_but_not_by_the_list() -> None:
    """Recordings 300 to 310."""
    sandbox = await staged("rolled")
    tag = f"{REPO}/roll:latest"
    listed = {"fulltag": tag}
    assert (await sandbox.get("/v1/images", params=listed))[0]["imageDigest"] == ROLL

    assert (await sandbox.add(tag))["imageDigest"] == ROLLED
    assert (await sandbox.get("/v1/images", params=listed))[0]["imageDigest"] == ROLLED
    analyzed = await sandbox.get("/v1/images", params=listed | {"analysis_status": "analyzed"})
    assert [i["imageDigest"] for i in analyzed] == [ROLL]

    sandbox.clock.now += 60
    await sandbox.call("PUT", "/sandbox/registry", json={"tag": tag, "digest": ROLL})
    assert (await sandbox.add(tag))["imageDigest"] == ROLL
    assert (await sandbox.get("/v1/images", params=listed))[0]["imageDigest"] == ROLLED
    history = await sandbox.get("/v1/images", params=listed | {"history": "true"})
    assert [i["imageDigest"] for i in history] == [ROLLED, ROLL]
