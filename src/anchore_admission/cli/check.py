"""``anchore-admission check``: judge images as those of a Pod."""

from collections.abc import Awaitable
from typing import Annotated

import typer

from anchore_admission.cli import options
from anchore_admission.cli.exit_codes import CHECK_EXIT_CODES
from anchore_admission.cli.inputs import read_images
from anchore_admission.cli.manual import Overrides, judge
from anchore_admission.documents.objects import Requester
from anchore_admission.services.reviews.manual import ManualReviews, Progress, Timeouts
from anchore_admission.services.reviews.summary import Summary

EPILOG = CHECK_EXIT_CODES

Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE", help="Images, written as in a Pod; - reads them from standard input, one a line."),
]


def command(
    *,
    images: Images,
    output: options.Output = options.OutputFormat.TABLE,
    explain: options.Explain = False,
    timeout: options.Timeout = options.DEFAULT_TIMEOUT,
    total_timeout: options.TotalTimeout = options.DEFAULT_TOTAL_TIMEOUT,
    config: options.Config = None,
    anchore: options.AnchoreUrl = None,
    mode: options.Mode = None,
    policy: options.Policy = None,
    opa: options.Opa = None,
    no_opa: options.NoOpa = False,
    namespace: options.Namespace = None,
    namespace_labels: options.NamespaceLabels = None,
    user: options.User = "",
    group: options.Groups = None,
) -> None:
    """Check images as the admission controller would.

    Each image is judged as if it were the only one of a Pod. No analysis is requested.

    For example:

    [bold]anchore-admission check nginx:1.25 redis:7 --config configuration.yaml[/bold]

    [bold]anchore-admission check nginx:1.25 --anchore http://localhost:8228 --mode strict[/bold]
    """
    names = read_images(images)
    requester = Requester(namespace or options.NAMESPACE, user, tuple(group or ()))
    timeouts = Timeouts(timeout, total_timeout)

    def run(manual: ManualReviews, progress: Progress) -> Awaitable[Summary]:
        manual = manual.explaining() if explain else manual
        return manual.each_image(names, requester, timeouts, progress)

    if opa and no_opa:
        raise typer.BadParameter("give --opa or --no-opa, not both")
    overrides = Overrides(config, anchore, mode, policy, namespace_labels=namespace_labels, opa=opa, no_opa=no_opa)
    judge(overrides, run, output, objects=False)
