"""``anchore-admission provider``: the external data provider by which Gatekeeper asks this controller for facts."""

import asyncio
import base64
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote, urlsplit

import typer
import yaml

from anchore_admission.certificates import read_ca_bundle
from anchore_admission.cli.webhook import is_https_address
from anchore_admission.cli.yaml_output import Dumper
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.models.provider import API_VERSION, PROVIDER_PATH
from anchore_admission.text import shortened
from anchore_admission.wiring.probe import registered_target

EPILOG = (
    "Example: anchore-admission provider --url https://anchore-admission.anchore-admission.svc:8445"
    " --registration anchore-admission | kubectl apply -f -"
)
_ADDRESS: Final = "expected https:// and an address without user, path, query, fragment or blanks"
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,251}[a-z0-9])?")
_LONGEST_NAME: Final = 253
_RULE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")

_Url = Annotated[
    str,
    typer.Option(help="https address of the port for facts (--facts-port) that Gatekeeper can reach, without a path."),
]
_CaFile = Annotated[Path | None, typer.Option(help="PEM file with the CAs that have signed the certificate there.")]
_Registration = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Instead of --ca-file: take the CA bundle of the ValidatingWebhookConfiguration of this name.",
    ),
]
_Rule = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The rule whose account and policy count.", show_default="defaults"),
]
_Name = Annotated[str, typer.Option(help="Name of the Provider, as templates call it.")]
_Timeout = Annotated[
    int, typer.Option(help="How long Gatekeeper waits, in whole seconds; the controller needs up to 2.", min=1, max=30)
]


def command(
    *,
    url: _Url,
    ca_file: _CaFile = None,
    registration: _Registration = None,
    rule: _Rule = None,
    name: _Name = "anchore-admission",
    timeout_seconds: _Timeout = 2,
) -> None:
    """Print Gatekeeper's Provider for kubectl apply -f -.

    Gatekeeper then asks this controller about images, with its own certificate: serve the facts with --facts-port,
    --facts-client-ca-file and --facts-client-name.
    """
    problems = [*_problems(url, rule, name)]
    if (ca_file is None) == (registration is None):
        problems.append(Problem("--ca-file", "expected, or --registration instead"))
    if problems:
        raise ConfigurationError("provider", problems)
    path = f"{PROVIDER_PATH}/{quote(rule)}" if rule else PROVIDER_PATH
    provider = {
        "apiVersion": API_VERSION,
        "kind": "Provider",
        "metadata": {"name": name},
        "spec": {
            "url": f"{url.rstrip('/')}{path}",
            "timeout": timeout_seconds,
            "caBundle": base64.b64encode(_ca_bundle(ca_file, registration or "")).decode(),
        },
    }
    yaml.dump(provider, sys.stdout, Dumper=Dumper, sort_keys=False, width=120)


def _problems(url: str, rule: str | None, name: str) -> Iterator[Problem]:
    if not is_https_address(url) or urlsplit(url).path.strip("/"):
        yield Problem("--url", _ADDRESS)
    if rule is not None and not _RULE.fullmatch(rule):
        yield Problem("--rule", f"expected the name of a rule, not {shortened(repr(rule), 100)}")
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, name.split("."))):
        yield Problem("--name", f"expected the name of an object, not {shortened(repr(name), 100)}")


def _ca_bundle(ca_file: Path | None, registration: str) -> bytes:
    """Return the CA bundle, without which Gatekeeper accepts no provider. Raises ConfigurationError, ClusterError."""
    if ca_file:
        try:
            return "".join(read_ca_bundle(ca_file)).encode()
        except ConfigurationError as error:
            problems = [Problem("--ca-file", f"{error.source}: {problem}") for problem in error.problems]
            raise ConfigurationError("provider", problems) from error
    bundle = asyncio.run(registered_target(registration)).ca_bundle
    if not bundle:
        why = f"{registration} has no CA bundle, because API servers trust the CAs of their system; give --ca-file"
        raise ConfigurationError("provider", [Problem("--registration", why)])
    return bundle
