"""Parsing of image references, row by row as in the Go library distribution/reference."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anchore_admission.core.reference import ImageReference, is_image_id, parse
from anchore_admission.errors import InvalidImageReference

_HEX = "0123456789abcdef" * 4
D = f"sha256:{_HEX}"
D512 = f"sha512:{_HEX * 2}"
D384 = f"sha384:{_HEX[:48] * 2}"


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest"),
    [
        ("nginx", "docker.io", "library/nginx", "latest", None),
        ("nginx:1.27", "docker.io", "library/nginx", "1.27", None),
        (f"nginx@{D}", "docker.io", "library/nginx", None, D),
        (f"nginx:1.27@{D}", "docker.io", "library/nginx", "1.27", D),
        ("bitnami/nginx:1", "docker.io", "bitnami/nginx", "1", None),
        ("docker.io/nginx", "docker.io", "library/nginx", "latest", None),
        ("index.docker.io/nginx", "docker.io", "library/nginx", "latest", None),
        ("docker.io:443/nginx", "docker.io:443", "nginx", "latest", None),
        ("DOCKER.IO/nginx", "DOCKER.IO", "nginx", "latest", None),
        ("registry-1.docker.io/library/nginx", "registry-1.docker.io", "library/nginx", "latest", None),
        ("localhost/app", "localhost", "app", "latest", None),
        ("localhost:5000/app:v1", "localhost:5000", "app", "v1", None),
        ("localhost", "docker.io", "library/localhost", "latest", None),
        ("myhost/app", "docker.io", "myhost/app", "latest", None),
        ("myhost:5000/app", "myhost:5000", "app", "latest", None),
        ("myhost:5000", "docker.io", "library/myhost", "5000", None),
        ("Myorg/app", "Myorg", "app", "latest", None),
        ("gcr.io", "docker.io", "library/gcr.io", "latest", None),
        (f"192.168.0.1:8080/app@{D}", "192.168.0.1:8080", "app", None, D),
        ("[fc00::1]:5000/app", "[fc00::1]:5000", "app", "latest", None),
        ("[::1]/app", "[::1]", "app", "latest", None),
        (D, "docker.io", "library/sha256", _HEX, None),
        ("nginx:Latest", "docker.io", "library/nginx", "Latest", None),
        ("nginx:_x", "docker.io", "library/nginx", "_x", None),
        (f"nginx:{'t' * 128}", "docker.io", "library/nginx", "t" * 128, None),
        ("ns__x/app", "docker.io", "ns__x/app", "latest", None),
        ("ns--x/app---y", "docker.io", "ns--x/app---y", "latest", None),
        ("my_registry/app", "docker.io", "my_registry/app", "latest", None),
        ("example.com:99999/app", "example.com:99999", "app", "latest", None),
        (f"example.com/{'p' * 255}", "example.com", "p" * 255, "latest", None),
        ("docker.io/docker.io/nginx", "docker.io", "docker.io/nginx", "latest", None),
        # a host with "_" is a part of the path to Go's grammar, and the registry's host to runtimes
        ("my_registry.example.com/app", "my_registry.example.com", "app", "latest", None),
        ("a__b.example/team/app:1", "a__b.example", "team/app", "1", None),
        (f"a.b_c/app@{D}", "a.b_c", "app", None, D),
        # not in the table: what its rules imply
        (f"a/b@{D384}", "docker.io", "a/b", None, D384),
        (f"a/b@{D512}", "docker.io", "a/b", None, D512),
        ("index.docker.io/team/app", "docker.io", "team/app", "latest", None),
        ("localhost:5000/a/b/c", "localhost:5000", "a/b/c", "latest", None),
        ("p" * 247, "docker.io", "library/" + "p" * 247, "latest", None),
        (_HEX[1:], "docker.io", f"library/{_HEX[1:]}", "latest", None),
    ],
)
def test_reference(text: str, host: str, path: str, tag: str | None, digest: str | None) -> None:
    reference = parse(text)
    assert (reference.host, reference.path, reference.tag, reference.digest) == (host, path, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "myorg/App",
        "my_registry:5000/app",
        "My_registry.example.com/app",
        "_registry.example.com/app",
        "registry_.example.com/app",
        "a___b.example/app",
        f"a_b.example/{'p' * 244}",
        "a." * 512 + "io/app",
        "ghcr.io/Org/app",
        "gcr.io/",
        "ghcr.io//app",
        "fc00::1:5000/app",
        "[fe80::1%eth0]:5000/app",
        "https://ghcr.io/a/b",
        "docker://nginx",
        "oci://x/y",
        "a/b:",
        "a/b@",
        "a/b@sha256:abcd",
        f"a/b@sha256:{_HEX.upper()}",
        f"a/b@md5:{_HEX[:32]}",
        f"a/b@sha512:{_HEX}",
        _HEX,
        "nginx:.x",
        "nginx:-x",
        "nginx:v1.0+b",
        "nginx:1:2",
        f"nginx@{D}:1",
        f"nginx:{'t' * 129}",
        "ns___x/app",
        "ns._x/app",
        "ns/_app",
        "a..b/c",
        "example.com./app",
        "example.com:/app",
        " nginx",
        "nginx ",
        "nginx\n",
        "",
        f"example.com/{'p' * 256}",
        # not in the table: what its rules imply
        "p" * 248,
        "nginx:1\n",
        f"nginx@{D}\n",
        "nginx\0",
        "nginé",
        "nginx:é",
        "exämple.com/nginx",
        "nginx:\N{ARABIC-INDIC DIGIT ONE}",
        f"nginx@{D}@{D}",
        "@",
        ":",
        "/",
        "/nginx",
        "-a/b",
        "a-/b",
        "-example.com/b",
        "nginx\N{ZERO WIDTH SPACE}",
        "\N{KELVIN SIGN}ubernetes/app",
    ],
    ids=lambda text: ascii(text)[:40],
)
def test_no_reference(text: str) -> None:
    with pytest.raises(InvalidImageReference):
        parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_HEX, "is an image ID, not a reference"),
        ("nginx:1:2", "is not a valid image reference: its repository name is malformed"),
        (f"nginx@{D}:1", "is not a valid image reference"),
        ("myorg/App", "is not a valid image reference: its repository name must be lower case"),
        ("my_registry:5000/app", "is not a valid image reference: its registry host is malformed"),
        (
            f"example.com/{'p' * 256}",
            "is not a valid image reference: its repository name is longer than 255 characters",
        ),
        (f"a/b@sha512:{_HEX}", "is not a valid image reference: its digest is malformed"),
    ],
)
def test_the_error_names_the_mistake(text: str, words: str) -> None:
    with pytest.raises(InvalidImageReference) as caught:
        parse(text)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("text", "image_id"),
    [
        (D, True),
        ("sha256:0123abcd", True),
        ("sha256:", True),
        ("sha384:00", True),
        ("sha512:00", True),
        (_HEX, True),
        (_HEX[1:], False),
        (_HEX.upper(), False),
        (f"{_HEX}\n", False),
        ("sha256", False),
        ("library/sha256:1", False),
        (f"nginx@{D}", False),
        ("", False),
    ],
)
def test_image_ids(text: str, image_id: bool) -> None:
    assert is_image_id(text) is image_id


_OFFICIAL = ("docker.io/library/nginx", "docker.io/nginx")


@pytest.mark.parametrize(
    ("text", "repositories"),
    [
        ("nginx", _OFFICIAL),
        ("docker.io/library/nginx:1", _OFFICIAL),
        ("library/nginx", _OFFICIAL),
        ("docker.io:443/library/nginx", _OFFICIAL),
        ("DOCKER.IO/library/nginx", _OFFICIAL),
        ("registry-1.docker.io/nginx", _OFFICIAL),
        ("library/team/nginx", ("docker.io/library/team/nginx",)),
        ("team/nginx", ("docker.io/team/nginx",)),
        ("quay.io/library/nginx", ("quay.io/library/nginx",)),
        ("Quay.IO:443/nginx", ("quay.io/nginx",)),
        ("docker.io:5000/library/nginx", ("docker.io:5000/library/nginx",)),
    ],
)
def test_repositories(text: str, repositories: tuple[str, ...]) -> None:
    assert parse(text).repositories == repositories


def _canonical(reference: ImageReference) -> str:
    tag = f":{reference.tag}" if reference.tag else ""
    digest = f"@{reference.digest}" if reference.digest else ""
    return f"{reference.repository}{tag}{digest}"


_WORD = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8)
_COMPONENT = st.builds(
    lambda words, separator: separator.join(words),
    st.lists(_WORD, min_size=1, max_size=3),
    st.sampled_from([".", "_", "__", "-", "---"]),
)
_PATH = st.lists(_COMPONENT, min_size=1, max_size=4).map("/".join)
_HOST = st.one_of(
    st.just(""),
    st.sampled_from(
        ["docker.io", "localhost", "quay.io", "[2001:db8::1]:443", "10.0.0.1", "Registry.Example.COM:5000"]
    ),
)
_TAG = st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
_DIGEST = st.none() | st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)


@given(_HOST, _PATH, _TAG, _DIGEST)
def test_valid_references_are_read_as_they_are_built(host: str, path: str, tag: str | None, digest: str | None) -> None:
    name = f"{host}/{path}" if host else f"docker.io/{path}"
    reference = parse(name + (f":{tag}" if tag else "") + (f"@{digest}" if digest else ""))
    hub = (host or "docker.io") == "docker.io"
    assert reference.host == (host or "docker.io")
    assert reference.path == (f"library/{path}" if hub and "/" not in path else path)
    assert reference.tag == (tag or (None if digest else "latest"))
    assert reference.digest == digest
    assert parse(_canonical(reference)).repository == reference.repository


_TEXT_LIKE_REFERENCES = st.text("aAz09._-/:@[] sha256\nédocker.io", max_size=40) | st.text()


@given(_TEXT_LIKE_REFERENCES)
@example("a/b@sha256:" + "0" * 100_000)
@example("a." * 50_000)
@example("a-" * 50_000 + "/")
@example(":" * 50_000)
@example("a:" * 50_000)
def test_any_text_is_rejected_or_has_a_canonical_form(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidImageReference:
        return
    assert text.isascii()
    assert text == text.strip()
    again = parse(_canonical(reference))
    assert (again.host, again.path, again.tag, again.digest) == (
        reference.host,
        reference.path,
        reference.tag,
        reference.digest,
    )


@given(_PATH, st.characters(min_codepoint=128), st.integers(0, 20))
def test_nothing_beyond_ascii_is_accepted(path: str, character: str, position: int) -> None:
    with pytest.raises(InvalidImageReference):
        parse(path[:position] + character + path[position:])
