"""The release that the tests of this folder share, and its namespaces."""

from collections.abc import Iterator

import pytest

from e2e import calls
from e2e.cluster.api import Api
from e2e.conftest import Namespaces
from e2e.release import WEBHOOK, Release, installed
from e2e.stage import LABEL, NAMESPACES, VALUES, Stage, forwarded


@pytest.fixture(scope="package")
def stage(release: Release, api: Api) -> Iterator[Stage]:
    before = calls.failed(api, WEBHOOK)
    with installed(release, VALUES) as running, forwarded(running) as sandbox:
        namespaces = Namespaces(api)
        try:
            for name in NAMESPACES:
                namespaces(name, **{LABEL: "yes"})
            running.await_judging("strict")
            yield Stage(running, sandbox, failures=before)
        finally:
            namespaces.remove()
