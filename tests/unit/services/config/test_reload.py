"""Reloading the configuration file."""

import gc
import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.configuration import ModeName
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.services.config.reload import LoadedConfiguration, Reloader
from anchore_admission.services.reviews.rules import CurrentRules, Rules
from support.fakes import ManualClock

_ANCHORE = {"endpoint": "http://anchore"}


def _accept(_: Rules) -> None:
    """Accept any rules."""


class Reloading:
    """A file, and the reloader that follows it."""

    def __init__(self, path: Path, prepare: Callable[[Rules], None] = _accept, **document: Any) -> None:
        self.path = path
        self.clock = ManualClock()
        self.reported: list[LoadedConfiguration] = []
        self.write(**document)
        running = parse_configuration(path.read_text(), str(path))
        self.rules = CurrentRules(Rules.of(running))
        self.reloader = Reloader(path, running, self.rules, prepare=prepare, clock=self.clock)
        self.reloader.start(self.report)

    def write(self, **document: Any) -> None:
        self.path.write_text(json.dumps({"anchore": _ANCHORE, **document}))

    def report(self, loaded: LoadedConfiguration) -> str:
        self.reported.append(loaded)
        return f"hash-{len(self.reported)}"

    def tick(self) -> None:
        self.reloader.watched.refresh()

    def mode(self) -> ModeName:
        return self.rules.current.book.defaults.mode

    @property
    def state(self) -> str:
        return str(self.reloader.described()["state"])


@pytest.fixture
def reloading(tmp_path: Path) -> Reloading:
    return Reloading(tmp_path / "configuration.yaml", defaults={"mode": "passive"})


def test_a_change_is_used_once_two_reads_found_it(reloading: Reloading, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reloading.write(defaults={"mode": "strict"})
    reloading.tick()
    assert reloading.mode() is ModeName.PASSIVE
    reloading.tick()
    assert reloading.mode() is ModeName.STRICT
    assert "configuration changed: defaults.mode: passive -> strict" in caplog.messages


def test_a_file_that_is_half_written_is_never_used(reloading: Reloading) -> None:
    whole = json.dumps({"anchore": _ANCHORE, "defaults": {"mode": "strict"}, "rules": [{"name": "a"}]}, indent=1)
    # YAML, so that many a half is a valid document.
    lines = ["anchore: {endpoint: 'http://anchore'}", "defaults: {mode: skip}", "rules: [{name: a, mode: strict}]"]
    for count in range(1, len(lines)):
        reloading.path.write_text("\n".join(lines[:count]))
        reloading.tick()
        assert reloading.mode() is ModeName.PASSIVE
    reloading.path.write_text(whole)
    reloading.tick()
    reloading.tick()
    assert [rule.name for rule in reloading.rules.current.book.rules] == ["a"]


def test_a_signal_uses_the_file_at_once(reloading: Reloading) -> None:
    reloading.write(defaults={"mode": "strict"})
    reloading.reloader.reload()
    assert reloading.mode() is ModeName.STRICT


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "anchore.endpoint: is required"),
        ("anchore: {endpoint: 'http://a'}\nrules: [{name: a, mode: strikt}]", "rules[0].mode: expected one of"),
        ("rules: [", "line 2"),
        ("\x00", "character"),
        ("[]", "expected a mapping"),
        ("anchore: {endpoint: 'http://a'}\nrules: [{name: a, match: {images: ['regex:(']}}]", "RE2"),
        (None, "No such file"),
    ],
)
def test_an_invalid_file_changes_nothing(
    reloading: Reloading, caplog: pytest.LogCaptureFixture, text: str | None, problem: str
) -> None:
    before = reloading.rules.current
    if text is None:
        reloading.path.unlink()
    else:
        reloading.path.write_text(text)
    reloading.reloader.reload()
    assert reloading.rules.current is before
    assert reloading.state == "invalid"
    assert any(problem in m and "the last valid version stays in use" in m for m in caplog.messages), caplog.messages
    reloading.write(defaults={"mode": "passive"})
    reloading.reloader.reload()
    assert reloading.state == "current"
    assert reloading.rules.current is before


