"""The real program, as a newcomer, an operator with a typo and a terminal see it."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from rich.text import Text

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
PICTURE = runpy.run_path(str(ROOT / "tools" / "picture.py"))


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANCHORE_ADMISSION_")}
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-W", "error", "-m", "anchore_admission", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**clean, **(environment or {})},
    )


@pytest.fixture(name="demo", scope="module")
def _demo() -> str:
    shown = run("demo", "--once", "--port", "0", environment=PICTURE["ENVIRONMENT"])
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_the_demo_shows_every_mode_with_the_messages_that_users_know(demo: str) -> None:
    text = " ".join(Text.from_ansi(demo).plain.split())
    for message in (
        "Image analysis for image ubuntu requested and found mapped to digest sha256:",
        "Image quay.io/team/new:1.0 is not analyzed. Analysis was requested",
        "failed policy checks for policy bundle admissionpolicy HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0",
        "Anchore cannot pull it: registry needs credentials",
        "/docs",
    ):
        assert message in text


def test_the_picture_in_the_readme_shows_the_output_of_the_demo(demo: str) -> None:
    assert PICTURE["PICTURE"].read_text() == PICTURE["picture"](demo), "tools/picture.py draws it anew"


def test_every_mistake_of_a_configuration_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text(
        json.dumps({"defaults": {"mode": "strictt"}, "rules": [{"match": {"image": ["x"]}}], "exemptions": [{}]})
    )

    failed = run("serve", "--config", str(file), "--insecure-http")

    assert failed.returncode == 2
    for path in ("defaults.mode", "rules[0].name", "rules[0].match.image", "exemptions[0].name"):
        assert path in failed.stderr
    assert "Traceback" not in failed.stderr


def test_every_mistake_of_the_settings_is_named_at_once() -> None:
    failed = run("serve", "--port", "99999", environment={"ANCHORE_ADMISSION_OPERATIONS_PORT": "many"})

    assert failed.returncode == 2
    assert "--port" in failed.stderr
    assert "ANCHORE_ADMISSION_OPERATIONS_PORT" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_missing_credentials_are_reported_with_the_settings_that_provide_them(tmp_path: Path) -> None:
    file = tmp_path / "configuration.yaml"
    file.write_text(json.dumps({"anchore": {"endpoint": "http://127.0.0.1:1"}}))

    failed = run("serve", "--config", str(file), "--insecure-http")

    assert failed.returncode == 2
    assert "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME" in failed.stderr


def test_the_help_names_every_command() -> None:
    shown = run("--help")

    assert shown.returncode == 0
    for command in ("serve", "sandbox", "demo", "review", "check", "config", "version"):
        assert command in shown.stdout
