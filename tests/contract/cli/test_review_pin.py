"""``anchore-admission review --pin`` against the sandbox: its diffs apply, and nothing but images changes."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.builders import pod_spec, workload
from support.command_line import CommandLine, Ended
from support.ports import free_port
from support.sandbox_server import sandbox_served

LIST, CHILD, SINGLE = ("sha256:" + letter * 64 for letter in "abc")
FINDING = {"id": "CVE-2021-3711", "severity": "CRITICAL", "package": "openssl", "fix": "1.1.1l-r0"}
SEED = {
    "images": [
        {"tag": "multi:1", "digest": CHILD, "parentDigest": LIST},
        {"tag": "single", "digest": SINGLE},
        {"tag": "bad:1", "findings": [FINDING]},
    ]
}
MANIFEST = """\
# The shop; image: multi:1
apiVersion: apps/v1
kind: Deployment   # a comment
metadata: {name: shop, annotations: {last: "image: multi:1"}}
spec:
  template:
    spec:
      initContainers:
        - {name: first, image: multi:1, args: [multi:1]}
      containers:
        - name: shop
          image: "multi:1"  # 😀
          env: [{name: IMAGE, value: multi:1}]
        - image: 'single'
          name: sidecar
        - image: bad:1
          name: bad
        - image: >-
            multi:1
          name: folded
      volumes:
        - name: model
          image: {reference: multi:1, pullPolicy: Never}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: x}
data:
  pod.yaml: |
    image: multi:1
---
apiVersion: v1
kind: List
items:
  - apiVersion: batch/v1
    kind: CronJob
    spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: job, image: multi:1}]}}}}}
