"""Everything that the chart renders, held to the schemas of the API server that runs, and to the API server itself."""

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from e2e.cluster.api import Api
from e2e.cluster.kubectl import Kubectl
from e2e.conftest import Namespaces
from e2e.release import CHART
from support.charts import EVERYTHING
from support.paths import ROOT

pytestmark = pytest.mark.cluster

NAMESPACE = "schemas"
EXTENSIONS = {"Certificate", "Issuer", "ServiceMonitor", "PrometheusRule"}
"""Kinds of others' definitions, which this API server does not have."""


@pytest.fixture(scope="module")
def schemas(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from the running API server's OpenAPI."""
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "swagger.json").write_text(api.text("/openapi/v2"))
    spec = importlib.util.spec_from_file_location("kubernetes_schemas", ROOT / "tools/kubernetes_schemas.py")
    assert spec
    assert spec.loader
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    vars(tool)["TARGET"] = folder
    tool.main(str(folder / "swagger.json"))
    return folder


@pytest.fixture(scope="module")
def namespace(namespaces: Namespaces) -> str:
    return namespaces(NAMESPACE)


@pytest.mark.parametrize("values", EVERYTHING.values(), ids=EVERYTHING.keys())
def test_every_rendered_object_is_valid_for_the_api_server(
    kubectl: Kubectl, schemas: Path, namespace: str, values: object, tmp_path: Path
) -> None:
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values))
    rendered = kubectl.helm("template", "it", str(CHART), "--namespace", namespace, "--values", str(file))

    location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    skipped = ",".join(sorted(EXTENSIONS))
    options = ("-strict", "-summary", "-output", "json", "-skip", skipped, "-schema-location", location)
    checked = kubectl.run("kubeconform", *options, "-", stdin=rendered)
    assert checked.returncode == 0, checked.stdout
    assert json.loads(checked.stdout)["summary"]["valid"] > 5

    left_out = {*EXTENSIONS, "Pod"}  # that of `helm test` needs its account to be there
    known = [thing for thing in yaml.safe_load_all(rendered) if thing and thing["kind"] not in left_out]
    everything = yaml.safe_dump_all(known)
    accepted = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=everything)
    assert accepted.count("(server dry run)") == len(known)
