"""The benchmarks' figures, and the page that shows them."""

from dataclasses import replace

import pytest

from bench import write_docs
from bench.figures import Figure, load, table
from bench.run import RESULT

RATIO = Figure("cold.1", "cold Pod", 1.1, "times two round trips", goal=1.2, floor=1)
COUNT = Figure("crowd.admitted", "a crowd", 300, "admitted", goal=300, more_is_better=True)


@pytest.mark.parametrize(
    ("figure", "misses"),
    [(RATIO, False), (replace(RATIO, value=1.21), True), (COUNT, False), (replace(COUNT, value=299), True)],
)
def test_a_goal_is_a_bound_on_the_worse_side(figure: Figure, *, misses: bool) -> None:
    assert figure.misses_goal is misses


@pytest.mark.parametrize(
    ("figure", "before", "is_worse"),
    [
        (RATIO, 1.0, False),
        (RATIO, 0.9, True),
        (RATIO, 2.0, False),
        (COUNT, 301, False),
        (COUNT, 400, True),
        (replace(RATIO, steady=False), 0.1, False),
        (RATIO, 0.0, False),
    ],
)
def test_a_steady_figure_that_got_worse_is_marked(figure: Figure, before: float, *, is_worse: bool) -> None:
    assert figure.is_worse_than(replace(figure, value=before)) is is_worse


def test_the_table_shows_a_slow_down_and_a_missed_goal() -> None:
    result = load(RESULT)
    slow = replace(result, figures=[replace(RATIO, value=1.3)])
    (_, line) = table(slow, replace(slow, figures=[RATIO]))
    assert " ".join(line.split()) == "cold Pod 1.3 1 1.2 1.1 times two round trips +18% SLOWER MISSES ITS GOAL"


def test_the_page_and_the_plot_show_the_result_file() -> None:
    result = load(RESULT)
    page = write_docs.PAGE.read_text()
    assert f"commit `{result.machine.commit}`" in page
    assert write_docs.page(page, result) == page
    assert write_docs.PICTURE.read_text() == write_docs.picture(result)
