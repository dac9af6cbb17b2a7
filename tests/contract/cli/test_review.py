"""``anchore-admission review`` against the sandbox: its input, output and exit codes."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from anchore_admission.cli import inputs
from support.builders import pod_spec, review, workload
from support.command_line import CommandLine
from support.paths import DATA
from support.ports import free_port
from support.sandbox_server import sandbox_served

GOOD, BAD, PENDING, UNKNOWN, MALFORMED = "alpine:3.20", "nginx:1.25", "postgres:16", "team/unknown:1", "UPPER"
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
CERTIFICATE = {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"labels": {"image": "x"}}}
OWNED = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "x", "uid": "1", "controller": True}]
FAULTS = DATA / "faults"


@pytest.fixture(scope="module", name="anchore")
def _anchore() -> Iterator[str]:
    with sandbox_served() as url:
        yield url


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def pod(*images: str, **metadata: Any) -> dict[str, Any]:
    return workload("Pod", pod_spec(*images), metadata=metadata)


def stream(*documents: Any) -> str:
    return "\n---\n".join(text if isinstance(text, str) else json.dumps(text) for text in documents)


@pytest.mark.parametrize(
    ("documents", "code"),
    [
        pytest.param([pod(GOOD)], 0, id="admitted"),
        pytest.param([pod(GOOD, BAD)], 1, id="a failed policy"),
        pytest.param([pod(PENDING)], 1, id="not analyzed yet"),
        pytest.param([pod(UNKNOWN)], 1, id="unknown"),
        pytest.param([pod(MALFORMED)], 1, id="malformed reference"),
        pytest.param([SERVICE], 0, id="no images"),
        pytest.param([pod(GOOD), {"replicas": 3}], 2, id="not an object"),
        pytest.param([pod(BAD), {"replicas": 3}], 1, id="denied beats unread"),
        pytest.param([workload("Pod", {"containers": "none"})], 2, id="an object of the wrong shape"),
        pytest.param([workload("Deployment", pod_spec(BAD))], 1, id="a template that is final"),
        pytest.param([workload("Deployment", pod_spec(UNKNOWN))], 1, id="a template that may change"),
        pytest.param(["# nothing"], 2, id="nothing"),
        pytest.param([{"apiVersion": "v1", "kind": "List", "items": []}], 2, id="an empty List"),
        pytest.param([{"apiVersion": "v1", "kind": "PodList", "items": None}], 2, id="a List of null"),
        pytest.param([{"apiVersion": "v1", "kind": "List", "items": []}, pod(GOOD)], 0, id="an empty List and a Pod"),
        pytest.param([{"apiVersion": "v1", "kind": "List", "items": {}}], 3, id="a List of something else"),
        pytest.param([{**SERVICE, "items": [pod(BAD)]}], 1, id="items in what is no List"),
        pytest.param([{**pod(BAD), "items": []}], 1, id="a Pod with items"),
        pytest.param([pod(BAD, ownerReferences=OWNED)], 1, id="a Pod with an owner"),
        pytest.param([workload("Job", pod_spec(BAD), metadata={"ownerReferences": OWNED})], 1, id="a forged owner"),
        pytest.param([{**pod(GOOD), "kind": "pod"}], 3, id="a kind in the wrong case"),
        pytest.param([{**workload("Deployment", pod_spec(GOOD)), "apiVersion": "v1"}], 3, id="a wrong apiVersion"),
        pytest.param([{"apiVersion": "v1", "kind": "Status"}], 3, id="no kind of Kubernetes"),
        pytest.param([{**SERVICE, "apiVersion": "a/b.c/v1"}], 3, id="no group"),
        pytest.param([CERTIFICATE], 0, id="a custom resource without images"),
        pytest.param([CERTIFICATE, {**CERTIFICATE, "spec": {"image": {"tag": "1"}}}], 3, id="one that shows images"),
        pytest.param([pod(BAD), {**CERTIFICATE, "spec": {"image": "x"}}], 1, id="denied beats not checked"),
        pytest.param([{"a": 1}, {**CERTIFICATE, "spec": {"image": "x"}}], 2, id="unread beats not checked"),
        pytest.param([{"apiVersion": "v1", "kind": "List", "items": [pod(GOOD), pod(BAD)]}], 1, id="a List"),
    ],
)
def test_the_exit_code_shows_the_outcome_of_the_worst(
    program: CommandLine, anchore: str, documents: list[Any], code: int
) -> None:
    ended = program("review", "-f", "-", "--anchore", anchore, "--mode", "strict", stdin=stream(*documents))

    assert ended.code == code, ended.out


@pytest.mark.parametrize(
    ("file", "code", "last"),
    [
        ("rollout-and-friends.yaml", 3, "0 images in 0 objects; 3 objects not checked"),
        ("review-rollout.json", 3, "0 images in 0 objects; 1 object not checked"),
        ("deploymentconfig.yaml", 3, "0 images in 0 objects; 1 object not checked"),
        ("list-podlist-raw.json", 1, "1 image in 1 object: 1 denied"),
        ("list-deploymentlist-raw.json", 1, "1 image in 1 object: 1 denied"),
        ("list-empty.json", 2, "0 images in 0 objects; 1 could not be read"),
        ("cronjob-unknown-image.yaml", 1, "1 image in 1 object: 1 denied"),
        ("json-back-to-back.json", 1, "2 images in 2 objects: 1 admitted, 1 denied"),
        ("utf16le-bom.yaml", 1, "1 image in 1 object: 1 denied"),
        ("explicit-tag.yaml", 1, "1 image in 1 object: 1 denied"),
        ("tag-binary.yaml", 0, "1 image in 1 object: 1 admitted; 1 object holds no images"),
        ("quoted-image.yaml", 0, "1 image in 1 object: 1 admitted"),
        ("helm-template.yaml", 2, "0 images in 0 objects; 1 could not be read"),
    ],
)
def test_address_alone_judges_strictly(program: CommandLine, anchore: str, file: str, code: int, last: str) -> None:
    ended = program("review", "-f", FAULTS / file, "--anchore", anchore)

    assert (ended.code, ended.out.splitlines()[-1]) == (code, last)


def test_unknown_kinds_are_denied_as_by_the_webhook(program: CommandLine, anchore: str, tmp_path: Path) -> None:
    config = tmp_path / "configuration.yaml"
    config.write_text(
        json.dumps({"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict"}, "unknownKinds": "deny"})
    )

    ended = program("review", "-f", FAULTS / "rollout-and-friends.yaml", "-f", "-", "-c", config, "-o", "json",
                    stdin=stream(CERTIFICATE, SERVICE))  # fmt: skip

    assert ended.code == 1
    assert [error["kind"] for error in ended.document["errors"]] == ["Rollout", "Service", "Workflow", "Certificate"]
    assert "argoproj.io/Rollout cannot be checked" in ended.document["errors"][0]["message"]
    assert ended.document["objects"] == {
        "reviewed": 4,
        "withoutImages": 1,
        "notChecked": 0,
        "unread": 0,
        "notReviewed": 0,
    }


def test_unchecked_objects_are_named_and_pass_only_on_request(program: CommandLine, anchore: str) -> None:
    arguments = ("review", "-f", FAULTS / "rollout-and-friends.yaml", "--anchore", anchore, "-o", "json")

    ended, ignored = program(*arguments), program(*arguments, "--ignore-unknown-kinds")

    assert (ended.code, ended.document["allowed"]) == (3, False)
    assert (ignored.code, ignored.document["allowed"]) == (0, True)
    assert ended.document["notChecked"][0] == {
        "kind": "Rollout",
        "namespace": "default",
        "name": "web",
        "source": f"{FAULTS}/rollout-and-friends.yaml, document 1",
        "message": "not checked: kind Rollout of argoproj.io/v1alpha1 is not known, so its images cannot be found",
    }


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"apiVersion": "v1"}, "kind Deployment of v1 is not known; did you mean apps/v1 Deployment?"),
        ({"kind": "deployment"}, "kind deployment of apps/v1 is not known; did you mean apps/v1 Deployment?"),
        ({"apiVersion": "batch/v1", "kind": "POD"}, "kind POD of batch/v1 is not known; did you mean v1 Pod?"),
        (
            {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"},
            "review the output of kubectl kustomize",
        ),
    ],
)
def test_the_intended_kind_is_named(program: CommandLine, anchore: str, changes: dict[str, str], hint: str) -> None:
    document = {**workload("Deployment", pod_spec(GOOD)), **changes}

    assert hint in program("review", "-f", "-", "--anchore", anchore, stdin=stream(document)).out


def test_objects_without_a_verdict_are_neither_admitted_nor_denied(program: CommandLine) -> None:
    unreachable = f"http://127.0.0.1:{free_port()}"

    undecided = program("review", "-f", "-", "--anchore", unreachable, "--mode", "strict", stdin=stream(pod(GOOD)))
    denied = program(
        "review", "-f", "-", "--anchore", unreachable, "--mode", "strict", stdin=stream(pod(GOOD, MALFORMED))
    )

    assert (undecided.code, denied.code) == (2, 1)
    assert f"{GOOD}  undecided  Image {GOOD} could not be checked: cannot connect to Anchore" in undecided.out
    assert "2 images in 1 object: 1 denied, 1 undecided" in denied.out


def test_on_error_allow_does_not_make_it_known(program: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "configuration.yaml"
    endpoint = f"http://127.0.0.1:{free_port()}"
    config.write_text(
        json.dumps({"anchore": {"endpoint": endpoint}, "defaults": {"mode": "strict", "onError": "allow"}})
    )

    assert program("review", "-f", "-", "-c", config, stdin=stream(pod(GOOD))).code == 2


def test_each_line_of_the_table_stands_for_itself(program: CommandLine, anchore: str) -> None:
    ended = program(
        "review", "-f", "-", "--anchore", anchore, "--mode", "strict",
        stdin=stream(workload("Deployment", pod_spec(GOOD, BAD), metadata={"namespace": "shop"}), SERVICE),
    )  # fmt: skip

    lines = ended.out.splitlines()
    row = next(line for line in lines if BAD in line)
    assert row.split()[:4] == ["Deployment", "shop/demo", BAD, "denied"]
    assert "with digest sha256:b07c1fa29c8dc936d6db6891b04d7647d88ecb270969a682be1b6e033134f8b3 failed" in row
    assert lines[lines.index(row) + 1].strip() == "CRITICAL CVE-2021-3711 in openssl, fixed in 1.1.1l-r0"
    assert lines[-1] == "2 images in 1 object: 1 admitted, 1 denied; 1 object holds no images"
    assert not [line for line in lines if line != line.rstrip()]
    assert "\x1b" not in ended.out
    assert ended.err == ""


def test_unreadable_objects_are_named_and_the_rest_is_reviewed(
    program: CommandLine, anchore: str, tmp_path: Path
) -> None:
    file = tmp_path / "app.yaml"
    file.write_text(f"# the shop\n---\n{json.dumps(pod(GOOD))}\n---\nkind: Pod\n? [x]\n---\n{json.dumps(pod(BAD))}\n")

    ended = program(
        "review", "-f", file, "-f", tmp_path / "missing", "--anchore", anchore, "--mode", "strict", "-o", "json"
    )

    assert [image["image"] for image in ended.document["images"]] == [GOOD, BAD]
    assert [image["object"]["source"] for image in ended.document["images"]] == [
        f"{file}, document 1",
        f"{file}, document 3",
    ]
    assert [(error["source"], error["message"]) for error in ended.document["errors"]] == [
        (f"{file}, document 2", "line 6, column 3: a key must be a word, a number or a truth value"),
        (f"{tmp_path}/missing", "cannot be read: No such file or directory"),
    ]
    assert ended.document["allowed"] is False


@pytest.mark.parametrize(
    "text",
    [
        f"apiVersion: v1\nkind: Pod\nspec:\n  containers: [{{image: '{GOOD}'}}]\n  containers: [{{image: '{BAD}'}}]\n",
        f"apiVersion: v1\nkind: Pod\nspec: {{containers: [{{image: '{GOOD}', <<: {{image: '{BAD}'}}}}]}}\n",
        f'{{"apiVersion": "v1", "kind": "Pod", "spec": {{"containers": [{{"image": "{GOOD}", "image": "{BAD}"}}]}}}}',
    ],
)
def test_object_that_kubectl_would_send_is_reviewed(program: CommandLine, anchore: str, text: str) -> None:
    ended = program("review", "-f", "-", "--anchore", anchore, "-o", "json", stdin=text)

    assert [image["image"] for image in ended.document["images"]] == [BAD]
    assert ended.err.startswith("Note: standard input: ")
    assert ended.err.endswith(", as for kubectl\n")


def test_thousands_of_pods_are_read_at_once(tmp_path: Path) -> None:
    padding = [{"name": f"VARIABLE_{number}", "value": "x" * 100} for number in range(300)]
    spec = {**pod_spec(GOOD), "padding": padding}
    file = tmp_path / "pods.json"
    file.write_text(json.dumps({"kind": "PodList", "apiVersion": "v1", "items": [{"spec": spec}] * 1000}, indent=4))

    (document,) = inputs.read_documents([str(file)])

    assert file.stat().st_size > 32 * 1024 * 1024
    assert (len(document.value["items"]), document.problem) == (1000, "")


def test_directory_is_read_at_any_depth_without_hidden_files(
    program: CommandLine, anchore: str, tmp_path: Path
) -> None:
    for name in ("b.yaml", "a/x.yml", "a/y.json", ".git/z.yaml", "a/.hidden.yaml", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(pod(GOOD, name=name)))

    ended = program("review", "-f", tmp_path, "--anchore", anchore, "--mode", "strict", "-o", "json")

    assert [image["object"]["name"] for image in ended.document["images"]] == ["a/x.yml", "a/y.json", "b.yaml"]
    assert ended.code == 0


def test_directory_that_cannot_be_listed_is_no_pass(
    program: CommandLine, anchore: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.yaml").write_text(json.dumps(pod(GOOD)))
    scandir = os.scandir

    def denying(path: str) -> object:
        if path.endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denying)
    ended = program("review", "-f", tmp_path, "--anchore", anchore)

    assert ended.code == 2
    assert f"{tmp_path}/locked: cannot be read: Permission denied" in ended.out
    assert "1 admitted" in ended.out


@pytest.mark.parametrize("option", ["--anchore", "--policy"])
def test_variable_that_is_not_set_does_not_leave_the_configuration_as_it_is(
    program: CommandLine, config: Path, option: str
) -> None:
    ended = program("review", "-f", "-", "-c", config, option, "", stdin=stream(pod(GOOD)))

    assert (ended.code, ended.out) == (2, "")
    assert "must not be empty" in ended.err


@pytest.mark.parametrize("name", ["", "Shop", "a b", "shop/x", "a" * 64])
def test_namespace_that_no_rule_can_match_is_rejected(program: CommandLine, config: Path, name: str) -> None:
    ended = program("review", "-f", "-", "-c", config, "--namespace", name, stdin=stream(pod(BAD)))

    assert (ended.code, ended.out) == (2, "")
    assert "expected a name of lower-case" in ended.err


def test_file_without_a_name_is_named_as_such(program: CommandLine, anchore: str) -> None:
    ended = program("review", "-f", "", "--anchore", anchore)

    assert ended.code == 2
    assert '"": names no file: the text is empty' in ended.out


def test_directory_without_manifests_is_no_pass(program: CommandLine, anchore: str, tmp_path: Path) -> None:
    ended = program("review", "-f", tmp_path, "--anchore", anchore)

    assert ended.code == 2
    assert f"{tmp_path}: holds no file that ends in .yaml, .yml, .json" in ended.out


def test_name_given_twice_is_read_once(program: CommandLine, anchore: str) -> None:
    ended = program("review", "-f", "-", "-f", "-", "--anchore", anchore, "--mode", "strict", stdin=stream(pod(GOOD)))

    assert ended.out.splitlines()[-1] == "1 image in 1 object: 1 admitted"


def test_file_without_end_is_not_read(
    program: CommandLine, anchore: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "FILE_LIMIT", 1024 * 1024)
    (tmp_path / "large.yaml").write_text("#" * (1024 * 1024 + 1))

    ended = program("review", "-f", tmp_path, "--anchore", anchore)

    assert ended.code == 2
    assert f"{tmp_path}/large.yaml: is larger than 1 MiB" in ended.out


@pytest.mark.parametrize("first", ["%YAML 1.1\n", "\ufeff", "", "# by hand\n\n"])
def test_text_before_the_first_separator_is_no_document(program: CommandLine, anchore: str, first: str) -> None:
    text = f"{first}---\nanchors: &a 1\n---\n{json.dumps(pod(GOOD))}\n...\n"

    ended = program("review", "-f", "-", "--anchore", anchore, "--mode", "strict", "-o", "json", stdin=text)

    assert [image["object"]["source"] for image in ended.document["images"]] == ["standard input, document 2"]
    assert [error["source"] for error in ended.document["errors"]] == ["standard input, document 1"]


def test_aliases_are_read_and_bounded(program: CommandLine, anchore: str) -> None:
    used = "apiVersion: v1\nkind: Pod\nmetadata: {name: &n demo}\nspec: {containers: [{name: *n, image: nginx:1.25}]}\n"
    bomb = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )

    ended = program("review", "-f", "-", "--anchore", anchore, "--mode", "strict", stdin=stream(used, bomb))

    assert ended.code == 1
    assert "aliases repeat more than 1000000 values" in ended.out


def test_yaml_output_equals_json_output(program: CommandLine, anchore: str) -> None:
    arguments = ("review", "-f", "-", "--anchore", anchore, "--mode", "strict", "-o")
    text = stream(pod(GOOD, BAD), SERVICE, {"replicas": 3})

    as_json, as_yaml = (program(*arguments, output, stdin=text) for output in ("json", "yaml"))

    assert yaml.safe_load(as_yaml.out) == as_json.document
    assert as_json.document["objects"] == {
        "reviewed": 1,
        "withoutImages": 1,
        "notChecked": 0,
        "unread": 1,
        "notReviewed": 0,
    }
    assert as_json.code == as_yaml.code == 1


RULES: list[dict[str, Any]] = [
    {"name": "owned", "match": {"namespaces": ["kube-*"]}, "mode": "skip"},
    {"name": "alice", "match": {"users": ["alice"]}, "mode": "strict"},
    {"name": "ops", "match": {"groups": ["ops"]}, "mode": "analysis"},
    {"name": "shop", "match": {"namespaces": ["shop"]}, "mode": "strict", "policy": "unheard-of"},
    {
        "name": "chosen",
        "match": {"namespaces": ["chosen"]},
        "modeFrom": {"label": "mode", "allowed": {"lax": "analysis", "none": "skip"}},
        "policyFrom": {"label": "policy", "allowed": {"own": "unheard-of"}},
    },
]


@pytest.fixture(name="config")
def _config(anchore: str, tmp_path: Path) -> Path:
    file = tmp_path / "configuration.yaml"
    file.write_text(json.dumps({"anchore": {"endpoint": anchore}, "rules": RULES}))
    return file


@pytest.mark.parametrize(
    ("arguments", "rule", "verdict"),
    [
        ([], "defaults/passive", "admit"),
        (["-n", "kube-system"], "owned/skip", "admit"),
        (["--user", "alice"], "alice/strict", "deny"),
        (["--group", "dev", "--group", "ops"], "ops/analysis", "admit"),
        (["--namespace", "shop"], "shop/strict", "no_verdict"),
        (["--namespace", "shop", "--mode", "analysis"], "shop/analysis", "admit"),
        (["--mode", "strict"], "defaults/strict", "deny"),
        (["--mode", "strict", "--policy", "unheard-of"], "defaults/strict", "no_verdict"),
        (["-n", "kube-system", "--mode", "strict"], "owned/skip", "admit"),
    ],
)
def test_rules_see_the_user_and_options_override_rules(
    program: CommandLine, config: Path, arguments: list[str], rule: str, verdict: str
) -> None:
    ended = program("review", "-f", "-", "-c", config, "-o", "json", *arguments, stdin=stream(pod(BAD)))

    (image,) = ended.document["images"]
    assert (f"{image['rule']}/{image['mode']}", image["verdict"]) == (rule, verdict)


@pytest.mark.parametrize(
    ("arguments", "mode", "outcome"),
    [
        ([], "lax", ("analysis", "admit")),
        (["--mode", "strict"], "lax", ("strict", "no_verdict")),
        (["--mode", "strict", "--policy", "2c53a13c-1765-11e8-82ef-23527761d060"], "lax", ("strict", "deny")),
        (["--mode", "strict"], "none", ("skip", "admit")),
    ],
)
def test_options_override_what_a_label_chooses(
    program: CommandLine, config: Path, arguments: list[str], mode: str, outcome: tuple[str, str]
) -> None:
    labeled = pod(BAD, labels={"mode": mode, "policy": "own"}, namespace="chosen")

    ended = program("review", "-f", "-", "-c", config, "-o", "json", *arguments, stdin=stream(labeled))

    (image,) = ended.document["images"]
    assert (image["mode"], image["verdict"]) == outcome


def test_configuration_comes_from_the_environment_too(program: CommandLine, config: Path) -> None:
    credentials = {"ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin"}
    credentials |= {"ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "foobar"}

    ended = program(
        "review", "-f", "-", "--user", "alice",
        stdin=stream(pod(BAD)), environ={**credentials, "ANCHORE_ADMISSION_CONFIG": str(config)},
    )  # fmt: skip

    assert ended.code == 1


def test_templates_are_judged_like_pods_whatever_the_configuration_says(
    program: CommandLine, anchore: str, tmp_path: Path
) -> None:
    config = tmp_path / "configuration.yaml"
    config.write_text(
        json.dumps({"anchore": {"endpoint": anchore}, "defaults": {"mode": "strict"}, "workloads": "final"})
    )

    ended = program("review", "-f", "-", "-c", config, stdin=stream(workload("Deployment", pod_spec(UNKNOWN))))

    assert (ended.code, ended.out.splitlines()[-1]) == (1, "1 image in 1 object: 1 denied")


@pytest.mark.parametrize(("handling", "code"), [("final", 0), ("warn", 0), ("off", 0), ("deny", 1)])
def test_templates_are_judged_like_pods_on_request(
    program: CommandLine, anchore: str, handling: str, code: int
) -> None:
    ended = program(
        "review", "-f", "-", "--anchore", anchore, "--mode", "strict", "--workloads", handling,
        stdin=stream(workload("Deployment", pod_spec(UNKNOWN))),
    )  # fmt: skip

    assert ended.code == code
    assert (" out of scope " in ended.out) == (handling == "off")


def test_an_admission_review_is_judged_for_its_original_user(program: CommandLine, config: Path) -> None:
    ended = program("review", "-f", "-", "-c", config, "-o", "json", stdin=stream(review(pod(BAD))))

    (image,) = ended.document["images"]
    assert (image["rule"], image["object"]["namespace"]) == ("alice", "shop")
    assert ended.code == 1


def test_admission_review_without_an_object_is_not_read(program: CommandLine, config: Path) -> None:
    ended = program("review", "-f", "-", "-c", config, stdin=stream(review(None)))

    assert ended.code == 2
    assert "an AdmissionReview that holds no object" in ended.out


@pytest.mark.parametrize(
    ("kind", "code"),
    [({"version": "v1", "kind": "Service"}, 2), ({"group": "apps", "version": "v1", "kind": "Pod"}, 2), ({}, 1)],
)
def test_kind_of_a_request_hides_no_object(program: CommandLine, anchore: str, kind: dict[str, str], code: int) -> None:
    document = review(pod(BAD))
    document["request"]["kind"] = kind

    assert program("review", "-f", "-", "--anchore", anchore, stdin=stream(document)).code == code


def test_namespace_of_an_object_is_the_one_of_its_request(program: CommandLine, anchore: str) -> None:
    document = review(pod(GOOD))
    document["request"]["object"]["metadata"]["namespace"] = "elsewhere"

    ended = program("review", "-f", "-", "--anchore", anchore, stdin=stream(document))

    assert ended.code == 2
    assert "in another namespace than its request names" in ended.out


def test_request_names_the_kind_of_a_raw_object(program: CommandLine, anchore: str) -> None:
    document = review(pod(BAD))
    del document["request"]["object"]["kind"], document["request"]["object"]["apiVersion"]

    assert program("review", "-f", "-", "--anchore", anchore, stdin=stream(document)).code == 1


def test_passive_rules_are_pointed_out_beside_the_output(program: CommandLine, config: Path) -> None:
    ended = program("review", "-f", "-", "-c", config, "-o", "json", stdin=stream(pod(BAD)))

    assert ended.document["allowed"] is True
    assert (
        ended.err
        == "Note: passive rules admit without a verdict from Anchore; --mode strict would judge their images.\n"
    )


def test_anchore_that_hangs_is_given_up_in_time(program: CommandLine) -> None:
    with sandbox_served({"faults": [{"mode": "hang", "paths": ["/images"]}]}) as url:
        ended = program(
            "review", "-f", "-", "--anchore", url, "--mode", "strict", "--timeout", "0.3", stdin=stream(pod(GOOD))
        )

    assert ended.code == 2
    assert "undecided" in ended.out


def test_run_ends_in_time_and_names_what_it_did_not_review(program: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "pods.yaml"
    file.write_text(stream(*(pod(GOOD, name=f"p{number}", namespace="shop") for number in range(20))))
    late = "not reviewed: the run reached its time limit of 0.3 seconds (--total-timeout)"
    with sandbox_served({"faults": [{"mode": "hang", "paths": ["/images"]}]}) as url:
        arguments = ("review", "-f", file, "--anchore", url, "--total-timeout", "0.3")
        table, machine = program(*arguments), program(*arguments, "-o", "json")

    assert table.code == machine.code == 2
    assert table.out.splitlines()[-1] == "0 images in 0 objects; 20 not reviewed in time"
    assert table.out.splitlines()[1].split()[:4] == ["Pod", "shop/p0", "-", "not"]
    assert [(error["name"], error["message"]) for error in machine.document["errors"]] == [
        (f"p{number}", late) for number in range(20)
    ]
    assert machine.document["errors"][3]["source"] == f"{file}, document 4"
    assert (machine.document["allowed"], machine.document["images"]) == (False, [])
    assert machine.document["objects"] == {
        "reviewed": 0, "withoutImages": 0, "notChecked": 0, "unread": 0, "notReviewed": 20,
    }  # fmt: skip


def test_denial_counts_before_what_was_not_reviewed_in_time(program: CommandLine) -> None:
    images = [*[f"team/app:{number}" for number in range(40)], MALFORMED]
    with sandbox_served({"faults": [{"mode": "hang", "paths": ["/images"]}]}) as url:
        arguments = ("review", "-f", "-", "--anchore", url, "-o", "json", "--total-timeout")
        # Long enough for the first object even on a busy machine.
        denied = program(*arguments, "3", stdin=stream(pod(MALFORMED), pod(GOOD)))
        late = program(*arguments, "0.3", stdin=stream(pod(*images)))

    assert (denied.code, late.code) == (1, 2)
    assert [image["verdict"] for image in denied.document["images"]] == ["deny"]
    assert [error["name"] for error in late.document["errors"]] == ["demo"]


def test_review_submits_no_image(program: CommandLine) -> None:
    with sandbox_served({}) as url:
        for mode in ("passive", "analysis", "strict"):
            program("review", "-f", "-", "--anchore", url, "--mode", mode, stdin=stream(pod(UNKNOWN)))
        ended = program("check", UNKNOWN, "--anchore", url, "--mode", "analysis", "-o", "json")

    assert ended.document["images"][0]["reason"] == "unknown"
