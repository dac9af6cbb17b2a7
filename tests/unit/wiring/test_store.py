import json
import subprocess
import sys
from pathlib import Path

import pytest

from anchore_admission.adapters.store.client import _Cluster, _OneServer
from anchore_admission.adapters.store.shared import SharedStore
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.errors import ConfigurationError
from anchore_admission.models.configuration import Configuration
from anchore_admission.ports.deadline import Deadline
from anchore_admission.wiring.store import WiredStore, fact_store
from support.certificates import pair

LOCAL = "redis://127.0.0.1:6379"
TLS = "rediss://store.example.com"
PASSWORD = "hunter2-and-more"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    directory = tmp_path / "keys"
    directory.mkdir()
    (directory / "current").write_text("k" * 32)
    return directory


def section(keys: Path, url: str = LOCAL, **more: object) -> Configuration:
    section = {"url": url, "clusterName": "a/b", "keyDirectory": str(keys), **more}
    return Configuration.model_validate({"sharedStore": section})


def wired(configuration: Configuration, telemetry: Telemetry | None = None) -> WiredStore:
    store = fact_store(configuration, telemetry or Telemetry())
    assert store
    return store


def client_of(store: WiredStore) -> object:
    assert isinstance(store.store, SharedStore)
    return store.store._client


def is_unusable(telemetry: Telemetry) -> bool:
    return 'unusable{what="shared_store"} 1.0' in telemetry.exposition(None)[0].decode()


@pytest.mark.process
def test_the_client_is_not_loaded_without_a_store() -> None:
    modules = "anchore_admission.cli.main, anchore_admission.cli.serve, anchore_admission.wiring.store"
    program = f"import json, sys; import {modules}; print(json.dumps([m.split('.')[0] for m in sys.modules]))"
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    assert "redis" not in json.loads(run.stdout)


def test_no_section_is_no_store() -> None:
    assert fact_store(Configuration(), Telemetry()) is None


def test_each_topology_has_its_client(keys: Path) -> None:
    assert isinstance(client_of(wired(section(keys))), _OneServer)
    sentinel = section(keys, topology="sentinel", sentinelService="gate", moreServers=["127.0.0.1:26380"])
    found = client_of(wired(sentinel))
    assert isinstance(found, _OneServer)
    assert found._sentinels
    assert len(found._sentinels.sentinels) == 2
    assert isinstance(client_of(wired(section(keys, topology="cluster"))), _Cluster)


def test_files_are_followed(keys: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("passwordFile", "usernameFile", "caFile")}
    files |= {name: tmp_path / name for name in ("sentinelPasswordFile", "sentinelUsernameFile")}
    for file in files.values():
        file.write_text(PASSWORD)
    files["caFile"].write_bytes(pair().ca_bundle)
    paths = {name: str(file) for name, file in files.items()}
    telemetry = Telemetry()
    store = wired(section(keys, TLS, topology="sentinel", sentinelService="gate", **paths), telemetry)
    assert [source.name for source in store.watched] == [
        "seal keys of the shared store",
        "CA bundle for the shared store",
        "credentials of the shared store",
        "credentials of the Sentinels of the shared store",
    ]
    assert all(source.is_ready() for source in store.watched)
    assert not is_unusable(telemetry)
    for file in (*files.values(), keys / "current"):
        content = file.read_bytes()
        file.write_bytes(b"")
        for source in store.watched:
            source.refresh()
        assert is_unusable(telemetry)
        file.write_bytes(content)
        for source in store.watched:
            source.refresh()
        assert not is_unusable(telemetry)


async def test_an_invalid_seal_key_can_still_be_corrected(keys: Path) -> None:
    (keys / "current").write_text("short")
    store = wired(section(keys))
    assert isinstance(store.store, SharedStore)
    assert await store.store.get("key", Deadline.after(10)) is None
    assert store.store._seal.keys() is None
    (keys / "current").write_text("k" * 32)
    store.watched[0].refresh()
    assert store.store._seal.keys() is not None


@pytest.mark.parametrize("name", ["passwordFile", "caFile", "keyDirectory"])
def test_a_file_that_does_not_exist_is_an_error(keys: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        wired(section(keys, TLS, **{name: str(tmp_path / "absent")}))
    assert "absent" in str(caught.value)