"""
PINNED = (
    MANIFEST.replace("image: multi:1, args", f"image: multi:1@{LIST}, args")
    .replace('"multi:1"  # 😀', f'"multi:1@{LIST}"  # 😀')
    .replace("'single'", f"'single:latest@{SINGLE}'")
    .replace("image: multi:1}]}}}}}", f"image: multi:1@{LIST}}}]}}}}}}}}}}")
)


@pytest.fixture(scope="module", name="anchore")
def _anchore() -> Iterator[str]:
    with sandbox_served(SEED) as url:
        yield url


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys, monkeypatch)


def notes(ended: Ended) -> list[str]:
    """Return the lines about pins, which follow the table on stderr."""
    lines = ended.err.splitlines()
    table = next(number for number, line in enumerate(lines) if " in " in line and " object" in line)
    return lines[table + 1 :]


def pod(image: str) -> str:
    return json.dumps(workload("Pod", pod_spec(image)))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_document_changes_nothing_but_images(program: CommandLine, anchore: str, end: str) -> None:
    text = MANIFEST.replace("\n", end)
    Path("shop.yaml").write_bytes(text.encode())

    ended = program("review", "-f", "shop.yaml", "--anchore", anchore, "--pin", "document")

    assert ended.out == PINNED.replace("\n", end)
    assert ended.code == 1
    assert "Deployment default/shop  bad:1    denied " in ended.err
    told = [line.split(", where Anchore has seen the tag since 20")[0] for line in notes(ended)]
    assert told == [
        f"shop.yaml:9: multi:1 pinned to {LIST}",
        f"shop.yaml:12: multi:1 pinned to {LIST}",
        f"shop.yaml:14: single pinned to {SINGLE}",
        "shop.yaml:16: bad:1 not pinned: it is denied",
        "shop.yaml:18: multi:1 not pinned: it is a block of lines",
        "shop.yaml:23: multi:1 not pinned: its pull policy is Never",
        f"shop.yaml:37: multi:1 pinned to {LIST}",
        "4 images pinned, 3 not pinned",
    ]


def test_second_run_changes_nothing(program: CommandLine, anchore: str) -> None:
    first = program("review", "-f", "-", "--anchore", anchore, "--pin", "document", stdin=pod("multi:1"))
    second = program("review", "-f", "-", "--anchore", anchore, "--pin", "document", stdin=first.out)
    diff = program("review", "-f", "-", "--anchore", anchore, "--pin", "diff", stdin=first.out)

    assert first.out == pod(f"multi:1@{LIST}")
    assert (second.out, second.code, diff.out) == (first.out, 0, "")
    assert notes(second) == notes(diff) == ["Nothing to pin: no image is named by a tag alone"]


@pytest.mark.parametrize(
    "apply",
    [
        pytest.param(["git", "apply", "--whitespace=nowarn"], id="git"),
        pytest.param(["patch", "-p1", "--binary", "--no-backup-if-mismatch"], id="patch"),
    ],
)
def test_diff_can_be_applied(program: CommandLine, anchore: str, tmp_path: Path, apply: list[str]) -> None:
    if not shutil.which(apply[0]):
        pytest.skip(f"{apply[0]} is not installed")
    names = ["deploy/shop.yaml", 'deploy/a "quoted" name.yaml', "deploy/sub dir/crlf.yaml", "deploy/mark.json"]
    before = {
        names[0]: MANIFEST,
        names[1]: MANIFEST.removesuffix("\n"),
        names[2]: MANIFEST.replace("\n", "\r\n"),
        names[3]: f"\ufeff{pod('multi:1')}\n{pod('single')}",
    }
    after = {
        names[0]: PINNED,
        names[1]: PINNED.removesuffix("\n"),
        names[2]: PINNED.replace("\n", "\r\n"),
        names[3]: f"\ufeff{pod(f'multi:1@{LIST}')}\n{pod(f'single:latest@{SINGLE}')}",
    }
    for name, text in before.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(text.encode())

    # The second name is another way to the first.
    options = ["-f", tmp_path / "deploy", "-f", "./deploy/shop.yaml", "--anchore", anchore]
    ended = program("review", *options, "--pin", "diff")
    subprocess.run(  # noqa: S603 - the commands above
        apply, input=ended.out.encode(), cwd=tmp_path, check=True, capture_output=True, timeout=30
    )

    assert {name: Path(name).read_bytes().decode() for name in names} == after
    assert ended.out.count("--- ") == len(names)


def test_diff_names_files_below_the_current_directory(
    program: CommandLine, anchore: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    for name in ("here/a.json", "b.json"):
        (tmp_path / name).write_text(pod("multi:1"))
    monkeypatch.chdir(tmp_path / "here")

    options = ["-f", tmp_path / "here", "-f", "../b.json", "-f", "-"]
    ended = program("review", *options, "--anchore", anchore, "--pin", "diff", stdin=pod("single"))

    headers = [line for line in ended.out.splitlines() if line.startswith(("---", "+++"))]
    outside = f"{tmp_path.resolve()}/b.json".removeprefix("/")
    assert headers == [
        f"{sign} {side}/{name}" for name in ("a.json", outside, "-") for sign, side in (("---", "a"), ("+++", "b"))
    ]
    assert notes(ended)[-1].startswith("Note: ../b.json is not below the current directory, so git apply does not")


def test_several_files_become_one_stream(program: CommandLine, anchore: str) -> None:
    Path("a.json").write_text(pod("multi:1"))
    Path("b.yaml").write_bytes(f"\ufeff# b\n--- # c\n{pod('single')}\n".encode())
    Path("c.yaml").write_text("# nothing\n")

    ended = program("review", "-f", ".", "--anchore", anchore, "--pin", "document")

    assert ended.out == (
        f"---\n{pod(f'multi:1@{LIST}')}\n# b\n--- # c\n{pod(f'single:latest@{SINGLE}')}\n---\n# nothing\n"
    )


def test_utf16_is_converted_and_has_no_diff(program: CommandLine, anchore: str) -> None:
    Path("a.yaml").write_bytes(b"\xff\xfe" + MANIFEST.encode("utf-16-le"))

    document = program("review", "-f", "a.yaml", "--anchore", anchore, "--pin", "document")
    diff = program("review", "-f", "a.yaml", "--anchore", anchore, "--pin", "diff")

    assert (document.out, diff.out) == (PINNED, "")
    assert notes(diff)[0] == (
        "a.yaml:9: multi:1 not pinned: the file is UTF-16, which git takes for binary; convert it to UTF-8, or use "
        "--pin document"
    )


def test_reasons_of_the_verdict_come_first(program: CommandLine, anchore: str) -> None:
    lines = ["  - image: >-", "      bad:1", f"  - image: {'x' * 3000}"]
    text = "\n".join(["apiVersion: v1", "kind: Pod", "spec:", "  containers:", *lines, ""])
    Path("a.yaml").write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))

    ended = program("review", "-f", "a.yaml", "--anchore", anchore, "--pin", "diff")

    assert notes(ended) == [
        "a.yaml:5: bad:1 not pinned: it is denied",
        f"a.yaml:7: {'x' * 299}… not pinned: it is denied",
        "0 images pinned, 2 not pinned",
    ]


def test_marks_between_documents_stay(program: CommandLine, anchore: str) -> None:
    text = f"{pod('multi:1')}\n\ufeff---\n{pod('single')}\n"

    ended = program("review", "-f", "-", "--anchore", anchore, "--pin", "document", stdin=text)

    assert ended.out == f"{pod(f'multi:1@{LIST}')}\n\ufeff---\n{pod(f'single:latest@{SINGLE}')}\n"


@pytest.mark.parametrize("pin", ["diff", "document"])
def test_unreadable_files_stay_as_they_are(program: CommandLine, anchore: str, pin: str) -> None:
    text = f"---\n{pod('multi:1')}\n---\nkind: [\n"
    Path("a.yaml").write_text(text)
    Path("b.yaml").write_bytes(b"\xff")

    ended = program("review", "-f", ".", "-f", "missing", "--anchore", anchore, "--pin", pin)

    assert ended.code == 2
    changed = text.replace("multi:1", f"multi:1@{LIST}")
    assert (ended.out == changed) if pin == "document" else (f"multi:1@{LIST}" in ended.out)
    assert "b.yaml: is not UTF-8 text" in ended.err
    assert "missing: cannot be read" in ended.err


def test_nothing_to_review_prints_nothing(program: CommandLine, anchore: str) -> None:
    ended = program("review", "-f", "-", "--anchore", anchore, "--pin", "diff")

    assert (ended.code, ended.out) == (2, "")
    # Images may be in what could not be read.
    assert notes(ended) == ["0 images pinned, 0 not pinned"]


def test_aliases_of_one_text_are_listed_once(program: CommandLine, anchore: str) -> None:
    text = f"apiVersion: v1\nkind: List\nitems:\n- &pod {pod('multi:1')}\n- *pod\n- *pod\n"

    ended = program("review", "-f", "-", "--anchore", anchore, "--pin", "document", stdin=text)

    assert ended.out == text.replace("multi:1", f"multi:1@{LIST}")
    assert [line.partition(",")[0] for line in notes(ended)] == [
        f"standard input:4: multi:1 pinned to {LIST}",
        "1 image pinned",
    ]


def test_a_container_without_an_image_has_nothing_to_pin(program: CommandLine, anchore: str) -> None:
    ended = program("review", "-f", "-", "--anchore", anchore, "--pin", "diff", stdin=pod(""))

    assert (ended.code, ended.out) == (1, "")
    assert notes(ended) == ["Nothing to pin: no image is named by a tag alone"]


def test_an_image_without_a_verdict_is_not_called_denied(program: CommandLine) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    ended = program("review", "-f", "-", "--anchore", nowhere, "--pin", "diff", stdin=pod("multi:1"))

    assert (ended.code, ended.out) == (2, "")
    assert notes(ended)[0] == "standard input:1: multi:1 not pinned: there is no verdict on it"


def test_explanations_are_shown_only_if_asked_for(program: CommandLine, anchore: str) -> None:
    options = ["review", "-f", "-", "--anchore", anchore, "--pin", "diff"]

    plain = program(*options, stdin=pod("multi:1"))
    explained = program(*options, "--explain", stdin=pod("multi:1"))

    assert "enforcement deny" not in plain.err
    assert "enforcement deny" in explained.err
    assert plain.out == explained.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--replay", "x", "--pin", "diff"], "--pin needs -f FILE"),
        (["-f", "-", "--pin", "diff", "-o", "json"], "--pin prints the manifests instead of --output"),
        (["-f", "-", "--pin", "both"], "'both' is not one of 'diff', 'document'"),
    ],
)
def test_options_that_do_not_fit_are_rejected(
    program: CommandLine, anchore: str, options: list[str], message: str
) -> None:
    ended = program("review", *options, "--anchore", anchore)

    assert (ended.code, ended.out) == (2, "")
    assert message in " ".join(ended.err.replace("│", " ").split())


def test_a_tag_that_only_a_rule_names_is_left_alone(program: CommandLine, anchore: str) -> None:
    rules = [{"name": "by-tag", "match": {"images": ["docker.io/library/multi:1"]}, "mode": "strict"}]
    Path("c.json").write_text(
        json.dumps({"anchore": {"endpoint": anchore}, "rules": rules, "defaults": {"mode": "passive"}})
    )

    ended = program("review", "-f", "-", "-c", "c.json", "--pin", "diff", stdin=pod("multi:1"))

    assert (ended.code, ended.out) == (0, "")
    assert "standard input:1: multi:1 not pinned: with its digest, rule " in ended.err
