"""``anchore-admission explain``: show the rule that an image falls under, and the rules that were passed over."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from anchore_admission.cli import options
from anchore_admission.cli.exit_codes import EXPLAIN_EXIT_CODES, ExitCode
from anchore_admission.cli.explain_output import write_explanations
from anchore_admission.cli.inputs import read_documents, read_images
from anchore_admission.cli.manual import Overrides, configured, given_namespaces
from anchore_admission.cli.review import Files
from anchore_admission.documents.objects import Requester
from anchore_admission.models.configuration import WorkloadHandling
from anchore_admission.services.reviews.manual import Timeouts
from anchore_admission.services.reviews.summary import Summary
from anchore_admission.settings import variable
from anchore_admission.wiring.explaining import explaining_reviews

EPILOG = EXPLAIN_EXIT_CODES

Images = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE", help="Images, as those of a Pod; - reads them from standard input, one a line."),
]
Config = Annotated[
    Path,
    typer.Option(
        "--config", "-c", envvar=variable("config"), metavar="FILE", help="The configuration file with the rules."
    ),
]
_TIMEOUTS = Timeouts(options.DEFAULT_TIMEOUT, options.DEFAULT_TOTAL_TIMEOUT)


def command(
    *,
    images: Images = None,
    files: Files = None,
    config: Config,
    output: options.Output = options.OutputFormat.TABLE,
    namespace: options.Namespace = None,
    namespace_labels: options.NamespaceLabels = None,
    user: options.User = "",
    group: options.Groups = None,
) -> None:
    """Explain which rule applies to images or manifests, and why others do not.

    Shows each image's rule with its mode, account, policy, enforcement, onError and pin, the exemptions that apply if
    it is denied, and every rule that was passed over with the keys of its match that do not hold. Anchore is not
    contacted, and no credentials are needed.

    For example:

    [bold]anchore-admission explain nginx:1.25 --config configuration.yaml --namespace shop[/bold]

    [bold]anchore-admission explain -f deploy/ --config configuration.yaml --user jane --group developers[/bold]
    """
    if bool(images) == bool(files):
        raise typer.BadParameter("give images, or -f FILE")
    documents = read_documents(files or ())
    names = read_images(images or ())
    overrides = Overrides(config, workloads=WorkloadHandling.DENY, namespace_labels=namespace_labels)
    namespaces = given_namespaces(overrides, [document.value for document in documents])
    manual = explaining_reviews(configured(overrides), namespaces)
    requester = Requester(namespace or options.NAMESPACE, user, tuple(group or ()))
    if files:
        summary = asyncio.run(manual.documents(documents, requester, _TIMEOUTS))
    else:
        summary = asyncio.run(manual.each_image(names, requester, _TIMEOUTS))
    write_explanations(summary, output, objects=bool(files))
    raise typer.Exit(_exit_code(summary))


def _exit_code(summary: Summary) -> ExitCode:
    if any(review.problem for review in summary.reviews):
        return ExitCode.FAILED
    return ExitCode.NOT_CHECKED if summary.unchecked else ExitCode.OK
