from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Locator, Page, async_playwright, expect

from anchore_admission.cli.demo_data import SEED, configuration
from anchore_admission.models.configuration import Configuration
from anchore_admission.wiring.controller import build
from support.command_line import CREDENTIALS
from support.sandbox_server import sandbox_served
from support.served import HOST, served
from support.webhook import app_over

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
ANALYZED = [
    {"tag": "docker.io/nginx:1.27", "state": "analyzed"},
    {"tag": "docker.io/ubuntu:latest", "state": "analyzed"},
]
DENIAL = "failed policy checks for policy bundle admissionpolicy"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no chromium: {CHROMIUM} does not exist"),
]


@dataclass
class Visit:
    """The page, its requests and its console messages."""

    page: Page
    url: str
    asked: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self._note("error", str(error)))

    def _note(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.warnings.append(text)

    async def open(self, route: str) -> Locator:
        """Show the page, and what can be done with one route."""
        await self.page.goto(f"{self.url}/docs")
        operation = self.page.locator(".opblock", has=self.page.get_by_text(route, exact=True))
        await operation.locator(".opblock-summary-control").click()
        await expect(operation.get_by_role("button", name="Execute")).to_be_visible()
        return operation


@pytest.fixture
async def visit() -> AsyncIterator[Visit]:
    with sandbox_served({**SEED, "images": ANALYZED}) as sandbox:
        controller = build(Configuration.model_validate(configuration(sandbox)), environ=CREDENTIALS)
        async with aclosing(controller), served(app_over(controller)) as port, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            yield Visit(await browser.new_page(), f"http://{HOST}:{port}")
            await browser.close()


async def choose(operation: Locator, example: str) -> None:
    await operation.locator(".opblock-section-request-body .examples-select select").select_option(label=example)


async def execute(operation: Locator) -> Locator:
    """Return the response that the page shows."""
    await operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    await expect(answer.locator(".response-col_status").last).to_contain_text("200")
    return answer.locator(".response-col_description").last


def assert_at_home(visit: Visit) -> None:
    """Assert that no request went to another host and that the browser reports no error."""
    assert {urlsplit(url).netloc for url in visit.asked if not url.startswith("data:")} == {urlsplit(visit.url).netloc}
    assert visit.warnings == []


async def test_a_reader_sees_a_denial_without_leaving_the_page(visit: Visit) -> None:
    operation = await visit.open("/validate")
    await choose(operation, "Strict: admit what passes the policy")
    answer = await execute(operation)
    await expect(answer).to_contain_text('"allowed": false')
    await expect(answer).to_contain_text('"code": 403')
    await expect(answer).to_contain_text(DENIAL)
    await expect(answer).to_contain_text("HIGH CVE-2021-3711 in openssl, fixed in 1.1.1k-r0")
    assert_at_home(visit)


@pytest.mark.parametrize("media_type", ["application/yaml", "application/json"])
async def test_a_reader_reviews_a_pod_on_the_page(media_type: str, visit: Visit) -> None:
    operation = await visit.open("/review")
    await choose(operation, "A Pod")
    await operation.get_by_role("combobox", name="Request content type").select_option(media_type)
    text = await operation.locator("textarea.body-param__text").input_value()
    assert text.startswith("apiVersion: v1\nkind: Pod" if media_type == "application/yaml" else '{\n  "apiVersion"')
    await operation.get_by_placeholder("namespace").fill("strict")
    answer = await execute(operation)
    await expect(answer).to_contain_text(DENIAL)
    await expect(answer).to_contain_text('"rule": "strict"')
    assert_at_home(visit)


async def test_every_example_can_be_chosen_and_is_answered_with_a_verdict(visit: Visit) -> None:
    for route in ("/validate", "/mutate", "/review"):
        operation = await visit.open(route)
        examples = operation.locator(".opblock-section-request-body .examples-select option")
        names: list[Any] = await examples.all_text_contents()
        assert names
        for name in names:
            await choose(operation, name)
            await expect(await execute(operation)).to_contain_text('"allowed":')
    assert_at_home(visit)


async def test_the_page_shows_its_routes_and_no_list_of_schemas(visit: Visit) -> None:
    await visit.page.goto(f"{visit.url}/docs")
    await expect(visit.page.locator(".opblock-summary-path")).to_have_text(["/validate", "/mutate", "/review"])
    await expect(visit.page.locator("section.models")).to_have_count(0)
    await expect(visit.page).to_have_title("Anchore admission controller")
    assert_at_home(visit)


async def test_no_foreign_script_would_run_on_the_page(visit: Visit) -> None:
    await visit.page.goto(f"{visit.url}/docs")
    await expect(visit.page.locator(".opblock")).to_have_count(3)
    script = "document.body.appendChild(Object.assign(document.createElement('script'), {text: 'window.ran = true'}))"
    async with visit.page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        await visit.page.evaluate(script)
    assert await visit.page.evaluate("window.ran") is None
