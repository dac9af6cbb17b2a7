"""Reading YAML and JSON texts, and rejecting invalid ones."""

import contextlib
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.documents import yaml_reader
from anchore_admission.documents.reader import load_documents, load_manifests
from anchore_admission.documents.yaml_reader import MAX_DEPTH
from anchore_admission.errors import DocumentError

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
        ("y", True),
        ("N", False),
        ("0O10", 8),
        ("0_1", 1),
        ("0x1_F", 31),
        ("1_0.5", 10.5),
        ("_0", "_0"),
        (".", "."),
        ("+", "+"),
        ('!!int "7"', 7),
        ("!!int 0x10", 16),
        ('!!float "1"', 1),
        ("!!bool yes", True),
        ('!!null ""', None),
        ("!!str 8080", "8080"),
        ("!!str ~", "~"),
        ("!!binary aGVs\n  bG8=", "hello"),
        ("!!timestamp 2021-01-01", "2021-01-01"),
        ("!custom 1", "1"),
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
def test_words_have_the_meaning_that_kubernetes_reads(word: str, value: object) -> None:
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
        ("a: !!int x", ["line 1, column 4: !!int does not fit the value"]),
        ("a: !!int 1.5", ["line 1, column 4: !!int does not fit the value"]),
        ("a: !!bool 1", ["line 1, column 4: !!bool does not fit the value"]),
        ("a: !!binary '***'", ["line 1, column 4: !!binary takes base64"]),
        ("a: 3\n<<: {a: 1}", ['line 2, column 1: << stands after the key "a", which it also holds']),
        ('{"a": 1,\n "b" 2}', ["line 2, column 6: is not valid JSON: expecting ':' delimiter"]),
        ('{"a": 1,\n "b": 2', ["line 2, column 8: is not valid JSON: expecting ',' delimiter"]),
        ('{"a": 1}\n{"b": x y\n', ["line 2, column 7: is not valid JSON: expecting value"]),
        ("{a: 1\n", ["line 2, column 1: is not valid YAML: did not find expected ',' or '}'"]),
        ("a: b: c", ["line 1, column 5: is not valid YAML: mapping values are not allowed in this context"]),
        ("a: 'b", ["line 1, column 6: is not valid YAML: found unexpected end of stream"]),
        (b"a: \xff", ["is not UTF-8 text"]),
        ("a: \ud800", ["is not UTF-8 text"]),
        ("a: \0", ["line 1: is not valid YAML: it holds a character that YAML does not allow"]),
        ("a: 1\nb: \x1b", ["line 2: is not valid YAML: it holds a character that YAML does not allow"]),
    ],
)
def test_refused(text: str | bytes, problems: list[str]) -> None:
    assert _problems(text) == problems


def test_a_lone_surrogate_is_rejected() -> None:
    assert "invalid Unicode character escape" in _problems(r'{"a": "\ud83d"}')[0]


def test_aliases_only_where_they_are_allowed() -> None:
    text = "a: &x {o: 1}\nb: *x\nc:\n  <<: *x\n  m: 2"
    assert _load(text) == [{"a": {"o": 1}, "b": {"o": 1}, "c": {"o": 1, "m": 2}}]
    assert _problems(text, aliases=False) == ["line 2, column 4: aliases are not supported here; write the value out"]


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("a: 3\n<<: {b: 2}", {"a": 3, "b": 2}),
        ("<<: {a: 1, b: 1}\n<<: {a: 2}", {"a": 2, "b": 1}),
        ("!!merge <<: {a: 1}", {"a": 1}),
        ("! <<: {a: 1}", {"a": 1}),
        ("!!str <<: {a: 1}", {"<<": {"a": 1}}),
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
    assert problem.endswith("aliases repeat more than 1000000 values")


