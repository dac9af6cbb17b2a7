"""``anchore-admission config``."""

from pathlib import Path

import jsonschema
import pytest

from anchore_admission.documents.reader import load_documents
from support.command_line import CommandLine
from support.paths import ROOT

EXAMPLE = ROOT / "examples" / "configuration" / "every-key.yaml"


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def test_a_correct_file_is_valid_and_its_rules_are_listed(program: CommandLine) -> None:
    ended = program("config", "validate", EXAMPLE, environ={})

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{EXAMPLE}: valid; rules in order: cluster-components (skip), payments (strict), ")
    assert ended.out.endswith("defaults (passive)\n")


def test_every_problem_is_listed_with_its_path(program: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text("defaults: {mode: severe}\nrules: [{name: a}, {name: a, match: {image: [x]}}]\n")

    ended = program("config", "validate", file)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[0] == f"Error: {file}: 4 problem(s)"
    paths = [line.strip().partition(":")[0] for line in ended.err.splitlines()[1:]]
    assert sorted(paths) == ["anchore.endpoint", "defaults.mode", "rules[1].match.image", "rules[1].name"]


def test_file_comes_from_the_environment_or_standard_input(program: CommandLine) -> None:
    named = program("config", "validate", environ={"ANCHORE_ADMISSION_CONFIG": str(EXAMPLE)})
    piped = program("config", "validate", "-", stdin="anchore: {endpoint: http://anchore}\nrule: []\n")

    assert named.code == 0
    assert (piped.code, piped.err) == (
        2,
        "Error: standard input: 1 problem(s)\n  rule: unknown key; did you mean rules?\n",
    )


@pytest.mark.parametrize("arguments", [["validate"], ["validate", "/nowhere"], ["convert"], []])
def test_nothing_to_validate_is_no_success(program: CommandLine, arguments: list[str]) -> None:
    ended = program("config", *arguments)

    assert ended.code == 2
    assert ended.out + ended.err


def test_the_schema_accepts_the_example_and_rejects_a_typo(program: CommandLine) -> None:
    schema = program("config", "schema", environ={}).document
    [example] = load_documents(EXAMPLE.read_text(), source="example", aliases=False)

    jsonschema.validate(example, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**example, "rule": []}, schema)


def test_a_rule_that_never_applies_is_a_warning(program: CommandLine) -> None:
    rules = "rules: [{name: all, mode: strict}, {name: shop, match: {namespaces: [shop]}}]"

    ended = program("config", "validate", "-", stdin=f"anchore: {{endpoint: http://anchore}}\n{rules}\n")

    assert ended.code == 0
    assert ended.err == (
        "Warning: standard input: rules[1]: shop never applies: rules[0] (all) above it matches every image\n"
    )
    assert ended.out.startswith("standard input: valid; rules in order: all (strict), shop (passive), ")


def test_strict_makes_warnings_errors(program: CommandLine) -> None:
    document = "anchore: {endpoint: http://anchore}\ndefaults: {mode: %s}\n"

    warned = program("config", "validate", "--strict", "-", stdin=document % "passive")
    valid = program("config", "validate", "--strict", "-", stdin=document % "strict")

    assert (warned.code, warned.out) == (2, "")
    assert warned.err.splitlines() == [
        "Warning: standard input: defaults.mode: no image is ever denied: every mode in use is passive",
        "Error: standard input: 1 warning(s), which --strict does not accept",
    ]
    assert (valid.code, valid.err) == (0, "")
