"""``anchore-admission check`` against the sandbox."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command_line import CommandLine
from support.ports import free_port
from support.sandbox_server import sandbox_served


@pytest.fixture(scope="module", name="anchore")
def _anchore() -> Iterator[str]:
    with sandbox_served() as url:
        yield url


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.mark.parametrize(
    ("images", "code", "last"),
    [
        (["alpine:3.20"], 0, "1 image: 1 admitted"),
        (["alpine:3.20", "nginx:1.25"], 1, "2 images: 1 admitted, 1 denied"),
        (["broken:1"], 1, "1 image: 1 denied"),
        (["sha256:" + "a" * 64], 1, "1 image: 1 denied"),
    ],
)
def test_images_are_judged_one_by_one(
    program: CommandLine, anchore: str, images: list[str], code: int, last: str
) -> None:
    ended = program("check", *images, "--anchore", anchore, "--mode", "strict")

    assert (ended.code, ended.out.splitlines()[-1]) == (code, last)
    assert [line.split()[0] for line in ended.out.splitlines()[1:-2] if line[0] != " "] == images


def test_images_are_read_from_standard_input(program: CommandLine, anchore: str) -> None:
    ended = program("check", "redis:7", "-", "--anchore", anchore, "-o", "json", stdin="alpine:3.20\n\n  nginx:1.25\n")

    assert [image["image"] for image in ended.document["images"]] == ["redis:7", "alpine:3.20", "nginx:1.25"]


@pytest.mark.parametrize(
    "line",
    ["\ufeffredis:7\r\n", '"redis:7"\n', "'redis:7'\n", ' "redis:7" \n', "# a comment\nredis:7", "\tredis:7\t\n\n"],
)
def test_lines_are_read_as_tools_write_them(program: CommandLine, anchore: str, line: str) -> None:
    ended = program("check", "-", "--anchore", anchore, "-o", "json", stdin=line)

    assert [image["image"] for image in ended.document["images"]] == ["redis:7"]


def test_argument_that_is_no_text_is_answered(program: CommandLine, anchore: str) -> None:
    ended = program("check", "redis:\udcff", "--anchore", anchore, "-o", "json")

    assert (ended.code, ended.document["images"][0]["image"]) == (1, "redis:\ufffd")


def test_no_images_on_standard_input_is_no_pass(program: CommandLine, anchore: str) -> None:
    ended = program("check", "-", "--anchore", anchore, stdin="\n")

    assert (ended.code, ended.out) == (2, "")
    assert "standard input: 1 problem(s)\n  names no image" in ended.err


def test_address_on_the_command_line_beats_the_file(program: CommandLine, anchore: str, tmp_path: Path) -> None:
    config = tmp_path / "configuration.json"
    unreachable = f"http://127.0.0.1:{free_port()}"
    config.write_text(json.dumps({"anchore": {"endpoint": unreachable}, "defaults": {"mode": "strict"}}))

    assert program("check", "alpine:3.20", "-c", config).code == 2
    assert program("check", "alpine:3.20", "-c", config, "--anchore", anchore).code == 0


def test_without_anchore_settings_the_error_names_the_needed_options(program: CommandLine) -> None:
    ended = program("check", "alpine:3.20")

    assert ended.code == 2
    assert "--anchore URL" in ended.err


@pytest.mark.parametrize(
    ("url", "environ", "words"),
    [
        ("ftp://x", None, "--anchore: 1 problem(s)\n  anchore.endpoint: expected an http or https address"),
        ("http://localhost", {}, "account default: has no credentials"),
    ],
)
def test_configuration_that_cannot_be_used_is_explained(
    program: CommandLine, url: str, environ: dict[str, str] | None, words: str
) -> None:
    ended = program("check", "alpine:3.20", "--anchore", url, environ=environ)

    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert "Traceback" not in ended.err


def test_wrong_credentials_are_no_verdict(program: CommandLine, anchore: str) -> None:
    environ = {"ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin"}
    environ |= {"ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "wrong-one"}

    ended = program("check", "alpine:3.20", "--anchore", anchore, "--mode", "strict", environ=environ)

    assert ended.code == 2
    assert "Anchore rejects the credentials" in ended.out
    assert "wrong-one" not in ended.out + ended.err


def test_many_images_are_all_answered_in_order(program: CommandLine, anchore: str) -> None:
    images = [f"alpine:{number}" for number in range(40)]

    ended = program("check", *images, "--anchore", anchore, "--mode", "analysis", "-o", "json")

    assert [image["image"] for image in ended.document["images"]] == images


def test_images_not_checked_in_time_are_named(program: CommandLine) -> None:
    images = [f"team/app:{number}" for number in range(10)]
    with sandbox_served({"faults": [{"mode": "hang", "paths": ["/images"]}]}) as url:
        arguments = ("check", *images, "--anchore", url, "--total-timeout", "0.3")
        table, machine = program(*arguments), program(*arguments, "-o", "json")

    assert table.code == machine.code == 2
    assert table.out.splitlines()[-1] == "0 images; 10 not reviewed in time"
    assert [line.split()[:3] for line in table.out.splitlines()[1:-2]] == [
        [image, "not", "reviewed"] for image in images
    ]
    assert [error["image"] for error in machine.document["errors"]] == images
    assert machine.document["allowed"] is False
