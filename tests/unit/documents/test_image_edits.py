"""Appending to text values: only those values change, and every other character stays."""

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchore_admission.documents.image_edits import Path, Result, append
from anchore_admission.documents.reader import load_manifests

D = "@sha256:" + "a" * 64
OTHER = "@sha256:" + "b" * 64
SHARED = "another value stands for the same text (an alias or a merge)"

IMAGES = st.sampled_from(["app", "app:1", "registry.example.com:5000/team/app:1.2", "yes", "app:0x1", "app:1e3"])
COMMENTS = st.sampled_from(["", " # image: app:1", "\t# '\"", " # 😀 \u0085"])
FILLERS = st.sampled_from(["", "# image: app:1", "#", "  # - image: 'app'"])


class Spelling(NamedTuple):
    """One way to write a container; ``%s`` stands for the image."""

    text: str
    comment: str
    before: str


class Pod(NamedTuple):
    images: list[str]
    spellings: list[Spelling]
    wrapping: str

    def paths(self, document: int) -> list[Path]:
        item: Path = ("items", 1) if self.wrapping == "List" else ()
        return [(document, *item, "spec", "containers", number, "image") for number in range(len(self.images))]

    def written(self, images: list[str], end: str) -> str:
        if self.wrapping == "JSON":
            containers = [{"env": [{"value": image}], "image": image} for image in images]
            pod = {"kind": "Pod", "spec": {"containers": containers}, "end": "\\\"'\u2028"}
            # The value of the variable stays as it was.
            for container, image in zip(containers, self.images, strict=True):
                container["env"] = [{"value": image}]
            return json.dumps(pod, indent="\t").replace("\n", end)
        lines = ["kind: Pod # 😀", "spec:", "  containers:"]
        for image, old, (text, comment, before) in zip(images, self.images, self.spellings, strict=True):
            written = text.replace("%s", image).replace("%o", old).split("\n")
            lines += [before, *(f"  {line}" for line in written[:-1]), f"  {written[-1]}{comment}"]
        lines.append(f"status: {{image: '{self.images[0]}'}}")
        if self.wrapping == "List":
            lines = ["kind: List", "items:", "- kind: Service", "-", *(f"  {line}" for line in lines)]
        return end.join(lines)


TEXTS = st.sampled_from(
    [
        "- image: %s",
        "- image: '%s'",
        '- "image": "%s"',
        "- {name: a, image: %s}",
        "- { image: %s , name: a }",
        '- {"image":"%s","env":[{"value":"%o"}]}',
        "- name: a\n  image:   %s  ",
        "- name: a\n  image:\n    '%s'",
        "- args: ['%o', --image=%o]\n  image: %s\n  command: |\n    image: %o",
        "- image: wrong:1\n  image: %s",
        "- ? image\n  : %s",
    ]
)


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    images = draw(st.lists(IMAGES, min_size=1, max_size=4))
    spelling = st.builds(Spelling, TEXTS, COMMENTS, FILLERS)
    spellings = draw(st.lists(spelling, min_size=len(images), max_size=len(images)))
    return Pod(images, spellings, draw(st.sampled_from(["", "List", "JSON"])))


