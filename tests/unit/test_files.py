from pathlib import Path

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.files import read_text, read_together


def test_files_that_keep_changing_are_not_read_for_ever(tmp_path: Path) -> None:
    files = [tmp_path / "username", tmp_path / "password"]

    def read_and_change(path: Path) -> str:
        for file in files:
            file.write_text(f"{file.stat().st_size if file.exists() else 0:>100}"[: 50 + len(reads)])
        reads.append(path)
        return path.read_text()

    reads: list[Path] = []
    with pytest.raises(ConfigurationError) as caught:
        read_together(files, read_and_change)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{file}: keeps changing while it is read" for file in files
    ]
    assert len(reads) == 6


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "configuration.yaml"
    path.write_bytes("\ufeffname: żółw\n".encode())
    assert read_text(path) == "name: żółw\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a\nb\n\xc3(", "is not UTF-8 text: byte 0xc3 in line 3"),
        (b"123456789", "is larger than 8 bytes"),
    ],
)
def test_text_that_cannot_be_read_says_why(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "configuration.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_text(path, limit=8)
    assert caught.value.source == str(path)
    assert [str(problem) for problem in caught.value.problems] == [why]


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
