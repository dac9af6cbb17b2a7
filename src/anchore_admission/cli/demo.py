"""``anchore-admission demo``: run sandbox and controller on this machine, create Pods over HTTPS, show the verdicts."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from anchore_admission.certificates import throw_away_pair
from anchore_admission.cli.demo_data import ANALYSIS_SECONDS, FIRST, LATER, SEED, Scene, configuration
from anchore_admission.cli.exit_codes import ExitCode
from anchore_admission.errors import AnchoreAdmissionError
from anchore_admission.models.examples import example_review
from anchore_admission.text import shown

WEBHOOK = "demo.admission.anchore.io"
START_SECONDS = 30.0
_HOST = "127.0.0.1"
_EVERYWHERE = {"0.0.0.0": _HOST, "::": "::1"}  # noqa: S104 - the loopback address reaches a controller that listens on all
_PASSWORD = "foobar"  # noqa: S105 - Anchore's own published default, for the sandbox on this machine


class DemoFailed(AnchoreAdmissionError):
    """A part of the demonstration did not start."""


def command(
    *,
    once: Annotated[bool, typer.Option("--once", help="Exit after the tables instead of staying up.")] = False,
    host: Annotated[
        str, typer.Option(help="Address the controller listens on.", envvar="ANCHORE_ADMISSION_HOST")
    ] = _HOST,
    port: Annotated[int, typer.Option(help="Port of the controller; 0 takes a free one.", min=0, max=65535)] = 8443,
) -> None:
    """Show the product working: a simulated Anchore, the controller, and Pods in each mode.

    Nothing outside this machine is contacted, and nothing is left behind.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how a container is stopped; leaves nothing behind
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="anchore-admission-demo-") as folder, contextlib.ExitStack() as stack:
        try:
            url, trust = _start(stack, Path(folder), host, port)
        except DemoFailed as error:
            console.print(f"[red]{escape(str(error))}[/red]", highlight=False)
            raise typer.Exit(ExitCode.FAILED) from error
        _show(console, "Right after each Pod is created", [_post(url, trust, scene) for scene in FIRST])
        console.print(f"\nWaiting {ANALYSIS_SECONDS + 1} seconds for the sandbox to finish its analyses …\n")
        time.sleep(ANALYSIS_SECONDS + 1)
        _show(console, "After the analyses", [_post(url, trust, scene) for scene in LATER])
        console.print(
            f"\nTry it yourself: [bold]{url}/docs[/bold] (the certificate is a throw-away one)", highlight=False
        )
        if not once:
            console.print("Press Ctrl-C to stop.")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)


def _start(stack: contextlib.ExitStack, folder: Path, host: str, port: int) -> tuple[str, ssl.SSLContext]:
    """Start everything; return the controller's address and a context that trusts its certificate."""
    reached = _EVERYWHERE.get(host, host)
    pair = throw_away_pair(["localhost", _HOST, reached])
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    anchore = f"http://{_HOST}:{_free_port()}"
    (folder / "seed.json").write_text(json.dumps(SEED))
    (folder / "configuration.json").write_text(json.dumps(configuration(anchore)))
    operations = _free_port(8080)  # where a container engine's health check asks
    port = _free_port(port)
    files = ["--tls-cert-file", folder / "tls.crt", "--tls-key-file", folder / "tls.key"]
    ports = ["--host", host, "--port", port, "--operations-port", operations]
    _run(stack, folder, "sandbox", "--seed", folder / "seed.json", "--port", anchore.rpartition(":")[2])
    _run(stack, folder, "serve", "--config", folder / "configuration.json", *ports, *files)
    _wait(f"{anchore}/health", folder / "sandbox.log")
    reached = f"[{reached}]" if ":" in reached else reached
    _wait(f"http://{reached}:{operations}/readyz", folder / "serve.log")
    return f"https://{reached}:{port}", ssl.create_default_context(cadata=pair.ca_bundle.decode())


def _run(stack: contextlib.ExitStack, folder: Path, name: str, *arguments: object) -> None:
    secrets = {
        "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "admin",
        "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": _PASSWORD,
    }
    program = [sys.executable, "-m", "anchore_admission", name, *map(str, arguments)]
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = stack.enter_context(
        subprocess.Popen(program, stdout=log, stderr=log, env={**os.environ, **secrets})  # noqa: S603 - ourselves
    )
    # Called before the exit of ``Popen``, which waits for the process.
    stack.callback(process.terminate)


def _wait(url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        # A 503 raises HTTPError, which is an OSError, too.
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310 - loopback
            return
        time.sleep(0.05)
    raise DemoFailed(f"{log.stem} did not start:\n{shown(log.read_text(errors='replace')[-2000:], 2000)}")


def _post(url: str, trust: ssl.SSLContext, scene: Scene) -> tuple[Scene, dict[str, Any]]:
    """Send one AdmissionReview and return its response."""
    about = {"uid": f"demo-{time.monotonic_ns()}", "name": "demo", "namespace": scene.namespace}
    review = example_review(scene.pod, **about, userInfo={"username": "you"})
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/validate?timeout=10s", data=json.dumps(review).encode(), headers=headers
    )
    with urllib.request.urlopen(request, timeout=15, context=trust) as answer:  # noqa: S310 - loopback
        response: dict[str, Any] = json.load(answer)["response"]
    return scene, response


def _show(console: Console, title: str, answers: Iterable[tuple[Scene, dict[str, Any]]]) -> None:
    table = Table("", "namespace", "Pod's images", "verdict", "why", title=title, title_justify="left")
    texts: list[str] = []
    for number, (scene, response) in enumerate(answers, 1):
        verdict = "[green]admitted[/green]" if response["allowed"] else "[red]denied[/red]"
        images = "\n".join(filter(None, [scene.init_image and f"{scene.init_image} (init)", scene.image]))
        table.add_row(str(number), scene.namespace, escape(images), verdict, scene.why)
        texts.append(f"[bold]{number}.[/bold] " + "\n   ".join(map(escape, _kubectl(response))))
    console.print(table, soft_wrap=False)
    console.print("\nWhat kubectl shows:\n")
    for text in texts:
        console.print(text, highlight=False)


def _kubectl(response: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that kubectl prints for a response."""
    for warning in response.get("warnings", ()):
        yield f"Warning: {warning}"
    if response["allowed"]:
        yield "pod/demo created"
    else:
        message = response["status"]["message"]
        text = f'Error from server (Forbidden): admission webhook "{WEBHOOK}" denied the request: {message}'
        yield from text.split("\n")


def _free_port(wish: int = 0) -> int:
    """Return the wanted port unless something listens there, else any free one."""
    with socket.socket() as probe:
        if wish and probe.connect_ex((_HOST, wish)) != 0:
            return wish
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])
