"""YAML for other readers: text stays text for Helm and kubectl, too."""

import pytest
import yaml

from anchore_admission.cli.yaml_output import Dumper


@pytest.mark.parametrize(
    "text",
    [
        *("y", "Y", "n", "N", "yes", "off", "true", "null", "~"),
        *(
            "1",
            "08",
            "1e3",
            "+1E5",
            "-1e+3",
            ".5e3",
            "-.5",
            "1_0e3",
            "0o17",
            "+0o7",
            "0X1",
            "0B1",
            "2026-01-01",
            "1:30",
        ),
    ],
)
def test_text_that_some_reader_takes_for_something_else_is_quoted(text: str) -> None:
    assert yaml.dump({text: [text]}, Dumper=Dumper) == f"'{text}':\n- '{text}'\n"


@pytest.mark.parametrize("text", ["prod", "yes-man", "no.1", "e3", "registry.example.com/*", "-x", "ny"])
def test_other_text_is_not_quoted(text: str) -> None:
    assert yaml.dump([text], Dumper=Dumper) == f"- {text}\n"


def test_a_value_that_stands_in_two_places_is_written_twice() -> None:
    value = {"a": "b"}
    assert yaml.dump([value, value], Dumper=Dumper) == "- a: b\n- a: b\n"
