"""The files in examples/ do what their comments say: with the program, the sandbox, helm and kubectl."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from anchore_admission.services.config.load import parse_configuration
from support.charts import render, rendered, run
from support.command_line import CREDENTIALS, CommandLine
from support.examples import renewed
from support.paths import ROOT
from support.sandbox_server import sandbox_served

EXAMPLES = ROOT / "examples"
CONFIGURATIONS = sorted((EXAMPLES / "configuration").glob("*.yaml"))
VALUES = sorted((EXAMPLES / "helm").glob("*.yaml"))
MANIFESTS = EXAMPLES / "manifests"
CONTROLLER = "anchore-admission"
PASSIVE = {"passive-first.yaml", "network-policy.yaml"}
"""Values that deny nothing; the chart registers ``Ignore`` for them."""


def loaded(path: Path) -> Any:
    """The one document of a YAML file."""
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module", name="anchore")
def _anchore() -> Iterator[str]:
    with sandbox_served() as url:
        yield url


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def test_every_example_stands_in_the_index() -> None:
    index = (EXAMPLES / "README.md").read_text()
    files = [path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.yaml")]
    assert files
    assert [name for name in files if f"({name})" not in index] == []


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_a_configuration_is_valid(path: Path, program: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / path.name
    file.write_text(renewed(path.read_text()))
    ended = program("config", "validate", file, environ={})

    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("path", sorted((EXAMPLES / "tests").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_cases_of_a_configuration_pass(path: Path, program: CommandLine) -> None:
    ended = program("config", "test", path, "--config", EXAMPLES / "configuration" / path.name, environ={})

    assert (ended.code, ended.err) == (0, "")


DECISIONS = [
    ("passive-first", "shop-staging", "nginx:1.25", "rehearsal", "allow"),
    ("passive-first", "shop-prod", "nginx:1.25", "defaults", "allow"),
    ("strict-production", "shop-prod", "redis:7", "production", "deny"),
    ("strict-production", "shop-staging", "redis:7", "staging", "warn"),
    ("strict-production", "anchore", "postgres:16", "anchore-itself", "allow"),
    ("strict-production", "tools", "nginx:1.25", "defaults", "allow"),
    ("trusted-registries", "tools", "registry.k8s.io/pause:3.10", "kubernetes", "allow"),
    ("trusted-registries", "tools", "registry.example.com/team/app:1", "built-here", "allow"),
    ("trusted-registries", "tools", "redis:7", "vendor", "allow"),
    ("trusted-registries", "tools", "nginx:1.25", "defaults", "deny"),
    ("trusted-registries", "tools", "evil.example.net/redis:7", "defaults", "deny"),
    ("exemptions", "shop-prod", "nginx:1.25", "production", "warn"),
    ("exemptions", "orders-prod", "nginx:1.25", "production", "deny"),
    ("exemptions", "orders-prod", "postgres:16", "production", "warn"),
    ("exemptions", "shop-prod", "postgres:16", "production", "deny"),
    ("pinning", "shop-prod", "redis:7", "production", "allow"),
    ("pinning", "tools", "nginx:1.25", "defaults", "deny"),
    ("pinning", "shop-prod", "registry.example.com/mesh/proxy:1", "keeps-tags", "deny"),
    ("several-accounts", "payments-prod", "redis:7", "payments", "allow"),
    ("several-accounts", "tools", "nginx:1.25", "defaults", "allow"),
]
"""Cases of a configuration: namespace, image, the rule that decides, and its effect.

