"""Image rows of Anchore, as records."""

from typing import Any

import pytest

from anchore_admission.adapters.anchore.records import ImageRow, record
from anchore_admission.core.names import LABEL_TIME, label_of
from support.builders import DIGEST, OTHER_DIGEST

TAG = {"full_tag": "quay.io/team/app:1", "created_at": "2026-11-01T00:00:00Z"}
BEFORE, AFTER = "2026-10-01T00:00:00Z", "2026-11-02T00:00:00Z"


def _by_digest(time: str | None) -> dict[str, Any]:
    return {"full_tag": f"quay.io/team/app:{label_of(DIGEST)}", "created_at": time}


@pytest.mark.parametrize(
    ("parent", "tags", "expected"),
    [
        (OTHER_DIGEST, [TAG], OTHER_DIGEST),
        (OTHER_DIGEST, [_by_digest(LABEL_TIME)], OTHER_DIGEST),
        (DIGEST, [TAG], DIGEST),
        # It may be one platform of a list: Anchore keeps the parent of the first submission.
        (DIGEST, [_by_digest(LABEL_TIME)], None),
        (DIGEST, [_by_digest(LABEL_TIME), TAG], None),
        (DIGEST, [TAG, _by_digest(BEFORE)], None),
        (DIGEST, [TAG, _by_digest(None)], None),
        (DIGEST, [TAG, {**TAG, "tag_detected_at": LABEL_TIME}], None),
        # Of an image that came by its tag, the author of another Pod must not be able to prevent the pinning.
        (DIGEST, [TAG, _by_digest(AFTER)], DIGEST),
        (DIGEST, [TAG, _by_digest(TAG["created_at"])], None),
        (DIGEST, [], None),
        (None, [TAG], None),
        ("", [TAG], None),
        ("sha256:short", [TAG], None),
    ],
)
def test_the_list_digest_is_known_only_if_all_platforms_share_it(
    parent: str | None, tags: list[dict[str, Any]], expected: str | None
) -> None:
    row = {"image_digest": DIGEST, "parent_digest": parent, "analysis_status": "analyzed", "image_detail": tags}

    assert record(ImageRow.model_validate(row)).list_digest == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([TAG], ("quay.io/team/app:1",)),
        ([{**TAG, "full_tag": "evil.io/x:1", "created_at": BEFORE}, TAG], ("evil.io/x:1",)),
        ([TAG, {**TAG, "full_tag": "evil.io/x:1", "created_at": AFTER}], ("quay.io/team/app:1",)),
        # Times are to the second.
        ([TAG, {**TAG, "full_tag": "evil.io/x:1"}], ("evil.io/x:1", "quay.io/team/app:1")),
        ([TAG, {"full_tag": "evil.io/x:1"}], ("evil.io/x:1",)),
        ([TAG, _by_digest(LABEL_TIME)], (f"quay.io/team/app:{label_of(DIGEST)}",)),
    ],
)
def test_the_list_comes_from_the_first_tag(tags: list[dict[str, Any]], expected: tuple[str, ...]) -> None:
    row = {"image_digest": DIGEST, "parent_digest": OTHER_DIGEST, "analysis_status": "analyzed", "image_detail": tags}

    found = record(ImageRow.model_validate(row))
    assert (found.list_digest, found.listed_by) == (OTHER_DIGEST, expected)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-11-23T11:49:44Z", "2026-11-23T11:49:44Z"),
        ("2026-11-23T11:49:44.123456", "2026-11-23T11:49:44Z"),
        ("2026-11-23T12:49:44+01:00", "2026-11-23T11:49:44Z"),
        ("2026-11-23", "2026-11-23T00:00:00Z"),
        ("", ""),
        ("N/A", ""),
        ("2026-13-23T11:49:44Z", ""),
        ("0001-01-01T00:00:00Z", ""),
        ("9999-12-31T23:59:59-23:00", ""),
        (None, ""),
        (1795434584, ""),
    ],
)
def test_the_time_of_the_analysis_is_one_that_policies_can_compute_with(time: object, expected: str) -> None:
    row = {"image_digest": DIGEST, "analysis_status": "analyzed", "analyzed_at": time}
    assert record(ImageRow.model_validate(row)).analyzed_at == expected
