from pathlib import Path

import pytest

from anchore_admission.adapters.memory import memory_limit, room_for_bodies
from anchore_admission.models.configuration import Configuration
from anchore_admission.web.bodies import Bodies

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("contents", "limit"),
    [
        (["268435456\n"], 256 * MIB),
        (["max\n"], None),
        ([None, "268435456\n"], 256 * MIB),
        ([None, "9223372036854771712\n"], None),
        ([None, None], None),
        (["nonsense", "134217728"], 128 * MIB),
    ],
)
def test_the_limit_of_either_version_of_cgroups_is_read(
    contents: list[str | None], limit: int | None, tmp_path: Path
) -> None:
    files = []
    for number, content in enumerate(contents):
        files.append(tmp_path / str(number))
        if content is not None:
            files[-1].write_text(content)
    assert memory_limit(tuple(files)) == limit


def test_the_default_limit_of_the_chart_has_room_for_the_largest_body() -> None:
    assert Bodies(room_for_bodies(256 * MIB)).largest >= 2 * Configuration().limits.body
    assert room_for_bodies(MIB) == 8 * MIB
