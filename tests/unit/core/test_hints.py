"""Events, and the remembered answers that each casts doubt on."""

import pytest

from anchore_admission.core.hints import EVERYTHING, Event, Hint, hint_of

TAG = "registry.example.com/team/app:1.2"
DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("kind", "resource_type", "resource", "hint"),
    [
        ("user.image.analysis.completed", "image_tag", TAG, Hint(full_tag=TAG)),
        ("user.image.analysis.failed", "image_tag", TAG, Hint(full_tag=TAG)),
        ("user.checks.tag.policy_evaluation.update", "image_tag", TAG, Hint(full_tag=TAG)),
        ("user.checks.tag.vulnerabilities.update", "image_tag", TAG, Hint(full_tag=TAG)),
        ("system.image_analysis.failed", "image_digest", DIGEST, Hint(digest=DIGEST)),
        ("user.policy.active.updated", "policy_bundle", "", EVERYTHING),
        ("user.policy.active.content_change", "policy_bundle", "an-id", EVERYTHING),
        ("user.image.analysis.completed", "image_tag", "", EVERYTHING),
        ("user.image.analysis.completed", "image_tag", "x" * 1001, EVERYTHING),
        ("user.image.analysis.completed", "", TAG, EVERYTHING),
        ("user.image.analysis", "image_tag", TAG, None),
        ("user.registry.added", "image_tag", TAG, None),
        ("system.feeds.sync.completed", "feeds", "", None),
        ("system.service.state_transition.orphaned", "service", "x", None),
        ("", "", "", None),
    ],
)
def test_hint_of_an_event(kind: str, resource_type: str, resource: str, hint: Hint | None) -> None:
    assert hint_of(Event("1", kind, resource_type, resource)) == hint
