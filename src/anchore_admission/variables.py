"""The variables of the environment that look like settings, but are none."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from anchore_admission.services.config.load import environment_name
from anchore_admission.settings import ACCOUNT, PREFIX, SECRETS, SERVICE_LINK, Settings, variable

_SERVICE_VARIABLE: Final = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def unknown_variables(environ: Mapping[str, str], accounts: Iterable[str] | None = None) -> list[str]:
    """Return a warning for each unknown ``ANCHORE_ADMISSION_*`` variable.

    Without ``accounts``, the credential variables of every account count as known.
    """
    known = {variable(name) for name in Settings.model_fields}
    if accounts is None:
        known |= {name for name in environ if re.fullmatch(rf"{ACCOUNT}\w+_({'|'.join(SECRETS)})", name)}
    else:
        known |= {f"{ACCOUNT}{environment_name(name)}_{secret}" for name in accounts for secret in SECRETS}
    return [
        _unknown(name, known)
        for name, value in sorted(environ.items())
        if name.startswith(PREFIX) and name not in known and not _is_of_a_service(name, value)
    ]


def _is_of_a_service(name: str, value: str) -> bool:
    """Return whether Kubernetes set the variable: it describes every Service of the namespace to every Pod."""
    return bool(_SERVICE_VARIABLE.fullmatch(name)) or (name.endswith("_PORT") and bool(SERVICE_LINK.match(value)))


def _unknown(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name, compared without the prefix, which would make any two look alike."""
    close = get_close_matches(name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in known], n=1)
    return f"{name} is not known and ignored" + (f"; did you mean {PREFIX}{close[0]}?" if close else "")
