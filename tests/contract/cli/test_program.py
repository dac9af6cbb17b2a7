"""The program as a whole: its help, its completion, its ways to fail."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import pytest
import typer

from anchore_admission import __version__
from anchore_admission.cli import main, version
from anchore_admission.errors import ConfigurationError, PolicyNotFound, Problem
from support.command_line import CREDENTIALS, CommandLine, clean_environment

PROGRAM = [sys.executable, "-m", "anchore_admission"]


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture(name="logs_as_before")
def _logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def completed(program: CommandLine, words: str) -> list[str]:
    """Return the completions that bash offers after these words."""
    environ = {"_ANCHORE_ADMISSION_COMPLETE": "complete_bash", "COMP_WORDS": f"anchore-admission {words}"}
    return program(environ={**environ, "COMP_CWORD": str(len(words.split(" ")))}).out.split()


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make ``version`` end in an error."""

    def command() -> NoReturn:
        raise error

    monkeypatch.setattr(version, "command", command)


@pytest.mark.process
def test_help_names_every_command_and_imports_none() -> None:
    script = (
        "import sys; from anchore_admission.cli.main import run\n"
        "try: run(['--help'])\n"
        "finally: print([name for name in ('pydantic', 'yaml', 'fastapi', 'httpx') if name in sys.modules])"
    )
    ended = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=clean_environment()
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"
    assert not [name for name in main.COMMANDS if f" {name} " not in ended.stdout]


@pytest.mark.parametrize("name", main.COMMANDS)
def test_summary_of_a_command_is_its_own(name: str) -> None:
    command = import_module(f"anchore_admission.cli.{name}").command
    text = command.info.help if isinstance(command, typer.Typer) else command.__doc__

    assert (text or "").splitlines()[0] == main.COMMANDS[name]


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_explains_every_option(program: CommandLine, name: str) -> None:
    command = main.load(name)

    assert program(name, "--help").code == program(name, "-h").code == 0
    assert not [p.name for p in command.params if not getattr(p, "help", None)]


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_printed(program: CommandLine, arguments: list[str]) -> None:
    ended = program(*arguments)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"anchore-admission {__version__}")


def test_typo_is_met_with_a_suggestion(program: CommandLine) -> None:
    ended = program("reveiw")

    assert (ended.code, ended.out) == (2, "")
    assert "Did you mean 'review'" in ended.err


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ch", ["check"]),
        ("config ", ["validate", "test", "schema", "convert"]),
        ("review --mode ", ["passive", "analysis", "strict"]),
        ("check --names", ["--namespace", "--namespace-labels"]),
    ],
)
def test_shells_complete_commands_options_and_values(program: CommandLine, words: str, offered: list[str]) -> None:
    assert completed(program, words) == offered


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, ""),
        (PolicyNotFound("no policy x"), 2, "Error: no policy x\n"),
        (
            ConfigurationError("c.yaml", [Problem("a.b", "is wrong"), Problem("", "is odd")]),
            2,
            "Error: c.yaml: 2 problem(s)\n  a.b: is wrong\n  is odd\n",
        ),
        (KeyError("x"), 2, "Error: unexpected KeyError: 'x' (--debug shows where)\n"),
        (typer.Exit(7), 7, ""),
    ],
)
def test_a_failure_is_reported_in_a_few_words(
    program: CommandLine, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    failing(monkeypatch, error)

    ended = program("version")

    assert (ended.code, ended.out, ended.err) == (code, "", words)


@pytest.mark.usefixtures("logs_as_before")
def test_trace_is_shown_on_request(program: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyError("x"))

    ended = program("version", "--debug")

    assert ended.code == 2
    assert "Traceback (most recent call last)" in ended.err
    assert ended.err.endswith("Error: unexpected KeyError: 'x'\n")


@pytest.mark.process
@pytest.mark.parametrize("words", [["review", "--help"], ["check", "ünï\u202e", "--anchore", "http://127.0.0.1:1"]])
@pytest.mark.parametrize("environ", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}])
def test_terminal_without_unicode_gets_an_answer(words: list[str], environ: dict[str, str]) -> None:
    ended = subprocess.run(  # noqa: S603 - ourselves
        [*PROGRAM, *words], capture_output=True, check=False, env=clean_environment({**CREDENTIALS, **environ})
    )

    assert (ended.returncode, ended.stderr) == (0 if "--help" in words else 1, b"")


def test_notes_command_no_terminal(program: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, PolicyNotFound("no\npolicy \x1b[2J\x9b\u202e"))

    assert program("version").err == "Error: no\npolicy ?[2J??\n"


@pytest.mark.process
def test_a_closed_reader_ends_it_quietly() -> None:
    with subprocess.Popen(  # noqa: S603 - ourselves
        [*PROGRAM, "config", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment()
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        said = process.stderr.read()

    assert (process.returncode, said) == (141, b"")


@pytest.mark.process
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["version"], ["config", "schema"]])
def test_output_that_cannot_be_written_is_explained(words: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(  # noqa: S603 - ourselves
            [*PROGRAM, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=clean_environment()
        )

    assert ended.returncode == 2
    assert "No space left on device" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "closed", "code", "said"),
    [
        ("check - --anchore http://127.0.0.1:1", "<&-", 2, "cannot be read: it is closed"),
        ("review -f - --anchore http://127.0.0.1:1", "<&-", 2, "cannot be read: it is closed"),
        ("config validate -", "<&-", 2, "cannot be read: it is closed"),
        ("check sha256:0123abcd --anchore http://127.0.0.1:1", "2>&-", 1, "is an image ID"),
        ("check sha256:0123abcd --anchore http://127.0.0.1:1", ">&-", 1, ""),
    ],
)
def test_closed_stream_changes_no_exit_code(words: str, closed: str, code: int, said: str) -> None:
    script = f"{' '.join(PROGRAM)} {words} {closed}"
    ended = subprocess.run(  # noqa: S602 - a shell closes streams
        script, shell=True, capture_output=True, text=True, check=False, env=clean_environment(CREDENTIALS)
    )

    assert ended.returncode == code
    assert said in ended.stdout + ended.stderr
    assert "unexpected" not in ended.stderr
