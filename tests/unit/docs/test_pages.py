"""Everything that the pages name exists: links, the program's options, the chart's values; their examples parse."""

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from click import Command

from anchore_admission.cli.main import COMMANDS, PROGRAM, load
from anchore_admission.errors import ConfigurationError
from anchore_admission.services.config.load import configuration_schema, parse_configuration
from support.command_line import CommandLine
from support.paths import ROOT
from support.programs import KUBERNETES_VERSION

DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "examples" / "README.md",
    ROOT / "deploy" / "helm" / "anchore-admission" / "README.md",
    ROOT / "deploy" / "kustomize" / "README.md",
    *sorted(DOCS.glob("*.md")),
]
VALUES = ROOT / "deploy" / "helm" / "anchore-admission" / "values.yaml"
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
ROOT_OPTIONS = frozenset({"--help", "-h", "--version", "--install-completion", "--show-completion"})
CONFIGURATION = frozenset(configuration_schema()["properties"])
"""The first keys of the configuration file."""
OFFLINE = (["config", "validate"], ["config", "test"], ["explain"])
"""The commands that need nothing but files."""
_VALUE = re.compile(r"[a-z][A-Za-z]*(?:\.[a-z][A-Za-z]*)+")
_FILES = {"yaml", "crt", "key", "md", "json", "com", "io"}
_OURS = ("command-line.md", "configuration.md", "operating.md", "sandbox.md")
"""The pages whose prose names no other program's options."""
_ORIGINAL = "From the original controller's chart"
"""The section whose table begins with values of another chart."""

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def blocks(page: Path, language: str) -> list[str]:
    return [dedent(fence[3]) for fence in _FENCE.finditer(page.read_text()) if fence[2] == language]


def headings(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in found}


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command of a shell's lines; what a console shows besides is left out."""
    for fence in _FENCE.finditer(text):
        language, body = fence[2], fence[3].replace("\\\n", " ")
        if language == "console":
            body = "\n".join(line.removeprefix("$ ") for line in body.splitlines() if line.startswith("$ "))
        if language in {"sh", "console"}:
            yield from _words(body)
    for code in _CODE.findall(_FENCE.sub("", text)):
        yield from _words(code)


def _words(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        words: list[str] = []
        try:
            for word in lexer:
                if set(word) <= set("|&;"):
                    yield words
                    words = []
                else:
                    words.append(word)
        except ValueError:
            continue  # half a quotation, as in a message
        yield words


def of_program(words: list[str]) -> list[str] | None:
    """Return the arguments of our program if the words run it, directly or by its image."""
    words = [word for word in words if not re.match(r"[A-Z_]+=", word)]
    by_image = words[:2] in (["docker", "run"], ["podman", "run"])
    for place, word in enumerate(words):
        name = word.rpartition("/")[2].partition(":")[0]
        if name == PROGRAM and (place == 0 or by_image) and words[place - 1] != "--name":
            return words[place + 1 :]
    return None


@cache
def options(command: str) -> Mapping[str, frozenset[str]]:
    """The options of a command and of what stands below it, by its name."""

    def own(found: Command) -> frozenset[str]:
        return frozenset({"--help", "-h"}.union(*({*each.opts, *each.secondary_opts} for each in found.params)))

    loaded = load(command)
    below = {name: own(each) for name, each in getattr(loaded, "commands", {}).items()}
    return {"": own(loaded)} | below


def shown(page: Path) -> Iterator[tuple[list[str], str]]:
    """The program's calls in the consoles of a page, each with the output that stands below it."""
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            given = of_program(command.split())
            if given:
                yield given, output


def test_the_pages_are_found() -> None:
    assert {"README.md", "install.md", "command-line.md"} <= {page.name for page in PAGES}


@pages
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            lost.append(link)
    assert lost == []


@pages
def test_every_picture_has_an_alternative_text(page: Path) -> None:
    assert [target for text, target in _PICTURE.findall(prose(page)) if not text.strip()] == []


def test_the_readme_shows_a_picture() -> None:
    assert "docs/pictures/denial.svg" in dict(reversed(it) for it in _PICTURE.findall(prose(ROOT / "README.md")))


def test_the_index_names_every_page() -> None:
    index = (DOCS / "README.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and f"({page.name}" not in index] == []


def test_the_badges_match_the_project() -> None:
    """Badges are drawn from their URLs, so no other check keeps them true."""
    badges = {text.partition(":")[0]: unquote(target) for text, target in _PICTURE.findall(prose(ROOT / "README.md"))}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pythons = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r":: 3\.\d+$", line)]
    oldest = yaml.safe_load((VALUES.parent / "Chart.yaml").read_text())["kubeVersion"]
    tested = KUBERNETES_VERSION

    assert f"/python-{' | '.join(pythons)}-" in badges["Python"]
    assert f"/license-{project['license'].replace('-', '--')}-" in badges["License"]
    assert f"-{re.findall(r'[0-9]+[.][0-9]+', oldest)[0]}+," in badges["Kubernetes"]
    assert f"tested on {tested.removeprefix('v').rpartition('.')[0]}-" in badges["Kubernetes"]


@pages
def test_a_shell_can_read_every_command(page: Path) -> None:
    """Placeholders count as words: dots already are words, ``<full name>`` becomes one."""
    unread = []
    for block in blocks(page, "sh"):
        text = re.sub(r"<[a-z ]+>", "NAME", block)
        read = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)  # noqa: S607
        if read.stderr:
            unread.append(read.stderr)
    assert unread == []