def test_a_file_that_stays_invalid_takes_no_more_memory_with_each_read(reloading: Reloading) -> None:
    def tracebacks() -> int:
        gc.collect()
        return sum(isinstance(held, TracebackType) for held in gc.get_objects())

    reloading.write(nonsense=1)
    for _ in range(3):
        reloading.tick()
    before = tracebacks()
    for _ in range(10):
        reloading.tick()
    assert tracebacks() <= before


def test_the_age_and_hash_are_those_of_the_configuration_in_effect(reloading: Reloading) -> None:
    reloading.clock.now += 60
    assert reloading.reloader.described() == {
        "hash": "hash-1",
        "state": "current",
        "loadedAt": "1970-01-01T00:16:40+00:00",
        "ageSeconds": 60,
        "restartNeeded": [],
    }
    reloading.write(defaults={"mode": "strict"})
    reloading.reloader.reload()
    reloading.write(defaults={"mode": "typo"})
    reloading.reloader.reload()
    reloading.clock.now += 5
    described = reloading.reloader.described()
    assert (described["hash"], described["state"], described["ageSeconds"]) == ("hash-2", "invalid", 5)


def test_what_needs_a_restart_is_reported_and_the_rest_takes_effect(
    reloading: Reloading, caplog: pytest.LogCaptureFixture
) -> None:
    reloading.write(defaults={"mode": "strict"}, timeouts={"read": "3s"}, limits={"images": 3, "body": "1MiB"})
    reloading.reloader.reload()
    assert (reloading.mode(), reloading.rules.current.max_images) == (ModeName.STRICT, 3)
    described = reloading.reloader.described()
    assert (described["state"], described["restartNeeded"]) == ("restart needed", ["timeouts.read", "limits.body"])
    assert "changed keys need a restart: timeouts.read, limits.body; their former values stay in use" in caplog.messages
    reloading.write(defaults={"mode": "strict"})
    reloading.reloader.reload()
    assert reloading.state == "current"


def test_rules_for_which_the_process_is_not_prepared_do_not_take_effect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def prepare(rules: Rules) -> None:
        asked.extend(rule.name for rule in rules.book.rules)
        if rules.book.rules:
            raise ConfigurationError("configuration", [Problem("account team", "is not connected")])

    reloading = Reloading(tmp_path / "configuration.yaml", prepare)
    before = reloading.rules.current
    reloading.write(rules=[{"name": "a", "mode": "strict"}])
    reloading.reloader.reload()
    assert reloading.rules.current is before
    assert reloading.state == "invalid"
    assert any("account team: is not connected" in message for message in caplog.messages)
    reloading.tick()
    assert asked == ["a"], "an unchanged file is not validated again"
    reloading.reloader.reload()
    assert asked == ["a", "a"]


def test_an_invalid_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    reloading = Reloading(tmp_path / "configuration.yaml")
    reloading.path.write_text("rules: 1")
    running = reloading.reported[0].configuration
    again = Reloader(reloading.path, running, reloading.rules, prepare=_accept)
    with pytest.raises(ConfigurationError):
        again.start(reloading.report)


_CONFIGURATIONS = st.lists(
    st.fixed_dictionaries(
        {
            "defaults": st.fixed_dictionaries({"mode": st.sampled_from(["passive", "strict", "skip", "typo"])}),
            "rules": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from("abc"), "mode": st.sampled_from(["skip", "strict"])}),
                max_size=3,
            ),
            "limits": st.fixed_dictionaries({"images": st.sampled_from([1, 5, 9])}),
        }
    ),
    min_size=1,
    max_size=6,
)


@given(documents=_CONFIGURATIONS)
def test_a_reload_never_yields_a_mixture(
    tmp_path_factory: pytest.TempPathFactory, documents: list[dict[str, Any]]
) -> None:
    reloading = Reloading(tmp_path_factory.mktemp("reload") / "configuration.yaml")
    expected, followed = [], []
    for document in documents:
        reloading.write(**document)
        try:
            expected.append(Rules.of(parse_configuration(reloading.path.read_text(), "file")))
        except ConfigurationError:
            expected.append(reloading.rules.current)
        reloading.reloader.reload()
        followed.append(reloading.rules.current)
    assert followed == expected
