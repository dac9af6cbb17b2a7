"""``anchore-admission review``: judge manifests as the controller would."""

from collections.abc import Awaitable
from typing import Annotated

import typer

from anchore_admission.cli import options
from anchore_admission.cli.exit_codes import REVIEW_EXIT_CODES
from anchore_admission.cli.inputs import read_documents
from anchore_admission.cli.manual import Overrides, judge
from anchore_admission.documents.objects import Requester
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.services.reviews.manual import ManualReviews, Progress, Timeouts
from anchore_admission.services.reviews.summary import Summary

EPILOG = REVIEW_EXIT_CODES

Files = Annotated[
    list[str],
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="A file, - for standard input, or a directory: its *.yaml, *.yml and *.json, at any depth, except hidden "
        "ones. Repeatable.",
    ),
]


def command(
    *,
    files: Files,
    output: options.Output = options.OutputFormat.TABLE,
    timeout: options.Timeout = options.DEFAULT_TIMEOUT,
    total_timeout: options.TotalTimeout = options.DEFAULT_TOTAL_TIMEOUT,
    config: options.Config = None,
    anchore: options.AnchoreUrl = None,
    mode: options.Mode = None,
    policy: options.Policy = None,
    workloads: options.Workloads = WorkloadHandling.DENY,
    ignore_unknown_kinds: options.IgnoreUnknownKinds = False,
    namespace: options.Namespace = options.NAMESPACE,
    user: options.User = "",
    group: options.Groups = None,
) -> None:
    """Review manifests as the admission controller would.

    Reads the same input as kubectl: YAML with several documents, JSON, Lists; also AdmissionReviews, whose object is
    judged as if it were new. Objects without images are counted, and so are those of unknown kinds, whose images
    cannot be found. No analysis is requested.

    For example:

    [bold]anchore-admission review -f deploy/ --config configuration.yaml[/bold]

    [bold]helm template chart | anchore-admission review -f - --namespace shop -o json[/bold]
    """
    documents = read_documents(files)
    requester = Requester(namespace, user, tuple(group or ()))
    timeouts = Timeouts(timeout, total_timeout)

    def run(manual: ManualReviews, progress: Progress) -> Awaitable[Summary]:
        return manual.documents(documents, requester, timeouts, progress)

    overrides = Overrides(config, anchore, mode, policy, workloads, ignores_unchecked=ignore_unknown_kinds)
    judge(overrides, run, output, objects=True)
