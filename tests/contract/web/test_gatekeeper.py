"""The facts, asked for by Gatekeeper's own client, and the example template, evaluated by Gatekeeper's own engine."""

import asyncio
import base64
import json
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.types import Receive, Scope, Send

from anchore_admission.core.facts import AnalysisState, Finding
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.errors import AnchoreUnavailable
from anchore_admission.web.body import send_json
from anchore_admission.web.facts_guard import FactsClients
from anchore_admission.web.server import Listener
from anchore_admission.web.tls import ClientCas, ServingCertificate
from support.certificates import client_pair, pair, written
from support.charts import program
from support.facts_port import BAD, GOOD, REPOSITORY, FactsPortSetup
from support.listening import HOST, running
from support.paths import DOCS

NAME = "gatekeeper-webhook-service.gatekeeper-system.svc"
SERVER, GATEKEEPER, STRANGER = pair(), client_pair(NAME), client_pair("another")
EXAMPLE = DOCS / "examples" / "gatekeeper"
UNKNOWN = f"{REPOSITORY}/unknown:1"
Json = dict[str, Any]


@dataclass
class Gatekeeper:
    """Gatekeeper's client of providers and its engine, for one provider."""

    folder: Path
    url: str
    client: CertificatePair | None = GATEKEEPER
    timeout: int = 30

    async def ask(self, *keys: Sequence[str]) -> list[Json]:
        """Send lists of keys, one after the other over one client, and return what Gatekeeper makes of each answer."""
        return await self._run({"keys": keys})

    async def review(self, *pods: Json, constraint: Json | None = None) -> list[list[str]]:
        """Return the violations of the example template in each Pod."""
        template = yaml.safe_load((EXAMPLE / "template.yaml").read_text())
        wanted = constraint or next(yaml.safe_load_all((EXAMPLE / "constraint.yaml").read_text()))
        requests = [_request(pod) for pod in pods]
        answers = await self._run({"template": template, "constraint": wanted, "requests": requests})
        assert [answer["error"] for answer in answers] == [""] * len(pods)
        return [sorted(answer["violations"]) for answer in answers]

    async def certificate(self) -> CertificatePair:
        """Return the certificate that Gatekeeper issues for its webhook, with its CA."""
        folder = self.folder / "issued"
        folder.mkdir()
        await self._run({"issue": str(folder)})
        found = [(folder / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")]
        return CertificatePair(*found)

    async def _run(self, question: Mapping[str, Any]) -> list[Json]:
        bundle = base64.b64encode(SERVER.ca_bundle).decode()
        spec = {"url": self.url, "timeout": self.timeout, "caBundle": bundle}
        asked = {"provider": {"metadata": {"name": "anchore-admission"}, "spec": spec}, **question}
        if self.client and self.url:
            self.folder.joinpath("client").mkdir(exist_ok=True)
            files = written(self.folder / "client", self.client.certificate, self.client.key)
            asked |= {"certificate": str(files.certificate), "key": str(files.key)}
        done = await asyncio.to_thread(
            subprocess.run,
            [program("gatekeeper-client")],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            env=dict(os.environ),
        )
        assert done.returncode == 0, done.stderr
        answers: list[Json] = json.loads(done.stdout)
        return answers


def _request(pod: Json) -> Json:
    return {
        "uid": "u",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "name": pod["metadata"]["name"],
        "namespace": "shop",
        "userInfo": {"username": "ann"},
        "object": pod,
    }


def pod(*images: str, **spec: Any) -> Json:
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": containers, **spec},
    }


def _certificate(folder: Path) -> ServingCertificate:
    clients = folder / "clients.crt"
    clients.write_bytes(GATEKEEPER.ca_bundle + STRANGER.ca_bundle)
    files = written(folder, SERVER.certificate, SERVER.key)
    return ServingCertificate(files, ClientCas(clients, "facts_client_ca_file"))


@asynccontextmanager
async def served(port: FactsPortSetup, folder: Path, **options: Any) -> AsyncIterator[Gatekeeper]:
    """Serve the port to Gatekeeper, whose certificate is the only guard."""
    clients = FactsClients.named([NAME], port.endpoint)
    async with running(Listener(port.guard, HOST, 0, _certificate(folder), clients=clients)) as server:
        yield Gatekeeper(folder, f"{server.url(scheme='https')}facts/gatekeeper", **options)


@pytest.fixture
def port() -> FactsPortSetup:
    return FactsPortSetup()


def items(answer: Json) -> list[Json]:
    assert (answer["error"], answer["status"]) == ("", 200)
    response = answer["response"]["response"]
    assert response["idempotent"] is True
    found: list[Json] = response.get("items") or []
    return found


async def test_gatekeeper_reads_every_answer(port: FactsPortSetup, tmp_path: Path) -> None:
    async with served(port, tmp_path) as gatekeeper:
        facts, broken, unknown = await gatekeeper.ask([GOOD, BAD, GOOD], [GOOD, "Bad Key"], [GOOD, UNKNOWN])
    assert [item["key"] for item in items(facts)] == [GOOD, BAD, GOOD]
    assert [item["value"]["verdict"]["decision"] for item in items(facts)] == ["admit", "deny", "admit"]
    assert [bool(item.get("error")) for item in items(broken)] == [False, True]
    assert items(unknown) == []
    assert UNKNOWN in unknown["response"]["response"]["systemError"]


async def test_every_refusal_is_a_system_error_to_gatekeeper(port: FactsPortSetup, tmp_path: Path) -> None:
    async with served(port, tmp_path) as gatekeeper:
        (many,) = await gatekeeper.ask([f"image-{number}" for number in range(101)])
        gatekeeper.client = STRANGER
        (stranger,) = await gatekeeper.ask([GOOD])
        gatekeeper.client = GATEKEEPER
        gatekeeper.url += "/missing"
        (rule,) = await gatekeeper.ask([GOOD])
    for answer, status in ((many, 400), (stranger, 401), (rule, 404)):
        assert (answer["error"], answer["status"]) == ("", status)
        assert answer["response"]["kind"] == "ProviderResponse"
        assert answer["response"]["response"]["systemError"]
        assert not answer["response"]["response"].get("items")


async def test_gatekeeper_without_a_certificate_gets_no_connection(port: FactsPortSetup, tmp_path: Path) -> None:
    async with served(port, tmp_path, client=None) as gatekeeper:
        (answer,) = await gatekeeper.ask([GOOD])
    assert answer["status"] == 500
    assert "failed to send external data request" in answer["error"]
    assert port.log.requests == []


async def test_the_certificate_that_gatekeeper_issues_is_accepted(port: FactsPortSetup, tmp_path: Path) -> None:
    """Its CA has a serial number of 0 and no key identifiers, which stricter verifications reject."""
    gatekeeper = Gatekeeper(tmp_path, "")
    issued = gatekeeper.client = await gatekeeper.certificate()
    clients = tmp_path / "clients.crt"
    clients.write_bytes(issued.ca_bundle)
    files = written(tmp_path, SERVER.certificate, SERVER.key)
    certificate = ServingCertificate(files, ClientCas(clients, "facts_client_ca_file"))
    names = FactsClients.named([NAME], port.endpoint)
    async with running(Listener(port.guard, HOST, 0, certificate, clients=names)) as server:
        gatekeeper.url = f"{server.url(scheme='https')}facts/gatekeeper"
        (answer,) = await gatekeeper.ask([GOOD])
    assert [item["key"] for item in items(answer)] == [GOOD]


async def test_a_timeout_of_zero_fails_every_call(port: FactsPortSetup, tmp_path: Path) -> None:
    """Gatekeeper's documentation speaks of a default. There is none, so `provider` prints one."""
    async with served(port, tmp_path, timeout=0) as gatekeeper:
        (answer,) = await gatekeeper.ask([GOOD])
    assert "context deadline exceeded" in answer["error"]


async def test_gatekeeper_speaks_no_older_tls(tmp_path: Path, port: FactsPortSetup) -> None:
    certificate = _certificate(tmp_path)
    certificate.context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate.context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with running(Listener(port.guard, HOST, 0, certificate)) as server:
        (answer,) = await Gatekeeper(tmp_path, f"{server.url(scheme='https')}facts/gatekeeper").ask([GOOD])
    assert "failed to send external data request" in answer["error"]


async def test_the_template_denies_what_the_policy_stops(port: FactsPortSetup, tmp_path: Path) -> None:
    async with served(port, tmp_path) as gatekeeper:
        good, bad, both = await gatekeeper.review(pod(GOOD), pod(BAD), pod(GOOD, BAD))
    assert (good, bad) == ([], both)
    assert len(bad) == 1
    assert BAD in bad[0]


async def test_the_template_denies_missing_facts(port: FactsPortSetup, tmp_path: Path) -> None:
    port.pend(UNKNOWN, AnalysisState.ANALYZING)
    async with served(port, tmp_path) as gatekeeper:
        pending, malformed, again = await gatekeeper.review(pod(GOOD, UNKNOWN), pod("Bad Key"), pod(GOOD))
    assert [UNKNOWN in message for message in pending if "no facts yet" in message] == [True]
    assert len(malformed) == 1
    assert "Bad Key" in malformed[0]
    assert again == []


async def test_the_template_denies_what_it_cannot_ask_about(port: FactsPortSetup, tmp_path: Path) -> None:
    port.anchore.fail_all(AnchoreUnavailable("Anchore is not available (503)"))
    async with served(port, tmp_path) as gatekeeper:
        (outage,) = await gatekeeper.review(pod(GOOD))
    assert "Anchore is not available (503)" in outage[0]
    (gone,) = await gatekeeper.review(pod(GOOD))  # the server has stopped
    assert gone
    async with served(port, tmp_path, client=STRANGER) as gatekeeper:
        (stranger,) = await gatekeeper.review(pod(GOOD))
    assert stranger


async def test_the_template_admits_by_remembered_answers(port: FactsPortSetup, tmp_path: Path) -> None:
    """Gatekeeper asks once for a key in three minutes, and tells the template a status of 0 for what it remembers."""
    async with served(port, tmp_path) as gatekeeper:
        found = await gatekeeper.review(pod(GOOD), pod(GOOD), pod(BAD), pod(BAD))
    assert [bool(each) for each in found] == [False, False, True, True]
    assert len(port.log.requests) == 2


async def test_the_template_denies_severe_findings_in_an_exposed_pod(port: FactsPortSetup, tmp_path: Path) -> None:
    warned = f"{REPOSITORY}/warned:1"
    port.anchore.store(warned)
    port.warn(
        warned, Finding("vulnerabilities", "package", "CVE-2026-2+zlib", "HIGH Vulnerability found", action="warn")
    )
    async with served(port, tmp_path) as gatekeeper:
        plain, exposed = await gatekeeper.review(pod(warned), pod(warned, hostNetwork=True))
    assert plain == []
    assert len(exposed) == 1
    assert "CVE-2026-2" in exposed[0]


async def test_a_key_that_a_provider_leaves_out_is_denied(tmp_path: Path) -> None:
    """Not our provider: a template must not depend on its good behavior."""

    async def silent(_scope: Scope, _receive: Receive, send: Send) -> None:
        body = {"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderResponse"}
        await send_json(send, 200, json.dumps({**body, "response": {"idempotent": True, "items": []}}).encode())

    async with running(Listener(silent, HOST, 0, _certificate(tmp_path))) as server:
        gatekeeper = Gatekeeper(tmp_path, f"{server.url(scheme='https')}facts/gatekeeper")
        (answer,) = await gatekeeper.ask([GOOD])
        (found,) = await gatekeeper.review(pod(GOOD))
    assert (answer["error"], items(answer)) == ("", [])
    assert len(found) == 1
    assert GOOD in found[0]
