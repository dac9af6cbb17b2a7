import subprocess
import sys
from pathlib import Path

import pytest

from anchore_admission.memory import memory_limit, room_for_bodies
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


def test_large_blocks_go_back_to_the_system_at_once() -> None:
    """Measure in a process of its own, where nothing else moves the heap."""
    program = (
        "import resource\nfrom pathlib import Path\n"
        "from anchore_admission.memory import return_large_blocks\n"
        "def resident():\n    return int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()\n"
        "assert return_large_blocks()\n"
        "bytearray(20 * 2**20)\nbefore = resident()\n"
        "blocks = [bytearray(2**20) for _ in range(40)]\nlast = bytearray(100_000)\ndel blocks\n"
        "assert resident() - before < 2**22, resident() - before\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603 - ourselves


def test_the_default_limit_of_the_chart_has_room_for_the_largest_body() -> None:
    assert Bodies(room_for_bodies(256 * MIB)).largest >= 2 * Configuration().limits.body
    assert room_for_bodies(MIB) == 8 * MIB
