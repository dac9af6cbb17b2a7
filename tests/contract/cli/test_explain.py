"""``anchore-admission explain``, and ``--explain`` of ``check``."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import CommandLine
from support.sandbox_server import sandbox_served

CONFIGURATION = """
anchore: {endpoint: http://127.0.0.1:1}
rules:
  - {name: platform, match: {images: ["quay.io/platform/*"], namespaces: [kube-system]}, mode: skip}
  - {name: production, match: {namespaceSelector: {matchLabels: {env: prod}}}, mode: strict, policy: strict-policy}
exemptions:
  - {name: old, match: {images: [nginx]}, reason: r, owner: o, expires: 2020-01-01}
"""
MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {env: prod}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      containers: [{name: web, image: "nginx:1.25"}]
"""


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture(name="config")
def _config(tmp_path: Path) -> Path:
    file = tmp_path / "configuration.yaml"
    file.write_text(CONFIGURATION)
    return file


@pytest.fixture(scope="module", name="anchore")
def _anchore() -> Iterator[str]:
    with sandbox_served() as url:
        yield url


def test_manifests_are_explained_without_anchore_and_credentials(program: CommandLine, config: Path) -> None:
    ended = program("explain", "-f", "-", "--config", config, stdin=MANIFESTS, environ={})

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "Namespace default/shop: holds no images",
        'nginx:1.25 in Deployment shop/web, containers "web"',
        "  rule         production",
        "  mode         strict",
        "  account      default",
        "  policy       strict-policy",
        "  enforcement  deny, onError deny",
        "  passed over  platform: namespaces, images",
    ]


def test_images_are_explained_for_a_namespace_and_its_labels(
    program: CommandLine, config: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.yaml"
    labels.write_text("shop: {env: dev}\n")

    arguments = ("explain", "nginx:1.25", "--config", config, "--namespace", "shop", "--namespace-labels", labels)
    table, document = program(*arguments), program(*arguments, "-o", "json").document

    assert table.out.splitlines()[0] == "nginx:1.25 in a Pod of namespace shop"
    [image] = document["images"]
    assert (image["rule"], image["mode"], image["policy"]) == ("defaults", "passive", None)
    assert image["passedOver"] == [
        {"rule": "platform", "keys": ["namespaces", "images"]},
        {"rule": "production", "keys": ["namespaceSelector"]},
    ]
    # An exemption that has expired does not apply.
    assert image["exemptions"] == []


@pytest.mark.parametrize(
    ("stdin", "code", "said"),
    [
        ("a: [", 2, "document of standard input: line 2, column 1: is not valid YAML"),
        ("{apiVersion: a.io/v1, kind: Rollout, metadata: {name: r}, spec: {image: x}}", 3, "Rollout default/r of"),
    ],
)
def test_what_cannot_be_explained_is_named(
    program: CommandLine, config: Path, stdin: str, code: int, said: str
) -> None:
    config.write_text("anchore: {endpoint: http://127.0.0.1:1}\n")
    ended = program("explain", "-f", "-", "--config", config, stdin=stdin)

    assert ended.code == code
    assert ended.out.startswith(said)


@pytest.mark.parametrize("arguments", [[], ["nginx", "-f", "-"]])
def test_either_images_or_files_are_given(program: CommandLine, config: Path, arguments: list[str]) -> None:
    ended = program("explain", *arguments, "--config", config)

    assert ended.code == 2
    assert "give images, or -f FILE" in ended.err


def test_a_rule_that_needs_labels_of_namespaces_asks_for_them(program: CommandLine, config: Path) -> None:
    ended = program("explain", "nginx", "--config", config)

    assert ended.code == 2
    assert "--namespace-labels" in ended.err


def test_a_check_can_explain_its_verdicts(program: CommandLine, anchore: str, tmp_path: Path) -> None:
    config = tmp_path / "configuration.yaml"
    config.write_text(
        f"anchore: {{endpoint: {anchore}}}\n"
        "defaults: {mode: strict}\n"
        "rules: [{name: shop, match: {namespaces: [shop]}, mode: passive}]\n"
    )
    table = program("check", "nginx:1.25", "--config", config, "--explain")
    document = program("check", "nginx:1.25", "--config", config, "--explain", "-o", "json").document

    assert table.code == 1
    assert "passed over shop: namespaces" in table.out
    [image] = document["images"]
    assert (image["verdict"], image["explanation"]["rule"]) == ("deny", "defaults")


def test_a_pin_is_explained_with_what_prevents_it(program: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "pins.yaml"
    config.write_text(
        "anchore: {endpoint: http://127.0.0.1:1}\n"
        "defaults: {mode: strict, pin: off}\n"
        "rules:\n"
        "  - {name: by-tag, match: {images: ['quay.io/app:1.*']}, pin: required}\n"
        "  - {name: by-name, match: {images: ['quay.io/*']}, pin: bestEffort}\n"
    )

    def pins(image: str) -> list[str]:
        lines = program("explain", image, "--config", config, environ={}).out.splitlines()
        return [line.split(maxsplit=1)[1] for line in lines if line.strip().startswith("pin ")]

    assert pins("quay.io/app:2") == ["bestEffort"]
    assert pins("docker.io/app:2") == []
    conflict = "with its digest, rule by-name applies to it instead of rule by-tag, whose patterns name the tag"
    assert pins("quay.io/app:1.2") == [f"required, but it is never pinned: {conflict}"]