@given(st.lists(pods(), min_size=1, max_size=3), st.data())
def test_nothing_but_the_values_changes(documents: list[Pod], data: st.DataObject) -> None:
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    last = data.draw(st.sampled_from(["", end, f"{end}...{end}"]))
    separator = f"{end}---{end}"
    additions: dict[Path, str] = {}
    changed = []
    for number, pod in enumerate(documents):
        # The word "yes" is no text without quotes, so that its place is never asked for.
        new = [image if image == "yes" else image + data.draw(st.sampled_from(["", D, OTHER])) for image in pod.images]
        pairs = zip(pod.paths(number), new, pod.images, strict=True)
        additions |= {path: image.removeprefix(old) for path, image, old in pairs if image != old}
        changed.append(pod.written(new, end))
    text = separator.join(pod.written(pod.images, end) for pod in documents) + last

    edited = append(text, additions)

    assert edited.text == separator.join(changed) + last
    assert {result.reason for result in edited.results.values()} <= {""}
    assert all(text.split("\n")[result.line] for result in edited.results.values())
    assert append(edited.text, {}).text == edited.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("a: app:1", f"a: app:1{D}", id="plain"),
        pytest.param("a: 'it''s'", f"a: 'it''s{D}'", id="single quotes"),
        pytest.param(r'a: "app\x3a1"', rf'a: "app\x3a1{D}"', id="double quotes with an escape"),
        pytest.param('a: "app\\\n  :1"', f'a: "app\\\n  :1{D}"', id="double quotes on two lines"),
        pytest.param("a: &image  app:1 # c", f"a: &image  app:1{D} # c", id="an anchor"),
        pytest.param("a: &image 'app:1'\n", f"a: &image 'app:1{D}'\n", id="an anchor before quotes"),
        pytest.param("{a: app:1}", f"{{a: app:1{D}}}", id="flow mapping"),
        pytest.param(r'{"a": "app\u003a1"}', rf'{{"a": "app\u003a1{D}"}}', id="JSON with an escape"),
        pytest.param('{"a": "x", "a": "app"}', f'{{"a": "x", "a": "app{D}"}}', id="JSON with a duplicate key"),
        pytest.param("a: x\na: app", f"a: x\na: app{D}", id="YAML with a duplicate key"),
        pytest.param("? a\n: app", f"? a\n: app{D}", id="complex key"),
        pytest.param("<<: {a: app}\nb: 1", f"<<: {{a: app{D}}}\nb: 1", id="a merge of its own"),
        pytest.param("x: &x 1\nb: [*x, .nan]\na: app", f"x: &x 1\nb: [*x, .nan]\na: app{D}", id="aliases elsewhere"),
        pytest.param("a: 😀:1\u2028", f"a: 😀:1{D}\u2028", id="beyond the basic plane"),
        pytest.param("%YAML 1.1\n---\na: app\n", f"%YAML 1.1\n---\na: app{D}\n", id="a directive"),
        pytest.param("a: app\rb: 1", f"a: app{D}\rb: 1", id="ends of lines of old"),
    ],
)
def test_the_digest_follows_the_value(text: str, expected: str) -> None:
    edited = append(text, {(0, "a"): D})

    assert (edited.text, [result.reason for result in edited.results.values()]) == (expected, [""])


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: >-\n  app:1\n", 0, "it is a block of lines"),
        ("x: 1\na: |-\n  app:1\n", 1, "it is a block of lines"),
        ("a: !!str app:1", 0, "a YAML tag stands before it"),
        ("a: ! app:1", 0, "a YAML tag stands before it"),
        ("a: app\n  :1", 0, "it is written in an unusual way"),
        ("a: &x\n  app:1", 0, "it is written in an unusual way"),
        ("---\n\ufeffa: app:1", 1, "it is written in an unusual way"),
        ("b: &x app:1\na: *x", 0, SHARED),
        ("a: &x app:1\nb: *x", 0, SHARED),
        ("x: &x {a: app:1}\n<<: *x", 0, SHARED),
        ("b: app:1", -1, "it cannot be found in the text"),
        ("a: {b: app:1}", -1, "it cannot be found in the text"),
        ("- a", -1, "it cannot be found in the text"),
    ],
)
def test_a_value_is_left_alone(text: str, line: int, reason: str) -> None:
    edited = append(text, {(0, "a"): D})

    assert (edited.text, dict(edited.results)) == (text, {(0, "a"): Result(line, reason)})


ALIASES = """\
a: &image app:1
b: *image
c: &other app:1
d: *other
e: app:1
"""


def test_an_alias_is_followed_if_all_that_it_stands_for_shall_change() -> None:
    edited = append(ALIASES, {(0, key): D for key in "abde"})

    assert edited.text == ALIASES.replace("&image app:1", f"&image app:1{D}").replace("e: app:1", f"e: app:1{D}")
    assert {path[1]: result.reason for path, result in edited.results.items()} == {
        "a": "",
        "b": "",
        "d": SHARED,
        "e": "",
    }


def test_aliases_that_want_different_texts_stay() -> None:
    edited = append("a: &image app:1\nb: *image\n", {(0, "a"): D, (0, "b"): OTHER})

    assert edited.text == "a: &image app:1\nb: *image\n"
    assert {result.reason for result in edited.results.values()} == {SHARED}


@pytest.mark.parametrize(
    ("text", "addition"),
    [
        ("a: app\nb: app", ": x: y"),
        ("a: app\nb: app", " # x"),
        ("{a: app, b: app}", ", c: x"),
        ("a: &list [app]\nb: *list\nc: app", ", x"),
        ("b: app\na: app", "\nb: x"),
        ("a: app\nb: app", "\n---\na: x"),
    ],
)
def test_nothing_changes_if_the_text_would_have_another_meaning(text: str, addition: str) -> None:
    (document,) = load_manifests(text, source="").documents
    path = (0, "a", 0) if isinstance(document["a"], list) else (0, "a")

    edited = append(text, {path: addition})

    assert edited.text == text
    assert [result.reason for result in edited.results.values()] == [SHARED]


def test_several_documents_are_counted_as_they_are_read() -> None:
    text = '{"a": "x"}\n{"a": "app"}\n'
    number = [document["a"] for document in load_manifests(text, source="").documents].index("app")

    assert append(text, {(number, "a"): D}).text == f'{{"a": "x"}}\n{{"a": "app{D}"}}\n'


def test_each_alias_of_a_large_tree_is_compared() -> None:
    lines = ["x0: &x0 {image: app}", *(f"x{n}: &x{n} [*x{n - 1}, *x{n - 1}]" for n in range(1, 12)), "a: app"]
    additions: dict[Path, Any] = {(0, "x0", "image"): D, (0, "a"): D}

    edited = append("\n".join(lines), additions)

    assert edited.text == "\n".join([*lines[:-1], f"a: app{D}"])
