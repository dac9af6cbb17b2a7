"""``anchore-admission review``: manifests, judged as the controller would."""

from collections.abc import Awaitable
from typing import Annotated

import typer

from anchore_admission.cli import options
from anchore_admission.cli.inputs import read_documents
from anchore_admission.cli.judging import Wanted, judge
from anchore_admission.documents.objects import Requester
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.services.reviews.manual import ManualReviews, Progress
from anchore_admission.services.reviews.summary import Summary

EPILOG = options.REVIEW_EXIT_CODES

Files = Annotated[
    list[str],
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="A file, - for standard input, or a directory: its *.yaml, *.yml and *.json, at any depth, without "
        "hidden ones. May be given again.",
    ),
]


def command(
    *,
    files: Files,
    output: options.Output = options.OutputFormat.TABLE,
    timeout: options.Timeout = options.DEFAULT_TIMEOUT,
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

    Takes what kubectl takes: YAML of many documents, JSON, Lists; and AdmissionReviews, whose object is then judged
    as if it were new. Objects that hold no images are counted, and so are those of kinds that are not known, whose
    images cannot be found. Anchore is only asked, never told to analyze anything.

    For example:

    [bold]anchore-admission review -f deploy/ --config configuration.yaml[/bold]

    [bold]helm template chart | anchore-admission review -f - --namespace shop -o json[/bold]
    """
    documents = read_documents(files)
    requester = Requester(namespace, user, tuple(group or ()))

    def ask(manual: ManualReviews, progress: Progress) -> Awaitable[Summary]:
        return manual.documents(documents, requester, timeout, progress)

    wanted = Wanted(config, anchore, mode, policy, workloads, ignores_unchecked=ignore_unknown_kinds)
    judge(wanted, ask, output, objects=True)
