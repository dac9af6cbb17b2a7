"""``anchore-admission webhook``: the webhook configuration that registers this controller with API servers."""

import re
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import yaml

from anchore_admission.certificates import read_ca_bundle
from anchore_admission.cli.inputs import read_configuration_file
from anchore_admission.cli.yaml_output import Dumper
from anchore_admission.core.webhook.entry import (
    MUTATE_PATH,
    VALIDATE_PATH,
    WebhookKind,
    WebhookOptions,
    service_client,
    webhook_configuration,
)
from anchore_admission.errors import ConfigurationError, Problem
from anchore_admission.services.config.load import parse_configuration
from anchore_admission.settings import variable
from anchore_admission.text import shortened

EPILOG = (
    "Example: anchore-admission webhook --url https://gate.example.com/validate/SECRET --failure-policy Ignore"
    " | kubectl apply -f -"
)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A label of RFC 1123, as Kubernetes requires for namespaces and Services."""
_ADDRESS = re.compile(r"([A-Za-z0-9._~:/\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
HTTPS_ADDRESS = "expected https:// and an address without user, query, fragment or blanks"
"""The message about an invalid address, without the address: its path may be a secret."""
_SERVICE, _URL = "Reached as a Service", "Reached by an address"


class FailurePolicy(StrEnum):
    """The decision of API servers when the webhook does not answer."""

    FAIL = "Fail"
    IGNORE = "Ignore"


_Service = Annotated[str | None, typer.Option(help="Name of the controller's Service.", rich_help_panel=_SERVICE)]
_Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace of the Service.", rich_help_panel=_SERVICE)
]
_Port = Annotated[int, typer.Option(help="Port of the Service.", min=1, max=65535, rich_help_panel=_SERVICE)]
_Url = Annotated[
    str | None,
    typer.Option(
        help="https address that API servers can reach; the path defaults to /validate, or /mutate.",
        rich_help_panel=_URL,
    ),
]
_CaFile = Annotated[
    Path | None, typer.Option(help="PEM CA bundle to trust; by default, API servers trust the CAs of their system.")
]
_Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar=variable("config"),
        metavar="FILE",
        help="The controller's configuration file: where its opa.requests is all, API servers send updates that change "
        "no image, too.",
    ),
]
_Name = Annotated[str, typer.Option(help="Name of the configuration.")]
_Mutating = Annotated[
    bool,
    typer.Option(
        "--mutating",
        help="Print the MutatingWebhookConfiguration instead, which pins the tags of Pods to digests.",
    ),
]
_Policy = Annotated[
    FailurePolicy | None,
    typer.Option(
        help="The decision of API servers when the webhook does not answer.",
        show_default="Fail; Ignore if mutating",
        case_sensitive=False,
    ),
]
_Timeout = Annotated[
    int | None,
    typer.Option(help="How long API servers wait, in seconds.", show_default="10; 3 if mutating", min=1, max=30),
]
_Excluded = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A namespace to exclude, besides kube-system and the Service's; repeatable."),
]
_NoConditions = Annotated[
    bool,
    typer.Option(
        "--no-match-conditions",
        help="For Kubernetes before 1.30: also review updates that change no image, and the Pods of other releases.",
    ),
]


def command(
    *,
    service: _Service = None,
    namespace: _Namespace = None,
    port: _Port = 443,
    url: _Url = None,
    ca_file: _CaFile = None,
    config: _Config = None,
    name: _Name = "anchore-admission",
    mutating: _Mutating = False,
    failure_policy: _Policy = None,
    timeout_seconds: _Timeout = None,
    exclude_namespace: _Excluded = None,
    no_match_conditions: _NoConditions = False,
) -> None:
    """Print the ValidatingWebhookConfiguration for kubectl apply -f -.

    Give either --service and --namespace, or --url for a controller outside the cluster. To switch the webhook off,
    delete the configuration: kubectl delete validatingwebhookconfiguration NAME (with --mutating:
    mutatingwebhookconfiguration)
    """
    kind = WebhookKind.MUTATING if mutating else WebhookKind.VALIDATING
    excluded = exclude_namespace or []
    problems = [
        *_name_problems("--name", [name]),
        *_name_problems("--service", [service]),
        *_name_problems("--namespace", [namespace]),
        *_name_problems("--exclude-namespace", excluded),
        *_address_problems(service, namespace, url),
        *_kind_problems(kind, url, failure_policy),
    ]
    ca_bundle = _ca_bundle(ca_file, problems)
    every_update = _judges_every_update(config, problems)
    if problems:
        raise ConfigurationError("webhook", problems)
    options = WebhookOptions(
        name,
        service_client(service, namespace, port, kind.path)
        if service and namespace
        else {"url": _with_path(url or "", kind)},
        ca_bundle=ca_bundle,
        failure_policy=(failure_policy or FailurePolicy.FAIL).value,
        timeout_seconds=timeout_seconds,
        excluded=excluded,
        match_conditions=not no_match_conditions,
        every_update=every_update,
        kind=kind,
    )
    yaml.dump(webhook_configuration(options), sys.stdout, Dumper=Dumper, sort_keys=False, width=120)


def _name_problems(option: str, names: Sequence[str | None]) -> Iterator[Problem]:
    for name in names:
        if name is not None and not _NAME.fullmatch(name):
            shown = shortened(repr(name), 100)
            yield Problem(option, f"expected up to 63 lower case letters, digits and dashes between them, not {shown}")


def _address_problems(service: str | None, namespace: str | None, url: str | None) -> Iterator[Problem]:
    if (url is None) == (service is None):
        yield Problem("--service", "expected either with --namespace, or --url instead")
    if (service is None) != (namespace is None):
        yield Problem("--namespace", "expected together with --service")
    if url is not None and not is_https_address(url):
        yield Problem("--url", HTTPS_ADDRESS)


def _kind_problems(kind: WebhookKind, url: str | None, policy: FailurePolicy | None) -> Iterator[Problem]:
    """Yield what does not fit the kind: a mutating webhook at the path of the other one would judge Pods twice."""
    if kind is WebhookKind.MUTATING and policy is FailurePolicy.FAIL:
        yield Problem("--failure-policy", "expected Ignore with --mutating; rules deny by pin: required")
    other = VALIDATE_PATH if kind is WebhookKind.MUTATING else MUTATE_PATH
    if url is not None and is_https_address(url) and f"{urlsplit(url).path}/".startswith(f"{other}/"):
        yield Problem("--url", f"expected an address whose path begins with {kind.path}, or one without a path")


def is_https_address(url: str) -> bool:
    """Return whether API servers can call this address."""
    try:
        parts = urlsplit(url)
        # Reading ``port`` raises ValueError if it is no number or above 65535.
        if parts.port == 0:
            return False
    except ValueError:
        return False
    # The API server accepts no user, query or fragment in ``clientConfig.url``.
    return bool(parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and _ADDRESS.fullmatch(url))


def _with_path(url: str, kind: WebhookKind) -> str:
    """Add the default path, and remove a slash at the end, which the controller does not serve."""
    address = url.rstrip("/")
    return address if urlsplit(address).path else address + kind.path


def _ca_bundle(path: Path | None, problems: list[Problem]) -> bytes | None:
    """Read the CA bundle; its problems are appended to ``problems``."""
    try:
        return "".join(read_ca_bundle(path)).encode() if path else None
    except ConfigurationError as error:
        problems.extend(Problem("--ca-file", f"{error.source}: {problem}") for problem in error.problems)
        return None


def _judges_every_update(path: Path | None, problems: list[Problem]) -> bool:
    """Return whether the configuration judges updates that change no image; problems are appended to ``problems``."""
    if path is None:
        return False
    try:
        return parse_configuration(*read_configuration_file(path)).judges_every_update
    except ConfigurationError as error:
        problems.extend(Problem("--config", f"{error.source}: {problem}") for problem in error.problems)
        return False
