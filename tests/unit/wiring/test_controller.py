"""Rules that a running controller can follow after a reload."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from anchore_admission.errors import ConfigurationError
from anchore_admission.models.configuration import Configuration
from anchore_admission.services.reviews.rules import Rules
from anchore_admission.wiring.controller import Controller, build

_USER = {"ANCHORE_ADMISSION_ACCOUNT_DEFAULT_USERNAME": "u", "ANCHORE_ADMISSION_ACCOUNT_DEFAULT_PASSWORD": "p"}
_TEAM = {"ANCHORE_ADMISSION_ACCOUNT_TEAM_API_KEY": "k"}
_ANCHORE = {"anchore": {"endpoint": "http://anchore"}}
_UNUSED: dict[str, Any] = {**_ANCHORE, "defaults": {"mode": "skip"}}


@asynccontextmanager
async def _serving(document: Mapping[str, Any], environ: Mapping[str, str]) -> AsyncIterator[Controller]:
    configuration = Configuration.model_validate(document)
    async with aclosing(build(configuration, environ=environ, wait_until_valid=True, serves=True)) as controller:
        yield controller


def _rules(**document: Any) -> Rules:
    return Rules.of(Configuration.model_validate({**_ANCHORE, **document}))


@pytest.mark.parametrize(
    ("accounts", "environ", "connected"),
    [
        ([], {}, []),
        ([], _USER, ["default"]),
        ([{"name": "team"}], {**_USER, **_TEAM}, ["default", "team"]),
        ([{"name": "team"}], {}, []),
        ([{"name": "team", "apiKeyFile": "/no/such/file"}], _USER, ["default"]),
    ],
)
async def test_accounts_that_no_rule_uses_are_connected_as_far_as_possible(
    accounts: list[dict[str, str]], environ: dict[str, str], connected: list[str]
) -> None:
    async with _serving({**_UNUSED, "accounts": accounts}, environ) as controller:
        assert sorted(controller.accounts) == connected
        assert controller.has_credentials()


async def test_a_command_connects_only_what_it_uses() -> None:
    async with aclosing(build(Configuration.model_validate(_UNUSED), environ=_USER)) as controller:
        assert controller.accounts == {}


async def test_without_an_endpoint_nothing_is_connected() -> None:
    async with _serving({"defaults": {"mode": "skip"}}, _USER) as controller:
        assert controller.accounts == {}


async def test_rules_may_begin_to_use_a_connected_account() -> None:
    async with _serving({**_UNUSED, "accounts": [{"name": "team"}]}, {**_USER, **_TEAM}) as controller:
        controller.prepare(_rules(defaults={"mode": "strict"}, rules=[{"name": "a", "account": "team"}]))


async def test_rules_with_an_account_that_is_not_connected_are_rejected() -> None:
    chosen = {"label": "team", "allowed": {"a": "team", "b": "other"}}
    async with _serving(_UNUSED, _USER) as controller:
        with pytest.raises(ConfigurationError) as caught:
            controller.prepare(_rules(rules=[{"name": "a", "accountFrom": chosen}]))
    assert [problem.path for problem in caught.value.problems] == ["account other", "account team"]


async def test_rules_that_need_labels_of_namespaces_need_a_source_for_them() -> None:
    selective = _rules(rules=[{"name": "a", "match": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}])
    async with _serving(_UNUSED, _USER) as controller:
        with pytest.raises(ConfigurationError, match="labels of namespaces are needed"):
            controller.prepare(selective)


def test_findings_that_warn_are_kept_only_for_other_policy_engines() -> None:
    """Replicas that keep them have answers of their own in the shared store."""

    def identity(*, tells_facts: bool = False, **more: Any) -> str:
        configuration = Configuration.model_validate({**_ANCHORE, **more})
        controller = build(configuration, environ=_USER, tells_facts=tells_facts)
        return controller.accounts["default"].identity.fingerprint

    plain, telling, asking = identity(), identity(tells_facts=True), identity(opa={"url": "http://opa:8181"})
    assert plain != telling == asking
