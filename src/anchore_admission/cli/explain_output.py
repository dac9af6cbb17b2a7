"""The output of ``explain``: a block of lines per image for people, JSON or YAML for machines."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from anchore_admission.cli.explanations import explained
from anchore_admission.cli.options import OutputFormat
from anchore_admission.cli.output import write_document, write_tables
from anchore_admission.core.messages import out_of_scope
from anchore_admission.core.verdict import ImageVerdict
from anchore_admission.services.reviews.summary import ManualReview, Summary
from anchore_admission.text import shown
from anchore_admission.web.manual_document import as_explanations

_TEXT_LIMIT = 1000


def write_explanations(summary: Summary, output: OutputFormat, *, objects: bool) -> None:
    """Print to stdout. Without ``objects``, the images were named alone, and stand in a Pod for the rules only."""
    if output is OutputFormat.TABLE:
        write_tables([part for review in summary.reviews for part in _parts(review, objects=objects)])
    else:
        write_document(as_explanations(summary), output)


def _parts(review: ManualReview, *, objects: bool) -> Iterator[RenderableType]:
    """Yield the blocks of one object."""
    about = f"{shown(review.kind)} {shown(review.namespace)}/{shown(review.name)}" if review.kind else "document"
    if problem := review.problem or review.unchecked:
        source = f" of {shown(review.source)}" if review.source else ""
        yield Text(f"{about}{source}: {shown(problem, _TEXT_LIMIT)}")
    elif review.verdict and review.verdict.out_of_scope:
        yield Text(f"{about}: {out_of_scope(review.verdict.out_of_scope)}")
    elif not review.verdict or not review.verdict.images:
        yield Text(f"{about}: holds no images")
    else:
        for image in review.verdict.images:
            places = ", ".join(shown(place.place) for place in image.judged.places)
            where = f"{about}, {places}" if objects else f"a Pod of namespace {shown(review.namespace)}"
            yield from _block(image, where)


def _block(image: ImageVerdict, where: str) -> Iterator[RenderableType]:
    if not image.explanation:
        return
    yield Text(f"{shown(image.judged.text) or '(no image)'} in {where}", style="bold")
    table = Table.grid(padding=(0, 2))
    previous = ""
    for heading, text in explained(image.explanation):
        table.add_row("" if heading == previous else heading, Text(text))
        previous = heading
    yield Padding(table, (0, 0, 0, 2))