def test_every_example_is_yaml() -> None:
    found = [(page, block) for page in PAGES for block in blocks(page, "yaml")]
    assert found
    for page, block in found:
        assert list(yaml.safe_load_all(block)), page


@pages
def test_every_configuration_is_valid_as_far_as_it_goes(page: Path) -> None:
    """Configurations of the controller, also those below ``config`` of the chart's values; parts may be missing."""
    wrong = []
    for block in blocks(page, "yaml"):
        for document in yaml.safe_load_all(block):
            found = document.get("config", document) if isinstance(document, dict) else {}
            if found and set(found) <= CONFIGURATION and not all(_is_value(name) for name in _paths(found)):
                wrong += _problems(found)
    assert wrong == []


def test_a_key_that_no_configuration_has_is_noticed() -> None:
    assert _problems({"rules": [{"name": "a", "match": {"namespace": ["b"]}}]}) == [
        "rules[0].match.namespace: unknown key; did you mean namespaces?"
    ]


def _paths(found: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in found.items():
        yield above + name
        if isinstance(value, dict):
            yield from _paths(value, f"{above}{name}.")


def _problems(found: Mapping[str, Any]) -> list[str]:
    """Return the mistakes in a part of a configuration, besides what it leaves out."""
    whole = {"anchore": {"endpoint": "http://anchore:8228"}, **found}
    try:
        parse_configuration(json.dumps(whole, default=date.isoformat), "configuration.yaml")
    except ConfigurationError as error:
        return [f"{each.path}: {each.message}" for each in error.problems if each.message != "is required"]
    return []


@pages
def test_every_command_and_option_of_the_program_exists(page: Path) -> None:
    unknown = []
    for words in commands(page.read_text()):
        given = of_program(words)
        if not given:
            continue
        known = ROOT_OPTIONS
        if given[0] in COMMANDS:
            command = options(given[0])
            known = command.get(given[1] if len(given) > 1 else "", command[""])
        elif re.fullmatch(r"[a-z]+", given[0]):
            unknown.append(given[0])
        flags = [word.partition("=")[0] for word in given if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)]
        unknown += [f"{given[0]} {flag}" for flag in flags if flag not in known]
    assert unknown == []


def about_examples() -> list[tuple[list[str], str]]:
    """The calls that need no Anchore, about files of this project, and what the pages show as their output."""
    return [
        (given, output)
        for page in PAGES
        for given, output in shown(page)
        if any(given[: len(each)] == each for each in OFFLINE)
        and all((ROOT / word).exists() for word in given if word.endswith(".yaml"))
    ]


@pytest.mark.parametrize(
    ("given", "output"), about_examples(), ids=lambda it: " ".join(it) if isinstance(it, list) else ""
)
def test_what_a_command_prints_about_an_example_is_what_a_page_shows(
    given: list[str], output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert CommandLine(capsys, monkeypatch)(*given, environ={}).out == output


def test_outputs_are_compared() -> None:
    assert ["config", "validate", "examples/configuration/every-key.yaml"] in [given for given, _ in about_examples()]


@pytest.mark.parametrize("page", _OURS)
def test_every_option_that_the_prose_names_is_one_of_the_program(page: str) -> None:
    known = ROOT_OPTIONS.union(*(each for name in COMMANDS for each in options(name).values()))
    named = {
        code.partition(" ")[0].partition("=")[0] for code in _CODE.findall(prose(DOCS / page)) if code.startswith("--")
    }
    assert named - known == set()


def test_every_value_that_the_installation_names_is_one_of_the_chart() -> None:
    text = (DOCS / "install.md").read_text()
    begin, _, rest = prose(DOCS / "install.md").partition(f"## {_ORIGINAL}\n")
    section, _, end = rest.partition("\n## ")
    assert section
    ours = begin + end + re.sub(r"^\|[^|]*\|", "|", section, flags=re.MULTILINE)
    named = {code for code in _CODE.findall(ours) if _VALUE.fullmatch(code) and code.rpartition(".")[2] not in _FILES}
    named |= set(_set_by(text))
    assert [name for name in sorted(named) if not _is_value(name)] == []


@pages
def test_every_value_that_a_command_sets_is_one_of_the_chart(page: Path) -> None:
    assert [name for name in _set_by(page.read_text()) if not _is_value(name)] == []


def _set_by(text: str) -> Iterator[str]:
    for words in commands(text):
        for flag, value in pairwise(words):
            if flag in {"--set", "--set-file"}:
                yield from re.findall(r"(?:^|,)([A-Za-z.]+)=", value)


def _is_value(name: str) -> bool:
    """Below a value that is an empty mapping, such as ``config``, anything may stand."""
    found: Any = _values()
    for part in name.split("."):
        if found == {}:
            return True
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    return True


@cache
def _values() -> Any:
    return yaml.safe_load(VALUES.read_text())
