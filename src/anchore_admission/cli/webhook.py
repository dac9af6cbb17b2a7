"""``anchore-admission webhook``: what tells a cluster's API servers to ask this controller."""

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
import yaml

from anchore_admission.adapters.files import read_text
from anchore_admission.core.webhook import WebhookOptions, service_client, webhook_configuration
from anchore_admission.errors import ConfigurationError, Problem

EPILOG = "Example: anchore-admission webhook --url https://gate.example.com/validate/SECRET | kubectl apply -f -"
_PATH = "/validate"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SERVICE, _URL = "Reached as a Service", "Reached by an address"


class FailurePolicy(StrEnum):
    """What API servers do when nobody answers them."""

    FAIL = "Fail"
    IGNORE = "Ignore"


def command(
    *,
    service: Annotated[
        str | None, typer.Option(help="Name of the controller's Service.", rich_help_panel=_SERVICE)
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Namespace of the Service.", rich_help_panel=_SERVICE)
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the Service.", min=1, max=65535, rich_help_panel=_SERVICE)] = 443,
    url: Annotated[
        str | None,
        typer.Option(
            help="https address that API servers can reach, with the path; without a path, /validate is meant.",
            rich_help_panel=_URL,
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(help="PEM authorities to trust; without them, API servers trust those of their system."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the configuration.")] = "anchore-admission",
    failure_policy: Annotated[
        FailurePolicy, typer.Option(help="What happens when nobody answers.", case_sensitive=False)
    ] = FailurePolicy.FAIL,
    timeout_seconds: Annotated[int, typer.Option(help="How long API servers wait.", min=1, max=30)] = 10,
    exclude_namespace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A namespace not to judge, besides kube-system and the Service's; may be given again."
        ),
    ] = None,
) -> None:
    """Print the ValidatingWebhookConfiguration for kubectl apply -f -.

    Give either --service and --namespace, or --url for a controller outside the cluster. To switch the webhook off,
    delete the configuration: kubectl delete validatingwebhookconfiguration NAME
    """
    options = WebhookOptions(
        name,
        _client(service, namespace, port, url, _problems(name, service, namespace, url)),
        authorities=_authorities(ca_file),
        failure_policy=failure_policy.value,
        timeout_seconds=timeout_seconds,
        excluded=exclude_namespace or (),
    )
    yaml.safe_dump(webhook_configuration(options), sys.stdout, sort_keys=False, width=120)


def _client(
    service: str | None, namespace: str | None, port: int, url: str | None, problems: list[Problem]
) -> dict[str, Any]:
    """Raises ConfigurationError."""
    if problems:
        raise ConfigurationError("webhook", problems)
    if service and namespace:
        return service_client(service, namespace, port, _PATH)
    address = url or ""
    return {"url": address if urlsplit(address).path not in {"", "/"} else address.rstrip("/") + _PATH}


def _problems(name: str, service: str | None, namespace: str | None, url: str | None) -> list[Problem]:
    problems = []
    if not _NAME.fullmatch(name):
        problems.append(Problem("--name", f"expected lower case letters, digits and dashes, not {name!r}"))
    if bool(url) == bool(service):
        problems.append(Problem("--service", "expected either with --namespace, or --url instead"))
    if bool(service) != bool(namespace):
        problems.append(Problem("--namespace", "expected together with --service"))
    if url and not _is_usable(url):
        why = "expected https:// without user, query or fragment: API servers refuse anything else"
        problems.append(Problem("--url", why))
    return problems


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(
        parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and "?" not in url and "#" not in url
    )


def _authorities(path: Path | None) -> bytes | None:
    """Raises ConfigurationError."""
    if path is None:
        return None
    text = read_text(path)
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY-----" in text:
        raise ConfigurationError("webhook", [Problem("--ca-file", f"{path}: expected PEM certificates and no key")])
    return text.encode()
