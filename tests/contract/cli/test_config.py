"""``anchore-admission config``."""

from pathlib import Path

import jsonschema
import pytest

from anchore_admission.documents.reader import load_documents
from support.command_line import CommandLine, Ended
from support.examples import renewed
from support.paths import ROOT

EXAMPLE = ROOT / "examples" / "configuration" / "every-key.yaml"


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def test_a_correct_file_is_valid_and_its_rules_are_listed(program: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text(renewed(EXAMPLE.read_text()))

    ended = program("config", "validate", file, environ={})

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{file}: valid; rules in order: cluster-components (skip), payments (strict), ")
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


def _tested(program: CommandLine, tmp_path: Path, cases: str, *options: str) -> Ended:
    file = tmp_path / "configuration.yaml"
    file.write_text(
        "anchore: {endpoint: http://anchore}\nrules: [{name: shop, match: {namespaces: [shop]}, mode: strict}]\n"
    )
    return program("config", "test", "-", "--config", file, *options, stdin=cases, environ={})


def test_cases_are_run_and_the_differences_are_shown(program: CommandLine, tmp_path: Path) -> None:
    cases = (
        "cases:\n"
        "  - {name: shop is strict, image: nginx, namespace: shop, expect: {rule: shop, mode: strict}}\n"
        "  - {image: nginx, namespace: tools, expect: {rule: shop}}\n"
    )
    ended = _tested(program, tmp_path, cases)
    document = _tested(program, tmp_path, cases, "-o", "json").document

    assert (ended.code, ended.err) == (1, "")
    assert ended.out.splitlines() == [
        "passed  shop is strict",
        "FAILED  cases[1]",
        "          rule: expected shop, got defaults (shop was passed over: namespaces)",
        "",
        "2 cases: 1 passed, 1 failed",
    ]
    assert (document["passed"], [case["passed"] for case in document["cases"]]) == (False, [True, False])


@pytest.mark.parametrize(
    ("cases", "problem"),
    [
        ("", "expected one document with the key cases"),
        ("cases: [", "line 2, column 1: is not valid YAML: did not find expected node content"),
        ("cases: []", "cases: must list at least one case"),
        ("cases: [{image: a, expect: {rul: a}}]", "cases[0].expect.rul: unknown key; did you mean rule?"),
        ("cases: [{image: a, expect: {}}]", "cases[0].expect: expected at least one key, such as rule or mode"),
        ("cases: [{expect: {rule: a}}]", "cases[0]: give image or object"),
        (
            "cases: [{image: a, namespace: A, expect: {rule: a}}]",
            "cases[0].namespace: expected the name of",
        ),
    ],
)
def test_cases_that_are_not_valid_are_no_success(
    program: CommandLine, tmp_path: Path, cases: str, problem: str
) -> None:
    ended = _tested(program, tmp_path, cases)

    assert ended.code == 2
    assert problem in ended.err


def test_cases_that_all_pass_are_a_success(program: CommandLine, tmp_path: Path) -> None:
    ended = _tested(program, tmp_path, "cases: [{image: a, expect: {rule: defaults}}]")

    assert (ended.code, ended.out) == (0, "passed  cases[0]\n\n1 case: 1 passed, 0 failed\n")
