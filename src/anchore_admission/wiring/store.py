"""Wire the shared store to its files and servers; its client is loaded only if a store is configured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.adapters.trust import WatchedTrust, system_trust
from anchore_admission.files import is_readable
from anchore_admission.models.configuration import Configuration, SharedStoreSection
from anchore_admission.ports.store import FactStore
from anchore_admission.ports.telemetry import WatchedSource
from anchore_admission.watched import Watched

if TYPE_CHECKING:
    from anchore_admission.adapters.store.credentials import StoreCredentials

NAME: Final = "shared store"
UNTIL_VALID: Final = "the shared store is not used until this is fixed"


@dataclass(frozen=True, slots=True)
class WiredStore:
    """The store, and the files to be read again; the replica is ready without them."""

    store: FactStore
    watched: Sequence[Watched[Any]]


def fact_store(configuration: Configuration, telemetry: Telemetry) -> WiredStore | None:
    """Build the configured store; None if there is none. Nothing is sent yet.

    Files with invalid contents may still be corrected; until then, the store is not used. Raises ConfigurationError for
    a file that cannot be read.
    """
    section, memory = configuration.shared_store, configuration.memory
    if section is None:
        return None
    # Importing the client costs time and memory that an installation without a store should not pay.
    from anchore_admission.adapters.store.client import Connecting, connect  # noqa: PLC0415
    from anchore_admission.adapters.store.sealing import CURRENT, Seal, read_keys  # noqa: PLC0415
    from anchore_admission.adapters.store.shared import SharedStore  # noqa: PLC0415

    directory = Path(section.key_directory)
    name, source = f"seal keys of the {NAME}", str(directory)
    keys = Watched(name, lambda: read_keys(directory), source=source, until_valid=UNTIL_VALID)
    keys.start(wait_until_valid=is_readable(directory / CURRENT))
    trust = _trust(section)
    own = _credentials(NAME, section.password_file, section.username_file)
    sentinels = _credentials(f"Sentinels of the {NAME}", section.sentinel_password_file, section.sentinel_username_file)
    watched = [keys, *(files.watched for files in (trust, own, sentinels) if files)]
    for each in watched:
        telemetry.watch_unusable(WatchedSource.SHARED_STORE, each.is_unusable)
    how = Connecting(
        servers=section.servers,
        topology=section.topology,
        sentinel_service=section.sentinel_service or "",
        database=section.database,
        credentials=own,
        sentinel_credentials=sentinels,
        trust=trust.current if trust else system_trust if section.uses_tls else None,
    )
    store = SharedStore(
        connect(how),
        # An answer is of use to another replica for as long as it may be to ours.
        Seal(lambda: keys.value, max(memory.outage, 2 * memory.passed, 2 * memory.tag)),
        telemetry,
        prefix=section.prefix,
        cluster=section.cluster_name,
        timeout=section.timeout,
    )
    return WiredStore(store, watched)


def _trust(section: SharedStoreSection) -> WatchedTrust | None:
    """Follow the CA file."""
    if section.ca_file is None:
        return None
    server, path = f"the {NAME}", Path(section.ca_file)
    return WatchedTrust(path, server=server, section="sharedStore", until_valid=UNTIL_VALID, wait_until_valid=True)


def _credentials(owner: str, password: str | None, username: str | None) -> "StoreCredentials | None":
    """Follow the files of a password and, if there is one, its user name."""
    from anchore_admission.adapters.store.credentials import StoreCredentials  # noqa: PLC0415 - as above

    if password is None:
        return None
    return StoreCredentials(owner, Path(password), Path(username) if username else None, until_valid=UNTIL_VALID)