def test_values_that_are_written_out_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "MAX_VALUES", 10)
    assert _load("a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]") == [{"a": [*range(1, 13)]}]
    assert _load("a: &a [1, 2, 3, 4]\nb: [*a, *a]")
    assert _problems("a: &a [1, 2, 3, 4]\nb: [*a, *a, *a]") == ["line 2, column 13: aliases repeat more than 10 values"]


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1}\n{"b":2}\n',
        '{"a":1}{"b":2}',
        '\ufeff {"a":1}\r\n\ufeff{"b":2}\t',
        '{"a":1} null {"b":2}',
        "a: 1\r\n---\r\nb: 2\r\n",
        "a: 1\n...\n---\nb: 2",
        "---\t{a: 1}\n--- # comment\nb: 2",
        "--- {a: 1}\n--- {b: 2}",
        "\ufeff---\r\n\ufeffa: 1\r\n---\n\ufeffb: 2",
        "a: 1\n".encode("utf-16") + "---\nb: 2".encode("utf-16-le"),
        b"\xfe\xff" + "a: 1\n---\nb: 2".encode("utf-16-be"),
    ],
)
def test_several_documents(text: str | bytes) -> None:
    assert _load(text) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("text", "document", "notes"),
    [
        (
            "a: 1\nb: 1\na: 2",
            {"a": 2, "b": 1},
            ['line 6, column 1: duplicate key "a": the last value counts, as for kubectl'],
        ),
        ('{"a": 1, "a": {"b": 2}}', {"a": {"b": 2}}, ['duplicate key "a": the last value counts, as for kubectl']),
        (
            "a: 3\n<<: {a: 1, b: 2}",
            {"a": 1, "b": 2},
            ['line 5, column 1: << stands after the key "a", which it also holds: << wins, as for kubectl'],
        ),
        ("a: 5\n<<: [{a: 1}, {b: 2, c: 3}, {b: 4}]\na: 6", {"a": 6, "b": 2, "c": 3}, None),
        ("a: {b: 1}\n", {"a": {"b": 1}}, []),
        ("1: a\n'1': b", {"1": "b"}, None),
    ],
)
def test_manifests_are_read_as_kubectl_sends_them(text: str, document: dict[str, Any], notes: list[str] | None) -> None:
    manifests = load_manifests(text, source=_SOURCE, line=3)
    assert manifests.documents == [document]
    if notes is not None:
        assert [str(problem) for problem in manifests.notes] == notes


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: {{ .Release.Name }}", "line 1, column 4"),
        ('a:\n  {{- include "x" . | nindent 2 }}\n', "line 2, column 3"),
        ("{{- if .Values.a }}\na: 1\n{{- end }}", "line 1, column 1"),
        ("a:\n  - {{ .x }}", "line 2, column 5"),
    ],
)
def test_helm_templates_are_recognized(text: str, place: str) -> None:
    hint = "looks like a Helm template that is not rendered; use the output of helm template"
    assert _problems(text) == [f"{place}: {hint}"]


def test_problem_far_from_a_template_is_named() -> None:
    assert "Helm" not in _problems('a: |\n  {{ x }}\nb: 1\nc: 1\nd: 1\nd: "')[0]


MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param("a: |\n" + " {{\n" * 250_000 + "\n\n\n\nb: ]", "line 250006, column 4", id="templates"),
        pytest.param("[]" * (MEBIBYTE // 2) + "!", f"line 1, column {MEBIBYTE + 1}", id="small documents"),
    ],
)
def test_time_does_not_grow_with_the_square_of_a_text(text: str, place: str) -> None:
    assert _problems(text)[0].startswith(place)


def test_repeated_keys_are_found_in_one_walk() -> None:
    keys = ",".join(f'"k{number}":1' for number in range(100_000))
    manifests = load_manifests(f'{{{keys},"k7":2}}', source=_SOURCE)
    assert [str(problem) for problem in manifests.notes] == [
        'duplicate key "k7": the last value counts, as for kubectl'
    ]


def test_problems_are_bounded() -> None:
    problems = _problems("a: 1\n" * 100)
    assert len(problems) == 20


def test_the_plain_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, yes, 2021-01-01, !!int '7']\nb: *x\n---\nc: '1'"
    expected = _load(text)
    monkeypatch.setattr(yaml_reader, "_PARSER", yaml.SafeLoader)
    assert _load(text) == expected
    assert _problems("a: 1\na: 2") == ['line 2, column 1: duplicate key "a"']
    assert _problems("a: \0") == ["line 1: is not valid YAML: it holds a character that YAML does not allow"]


# no digits, y and n: PyYAML writes text such as 0E0 and y without quotes, which are no text to Kubernetes
_WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Nd"], exclude_characters="yYnN"))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxzw<=~", max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_values_written_by_yaml_are_read_back(value: Any) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert _load(text, aliases=True) == ([] if value is None else [value])


@given(st.text() | st.binary())
def test_any_text_is_read_or_rejected(text: str | bytes) -> None:
    with contextlib.suppress(DocumentError):
        assert isinstance(_load(text), list)
