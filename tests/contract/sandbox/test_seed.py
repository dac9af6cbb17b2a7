"""The seed file: its fields, and every problem reported at once."""

import pytest

from anchore_admission.sandbox import DEFAULT_SEED, InvalidSeed, Seed, create_sandbox, load_seed
from anchore_admission.sandbox.default_seed import DEFAULT_SEED_TEXT
from support.paths import DOCS
from support.sandbox_calls import Sandbox

DIGEST = f"sha256:{'1' * 64}"


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidSeed) as caught:
        load_seed(text, "seed.yaml")
    assert caught.value.source == "seed.yaml"
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n"])
def test_an_empty_seed_is_the_defaults(text: str) -> None:
    assert load_seed(text, "seed.yaml") == Seed()


async def test_the_default_account_is_anchores_own() -> None:
    assert (await Sandbox().get("/v1/account"))["name"] == "admin"


def test_every_problem_is_reported_at_once() -> None:
    text = f"""
analysisTime: -1
colour: red
accounts: [{{name: admin}}, {{name: admin}}, {{name: "a b"}}]
images:
  - {{tag: "nginx@{DIGEST}", account: missing, digest: latest}}
  - {{tag: nginx, findings: [{{id: CVE-1, severity: huge, package: p}}]}}
  - {{tag: nginx, analyzedAt: yesterday}}
  - {{tag: nginx, analyzedAt: 2026-01-31T12:00:00Z, state: analyzing}}
registry:
  - {{tag: [a, b], error: NO_SUCH_ERROR}}
  - {{tag: b, error: REGISTRY_NOT_ACCESSIBLE, digest: {DIGEST}}}
policies:
  - {{policy: {{id: x}}, active: true}}
  - policy:
      id: second
      version: "1_0"
      mappings: []
      policies: [{{id: p, rules: [{{gate: nope, trigger: t, action: STOP}}]}}]
    active: true
faults: [{{mode: slow}}]
"""
    found = problems(text)

    paths = [line.split(":")[0] for line in found]
    assert sorted(paths) == sorted(
        [
            *("analysisTime", "colour", "accounts[1]", "accounts[2].name", "images[0].account", "images[0].digest"),
            *(
                "images[0].tag[0]",
                "images[1].findings[0].severity",
                "images[2].analyzedAt",
                "images[3]",
                "registry[0].error",
                "registry[1]",
                "registry[1]",
            ),
            *("policies[0].policy", "policies[1].policy", "policies[1].active", "faults[0]"),
        ]
    )
    assert any("GateNotFoundError" in line for line in found)


UNREADABLE = [
    ("images: []\nimages: []\n", 'line 2, column 1: duplicate key "images"'),
    ("images: [{tag: a, tag: b}]\n", 'line 1, column 19: duplicate key "tag"'),
    ("a: &x 1\nb: *x\n", "line 2, column 4: aliases are not supported here"),
    ("a: !!python/object/apply:os.system [id]\n", "a: Extra inputs are not permitted"),
    ("a: [", "is not valid YAML"),
    ("? [a]\n: b\n", "a key must be a word, a number or a truth value"),
    ("a: !!int x\n", "!!int does not fit the value"),
    ("a: " + "[" * 20_000, "is nested deeper than 50 levels"),
    ("a: 1\n---\nb: 2\n", "expected one document; leave the line --- out"),
    ("# " + "a" * 8 * 1024 * 1024, "is longer than 8388608 characters"),
]


@pytest.mark.parametrize(("text", "reason"), UNREADABLE)
def test_unsafe_or_broken_yaml_is_rejected(text: str, reason: str) -> None:
    (problem,) = problems(text)

    assert reason in problem


@pytest.mark.parametrize("text", ["[]", "5", "text"])
def test_a_seed_is_a_mapping(text: str) -> None:
    assert len(problems(text)) == 1


@pytest.mark.parametrize(("value", "problem"), [("2026-01-01", None), (".nan", "not a JSON document")])
def test_a_policy_holds_only_json_values(value: str, problem: str | None) -> None:
    text = f"policies: [{{policy: {{id: p, version: '1_0', policies: [], mappings: [], extra: {value}}}}}]"
    if problem is None:
        assert load_seed(text, "seed.yaml").policies[0].policy["extra"] == value
    else:
        assert problem in problems(text)[0]


SAME_NAME = [
    ("docker.io/nginx:1", "docker.io/library/nginx:1", True),
    ("nginx:1", "index.docker.io/library/nginx:1", True),
    ("r.io/nginx:1", "r.io/library/nginx:1", False),
    ("nginx:1", "nginx:2", False),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME_NAME)
async def test_a_digest_follows_from_the_name(one: str, other: str, same: bool) -> None:
    first, second = Sandbox({"images": [{"tag": one}]}), Sandbox()

    (image,) = await first.get("/v1/images")

    assert (image["imageDigest"] == (await second.add(other))["imageDigest"]) is same


async def test_a_seed_can_describe_a_tag_that_has_moved() -> None:
    sandbox = Sandbox({"images": [{"tag": "r.io/a:1"}], "registry": [{"tag": "r.io/a:1", "digest": DIGEST}]})
    (image,) = await sandbox.get("/v1/images")

    assert image["imageDigest"] != (await sandbox.add("r.io/a:1"))["imageDigest"] == DIGEST


async def test_one_digest_in_two_accounts_is_two_records() -> None:
    accounts = [{"name": "admin", "users": [{"username": "admin", "password": "foobar"}]}, {"name": "b"}]
    images = [{"tag": "r.io/a:1", "digest": DIGEST}, {"tag": "r.io/a:2", "digest": DIGEST, "account": "b"}]
    sandbox = Sandbox({"accounts": accounts, "images": images})

    for account, tag in (("admin", "r.io/a:1"), ("b", "r.io/a:2")):
        (image,) = await sandbox.get("/v1/images", headers={"x-anchore-account": account})
        assert [d["fulltag"] for d in image["image_detail"]] == [tag]
        assert image["userId"] == account


async def test_two_platforms_of_one_list_are_two_images() -> None:
    parent = {"parentDigest": f"sha256:{'9' * 64}"}
    images = [
        {"tag": "r.io/a:1", "digest": DIGEST, **parent},
        {"tag": "r.io/a:2", "digest": f"sha256:{'2' * 64}", **parent},
    ]
    sandbox = Sandbox({"images": images})

    assert len(await sandbox.get("/v1/images")) == 2
    newest = await sandbox.get(f"/v1/images/{parent['parentDigest']}")
    assert newest[0]["imageDigest"] == f"sha256:{'2' * 64}"


def test_the_documented_example_is_a_seed() -> None:
    page = (DOCS / "sandbox.md").read_text()
    example = page.split("```yaml\n", 1)[1].split("```", 1)[0]

    seed = load_seed(example, "docs/sandbox.md")

    assert set(Seed.model_fields) == seed.model_fields_set
    assert create_sandbox(seed).title == "anchore-admission sandbox"


def test_without_a_seed_there_is_something_to_look_at() -> None:
    assert load_seed(DEFAULT_SEED_TEXT, "x") == DEFAULT_SEED
    assert {image.state for image in DEFAULT_SEED.images} == {"analyzed", "analyzing", "analysis_failed"}
    assert create_sandbox().title == "anchore-admission sandbox"
