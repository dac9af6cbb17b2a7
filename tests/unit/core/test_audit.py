"""The audit annotations about images."""

from anchore_admission.core import audit
from anchore_admission.core.decision import Decision, Effect, Reason
from anchore_admission.core.facts import ImageFacts, ImageRecord
from anchore_admission.core.verdict import Verdict
from support.builders import DIGEST, image_verdict, record, rule


def test_the_audit_trail() -> None:
    one = image_verdict(
        Verdict(Decision.DENY, Reason.POLICY_FAILED, "m"),
        image="ubuntu",
        facts=ImageFacts(ImageRecord(DIGEST, record().state, architecture="arm64")),
    )
    two = image_verdict(
        Verdict(Decision.NO_VERDICT, Reason.ERROR, "m", error="unavailable"), image="redis", by=rule("other")
    )
    assert audit.image_annotations([one, two, one]) == {
        "rules": "production; other",
        "images": f"ubuntu {DIGEST} arm64 deny: policy_failed; redis no_verdict: error; "
        f"ubuntu {DIGEST} arm64 deny: policy_failed",
        "errors": "redis: unavailable",
    }


def test_the_audit_trail_is_silent_where_there_is_nothing_to_say() -> None:
    assert audit.image_annotations([]) == {}
    admitted = image_verdict(Verdict(Decision.ADMIT, Reason.ANALYZED, "m"), effect=Effect.ALLOW)
    assert set(audit.image_annotations([admitted])) == {"rules", "images"}


def test_the_audit_trail_is_bounded() -> None:
    annotations = audit.image_annotations([image_verdict(image=f"team/app-{number}") for number in range(1000)])
    assert all(len(value) <= audit.AUDIT_LIMIT for value in annotations.values())
    *named, rest = annotations["images"].split("; ")
    assert len(named) > 20
    assert rest == f"and {1000 - len(named)} more"