The policy ``production`` is none of the sandbox's: strict mode has no verdict there, and ``onError`` decides.
"""


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda row: " ".join(row[:3]))
def test_a_configuration_decides_as_its_comments_say(
    decision: tuple[str, ...], anchore: str, program: CommandLine, tmp_path: Path
) -> None:
    configuration, namespace, image, *expected = decision
    file = tmp_path / "configuration.yaml"
    text = (EXAMPLES / "configuration" / f"{configuration}.yaml").read_text()
    file.write_text(
        renewed(text).replace("/credentials/payments", str(tmp_path)).replace("/credentials", str(tmp_path))
    )
    (tmp_path / "username").write_text("admin")
    (tmp_path / "password").write_text("foobar")

    ended = program(
        "check", image, "--config", file, "--anchore", anchore, "--namespace", namespace, "-o", "json", environ={}
    )

    (judged,) = ended.document["images"]
    assert [judged["rule"], judged["effect"]] == expected


def test_every_configuration_is_decided_above() -> None:
    assert {row[0] for row in DECISIONS} == {path.stem for path in CONFIGURATIONS} - {"every-key"}


JUDGED = [
    ("admitted", 0, "policy_passed"),
    ("denied", 1, "policy_failed"),
    ("denied-by-init-container", 1, "policy_failed"),
    ("not-analyzed", 1, "unknown"),
]


@pytest.mark.parametrize(("manifest", "code", "reason"), JUDGED)
def test_a_manifest_is_judged_as_its_comment_says(
    manifest: str, code: int, reason: str, anchore: str, program: CommandLine
) -> None:
    ended = program("review", "-f", MANIFESTS / f"{manifest}.yaml", "--anchore", anchore, "-o", "json")

    assert ended.code == code
    assert ended.document["images"][0]["reason"] == reason


def test_every_manifest_is_judged_above() -> None:
    assert {row[0] for row in JUDGED} == {path.stem for path in MANIFESTS.glob("*.yaml")}


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)
def test_values_render_a_release_whose_configuration_is_valid(path: Path) -> None:
    rendered = render(loaded(path), "--kube-version", "1.36.0", "--api-versions", "monitoring.coreos.com/v1")

    parse_configuration(rendered.configuration(), "configuration.yaml")
    assert rendered.webhook()["failurePolicy"] == ("Ignore" if path.name in PASSIVE else "Fail")


def test_the_values_for_a_trial_judge_one_namespace_by_the_sandbox() -> None:
    rendered = render(loaded(EXAMPLES / "helm" / "trial.yaml"))

    assert rendered.webhook()["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "trial"}
    assert ("Deployment", f"{CONTROLLER}-sandbox") in rendered.names()
    assert rendered.container()["imagePullPolicy"] == "IfNotPresent"
    assert rendered.container()["image"].startswith("localhost/anchore-admission:")


def test_the_values_for_pinning_register_both_webhooks() -> None:
    kinds = {kind for kind, _ in render(loaded(EXAMPLES / "helm" / "pinning.yaml")).names()}

    assert {"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"} <= kinds


def test_the_values_with_network_policies_bound_both_directions() -> None:
    policy = render(loaded(EXAMPLES / "helm" / "network-policy.yaml")).get("NetworkPolicy")

    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    assert {"ipBlock": {"cidr": "10.0.0.0/28"}} in policy["spec"]["ingress"][0]["from"]


def test_the_values_without_permissions_render_none() -> None:
    kinds = {kind for kind, _ in render(loaded(EXAMPLES / "helm" / "no-permissions.yaml")).names()}

    assert "ValidatingWebhookConfiguration" in kinds
    assert kinds & {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"} == set()


@pytest.mark.parametrize("name", ["passive-first", "strict-production", "pinning"])
def test_values_and_configuration_of_one_name_say_the_same(name: str) -> None:
    whole = loaded(EXAMPLES / "configuration" / f"{name}.yaml")
    of_chart = loaded(EXAMPLES / "helm" / f"{name}.yaml")["config"]
    excluded = {"anchore-itself"}  # the chart leaves out Anchore's namespace by webhook.excludedNamespaces

    assert of_chart["defaults"] == whole["defaults"]
    assert of_chart["rules"] == [rule for rule in whole["rules"] if rule["name"] not in excluded]


def test_the_overlay_builds_with_the_configuration_and_the_image_that_it_names() -> None:
    folder = EXAMPLES / "kustomize"
    built = rendered(run("kubectl", "kustomize", str(folder)))

    (name,) = (it["configMap"]["name"] for it in built.pod()["volumes"] if it["name"] == "configuration")
    assert built.get("ConfigMap", name)["data"]["configuration.yaml"] == (folder / "configuration.yaml").read_text()
    assert built.container()["image"].startswith("registry.example.com/anchore-admission:")


def test_the_overlay_has_the_configuration_for_production() -> None:
    of_overlay = (EXAMPLES / "kustomize" / "configuration.yaml").read_text()
    assert of_overlay == (EXAMPLES / "configuration" / "strict-production.yaml").read_text()


def review_of(script: str) -> list[str]:
    """Return the arguments that the last command of a job's script passes to the program."""
    words = shlex.split(script.strip().splitlines()[-1])
    (at,) = (at for at, word in enumerate(words) if word.rpartition("/")[2].partition(":")[0] == CONTROLLER)
    return words[at + 1 :]


@pytest.fixture(name="repository")
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with manifests, in which the job of a pipeline runs."""
    shutil.copytree(MANIFESTS, tmp_path / "deploy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_job_of_github_reviews_the_manifests(repository: Path, anchore: str, program: CommandLine) -> None:
    (job,) = loaded(EXAMPLES / "ci" / "github-actions.yaml")["jobs"].values()
    arguments = [word.replace("https://anchore.example.com", anchore) for word in review_of(job["steps"][-1]["run"])]

    assert program(*arguments).code == 1
    assert arguments.count(anchore) == 1


def test_the_job_that_pins_prints_a_diff_until_it_was_applied(
    repository: Path, anchore: str, program: CommandLine
) -> None:
    (job,) = loaded(EXAMPLES / "ci" / "github-actions-pin.yaml")["jobs"].values()
    review, last = (step["run"] for step in job["steps"][-2:])
    *arguments, _, file = [word.replace("https://anchore.example.com", anchore) for word in review_of(review)]
    for name in ("denied", "denied-by-init-container", "not-analyzed"):
        (repository / "deploy" / f"{name}.yaml").unlink()

    codes = []
    for _ in range(2):
        ended = program(*arguments)
        (repository / file).write_text(ended.out)
        shell = subprocess.run(["/bin/sh", "-c", last], capture_output=True, check=False, timeout=60)  # noqa: S603 - the example's
        codes.append((ended.code, shell.returncode))
        run("git", "apply", "--allow-empty", file)

    assert codes == [(0, 1), (0, 0)]


def test_the_job_of_gitlab_reviews_the_manifests(repository: Path, anchore: str, program: CommandLine) -> None:
    job = loaded(EXAMPLES / "ci" / "gitlab-ci.yaml")["images"]
    file = repository / job["variables"]["ANCHORE_ADMISSION_CONFIG"]
    file.parent.mkdir()
    file.write_text(f"anchore: {{endpoint: '{anchore}'}}\ndefaults: {{mode: strict}}\n")
    environ = {**CREDENTIALS, **job["variables"]}

    codes = [program(*review_of(line), environ=environ).code for line in job["script"][1:]]

    assert codes == [0, 1]
    assert job["allow_failure"] == {"exit_codes": 2}
