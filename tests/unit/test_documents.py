"""What is read from YAML and JSON texts, and what is refused."""

import contextlib
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.errors import DocumentError
from anchore_admission.services import documents
from anchore_admission.services.documents import MAX_DEPTH, load_documents

_SOURCE = "pod.yaml"


def _load(text: str | bytes, *, aliases: bool = True) -> list[Any]:
    return load_documents(text, source=_SOURCE, aliases=aliases)


def _problems(text: str | bytes, *, aliases: bool = True) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        _load(text, aliases=aliases)
    assert caught.value.source == _SOURCE
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("---\n---\n# nothing\n", []),
        ("null", []),
        ("a: 1", [{"a": 1}]),
        ("a: 1\n---\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ('{"a": [1, 2.5, true, null, "x"]}', [{"a": [1, 2.5, True, None, "x"]}]),
        ('\n\t{"a":\t1}', [{"a": 1}]),
        ("{a: b}", [{"a": "b"}]),
        ("[]", [[]]),
        ("text", ["text"]),
        (r'{"a": "\ud83d\ude00"}', [{"a": "😀"}]),
        (b"\xef\xbb\xbfa: 1", [{"a": 1}]),
        ("\ufeffa: 1", [{"a": 1}]),
        ('{"a": 1}\n---\n{"b": 2}', [{"a": 1}, {"b": 2}]),
        ("a: 😀", [{"a": "😀"}]),
    ],
)
def test_documents(text: str | bytes, expected: list[Any]) -> None:
    assert _load(text) == expected


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("true", True),
        ("Yes", True),
        ("ON", True),
        ("off", False),
        ("no", False),
        ("oN", "oN"),
        ("y", "y"),
        ("2021-01-01", "2021-01-01"),
        ("2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z"),
        ("1:30", "1:30"),
        ("=", "="),
        ("0", 0),
        ("-7", -7),
        ("1_000", 1000),
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0x10", -16),
        ("0b101", 5),
        ("08", 8.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("1.2.3", "1.2.3"),
        ("0x", "0x"),
        ("_1", "_1"),
        ("٣", "٣"),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("9" * 5000, math.inf),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_words_mean_what_kubernetes_reads(word: str, value: object) -> None:
    [document] = _load(f"a: {word}")
    assert document == {"a": value}
    assert type(document["a"]) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(_load("a: .nan")[0]["a"])
    assert math.isnan(_load('{"a": NaN}')[0]["a"])


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: 1\nb: 2\na: 3", ['line 3, column 1: duplicate key "a"']),
        ('{"a": 1,\n "a": 2}', ['line 2, column 2: duplicate key "a"']),
        ("x:\n  a: 1\n  a: 1\nx: 2", ['line 3, column 3: duplicate key "a"', 'line 4, column 1: duplicate key "x"']),
        ("? [a]\n: b", ["line 1, column 3: a key must be a word, a number or a truth value"]),
        ("~: b", ["line 1, column 1: a key must be a word, a number or a truth value"]),
        ("a: &x [*x]", ["line 1, column 8: an alias must stand after the end of what it repeats"]),
        ("a: *x", ["line 1, column 4: an alias must stand after the end of what it repeats"]),
        ("a: &x 1\n---\nb: *x", ["line 3, column 4: an alias must stand after the end of what it repeats"]),
        ("<<: 1", ["line 1, column 1: << takes a mapping or a list of mappings"]),
        ("a: !!set {b}", ["line 1, column 4: an explicit tag is not supported; leave it out"]),
        (
            "a: !!python/object/apply:os.system [x]",
            ["line 1, column 4: an explicit tag is not supported; leave it out"],
        ),
        ("a: !!binary aGk=", ["line 1, column 4: an explicit tag is not supported; leave it out"]),
        ("a: b: c", ["line 1, column 5: is not valid YAML: mapping values are not allowed in this context"]),
        ("a: 'b", ["line 1, column 6: is not valid YAML: found unexpected end of stream"]),
        (b"a: \xff", ["is not UTF-8 text"]),
        ("a: \ud800", ["is not UTF-8 text"]),
        ("a: \0", ["is not valid YAML: it holds a character that YAML does not allow"]),
    ],
)
def test_refused(text: str | bytes, problems: list[str]) -> None:
    assert _problems(text) == problems


def test_a_lone_surrogate_is_refused() -> None:
    assert "invalid Unicode character escape" in _problems(r'{"a": "\ud83d"}')[0]


def test_aliases_only_where_they_are_allowed() -> None:
    text = "a: &x {n: 1}\nb: *x\nc:\n  <<: *x\n  m: 2"
    assert _load(text) == [{"a": {"n": 1}, "b": {"n": 1}, "c": {"n": 1, "m": 2}}]
    assert _problems(text, aliases=False) == ["line 2, column 4: aliases are not supported here; write the value out"]


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("a: 3\n<<: {a: 1, b: 2}", {"a": 3, "b": 2}),
        ("<<: {a: 1, b: 2}\na: 3", {"a": 3, "b": 2}),
        ("<<: [{a: 1}, {a: 2, b: 2}]", {"a": 1, "b": 2}),
        ('"<<": 1', {"<<": 1}),
    ],
)
def test_merge_keys(text: str, merged: dict[str, Any]) -> None:
    assert _load(text, aliases=False) == [merged]


@pytest.mark.parametrize("aliases", [True, False])
@pytest.mark.parametrize("text", ["[" * 500 + "]" * 500, "[" * 100_000, '{"a":' * 500 + "1" + "}" * 500])
def test_depth_is_bounded(text: str, aliases: bool) -> None:
    [problem] = _problems(text, aliases=aliases)
    assert problem.endswith(f": is nested deeper than {MAX_DEPTH} levels")


def test_depth_is_bounded_through_aliases() -> None:
    nest = "[" * 150, "]" * 150
    text = f"a: &a {nest[0]}{nest[1]}\nb: &b {nest[0]}*a{nest[1]}"
    assert _problems(text) == [f"line 1, column 1: is nested deeper than {MAX_DEPTH} levels"]


def test_ordinary_depth_is_read() -> None:
    as_json, as_yaml = "[" * MAX_DEPTH + "]" * MAX_DEPTH, "- " * (MAX_DEPTH - 1) + "[]"
    assert _load(as_json) == _load(as_yaml)


def test_values_behind_aliases_are_counted() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    [problem] = _problems("\n".join(lines))
    assert problem.endswith("holds more than 1000000 values")


def test_problems_are_bounded() -> None:
    problems = _problems("a: 1\n" * 100)
    assert len(problems) == 20


def test_the_plain_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, yes, 2021-01-01]\nb: *x\n---\nc: '1'"
    expected = _load(text)
    monkeypatch.setattr(documents, "_PARSER", yaml.SafeLoader)
    assert _load(text) == expected
    assert _problems("a: 1\na: 2") == ['line 2, column 1: duplicate key "a"']
    assert _problems("a: \0") == ["is not valid YAML: it holds a character that YAML does not allow"]


# no digits: PyYAML writes text such as 0E0 without quotes, which is a number to Kubernetes
_WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Nd"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz<=~", max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_what_yaml_writes_is_read_back(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert _load(text, aliases=True) == ([] if value is None else [value])


@given(st.text() | st.binary())
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    with contextlib.suppress(DocumentError):
        assert isinstance(_load(text), list)
