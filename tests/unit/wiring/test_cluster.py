import json
import subprocess
import sys

import pytest

MODULES = ["anchore_admission.cli.main", "anchore_admission.cli.serve", "anchore_admission.wiring.cluster"]
CLUSTER_ONLY = {"lightkube", "httpx2", "h2", "wsproto"}


def loaded_by(*modules: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after it imported the modules."""
    program = (
        f"import json, sys; import {', '.join(modules)}; print(json.dumps([m.split('.')[0] for m in sys.modules]))"
    )
    run = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return set(json.loads(run.stdout))


@pytest.mark.process
def test_the_kubernetes_client_is_not_loaded_where_no_cluster_is_used() -> None:
    assert CLUSTER_ONLY.isdisjoint(loaded_by(*MODULES))


@pytest.mark.process
def test_the_adapter_loads_it() -> None:
    assert {"lightkube", "httpx2"} <= loaded_by("anchore_admission.adapters.kubernetes")
