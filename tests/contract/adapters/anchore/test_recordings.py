"""The client's look-ups and submissions, compared with recordings of Anchore Engine."""

import pytest

from anchore_admission.core.facts import ImageRecord, TagRow
from anchore_admission.core.names import AnalysisRequest
from anchore_admission.errors import AnalysisRefused, AnchoreRefused, AnchoreResponseInvalid, AnchoreUnavailable
from support.anchore_calls import client, deadline
from support.anchore_recordings import (
    ANALYZED,
    ANALYZING,
    BIG,
    BROKEN,
    CHILD,
    FAILED,
    LIST,
    NONE,
    NOT_ANALYZED,
    ROLL_A,
    ROLL_B,
    WEB,
    WEB_1_1,
    Case,
    by_digest,
    by_tag,
    demo,
    held,
    parameters,
    recording,
    refused,
    replay,
    replaying,
    submit,
)

WEB_TAG = demo("web:1.0")
WEB_TAGS = (WEB_TAG, demo("web:latest"), demo("web:srcpinned"), demo("web:stable"))
HUB = ("docker.io/testalpine:latest", "docker.io/library/testalpine:latest")
INDEX_TAG = "index.docker.io/library/testalpine:latest"
ONLY_SHORT = "docker.io/onlyshort:1"
ALL_TAGS = (*WEB_TAGS, *HUB, INDEX_TAG, ONLY_SHORT, "docker.io/library/onlylong:1")

UNAUTHORIZED = refused(
    AnchoreRefused, "Anchore rejects the credentials (401); it says the same while its database is down"
)
BROKEN_INSIDE = refused(AnchoreUnavailable, "Anchore failed with a server error (500)")
BAD_QUESTION = refused(AnchoreResponseInvalid, "Anchore rejects the request (400)")
BAD_CHARACTERS = refused(AnchoreResponseInvalid, "Anchore rejects the request (400): cannot handle image input string")
NO_SUCH_IMAGE = refused(AnalysisRefused, "Anchore cannot pull it: not found in the registry")
REGISTRY_DOWN = refused(AnalysisRefused, "Anchore cannot pull it: the registry cannot be reached")
FORBIDDEN = "Anchore denies access (403): Not authorized."
EVERY = "every image was asked for: a client must find its tag among them"
NEVER_SENT = "such a request is never made"

CASES = [
    Case("020", by_tag(WEB_TAG), UNAUTHORIZED, other="without credentials"),
    Case("021", by_tag(WEB_TAG), UNAUTHORIZED, other=EVERY),
    Case("022", by_tag(WEB_TAG), UNAUTHORIZED, other=EVERY),
    Case("023", by_tag(WEB_TAG), UNAUTHORIZED, other="a token"),
    Case("026", submit(WEB_TAG), UNAUTHORIZED),
    Case("040", by_tag(WEB_TAG), None, other=EVERY),
    Case("041", by_tag(WEB_TAG), None, other=EVERY),
    Case("042", by_tag(WEB_TAG), None),
    Case("043", by_tag("bad ref!"), BAD_CHARACTERS),
    Case("044", by_digest(NONE), None),
    Case("045", by_digest("not-a-digest"), None),
    Case("048", by_tag(WEB_TAG), BAD_QUESTION, other=EVERY),
    Case("050", by_tag(WEB_TAG), None, other=EVERY),
    Case("051", by_tag(WEB_TAG), None, other=EVERY),
    Case("052", by_tag(WEB_TAG), None, other=EVERY),
    Case(
        "053",
        by_tag(WEB_TAG),
        refused(AnchoreRefused, f"{FORBIDDEN} Requires permissions: domain=team-b action=listImages target=*"),
        other=EVERY,
    ),
    Case(
        "054",
        by_tag(WEB_TAG),
        refused(AnchoreRefused, f"{FORBIDDEN} Requires permissions: domain=no-such-account action=listImages target=*"),
        other=EVERY,
    ),
    Case(
        "055",
        submit(WEB_TAG),
        refused(AnchoreRefused, f"{FORBIDDEN} Requires permissions: domain=team-b action=createImage target=*"),
    ),
    Case("056", by_tag(WEB_TAG), None, other=EVERY),
    Case("100", submit(WEB_TAG), held(WEB, NOT_ANALYZED, WEB_TAG)),
    Case("101", by_digest(WEB), held(WEB, NOT_ANALYZED, WEB_TAG)),
    Case("102", by_tag(WEB_TAG), held(WEB, NOT_ANALYZED, WEB_TAG)),
    Case("104", submit(WEB_TAG), held(WEB, NOT_ANALYZED, WEB_TAG)),
    Case("105", by_digest(WEB), held(WEB, ANALYZING, WEB_TAG)),
    Case("107", submit(WEB_TAG), held(WEB, ANALYZING, WEB_TAG)),
    Case("110", by_digest(WEB), held(WEB, ANALYZED, WEB_TAG)),
    Case("111", by_tag(WEB_TAG), held(WEB, ANALYZED, WEB_TAG)),
    Case("112", submit(WEB_TAG), held(WEB, ANALYZED, WEB_TAG)),
    Case("150", submit(demo("web:1.1")), held(WEB_1_1, NOT_ANALYZED, demo("web:1.1"))),
    Case("160", submit(demo("web:stable")), held(WEB, ANALYZED, WEB_TAG, demo("web:stable"))),
    Case("161", by_digest(WEB), held(WEB, ANALYZED, WEB_TAG, demo("web:stable"))),
    Case("162", by_tag(demo("web:stable")), held(WEB, ANALYZED, WEB_TAG, demo("web:stable"))),
    Case("163", by_tag(demo("web")), None),
    Case("167", by_tag(WEB_TAG), held(WEB, ANALYZED, WEB_TAG, demo("web:stable")), other=EVERY),
    Case("168", by_tag(WEB_TAG), held(WEB, ANALYZED, WEB_TAG, demo("web:stable")), other=EVERY),
    Case("169", by_tag(WEB_TAG), None, other="filtered, too"),
    Case("200", submit(demo("nothing:1.0")), NO_SUCH_IMAGE),
    Case("201", submit(demo("web:9.9")), NO_SUCH_IMAGE),
    Case("202", submit("127.0.0.1:5999/demo/web:1.0"), REGISTRY_DOWN),
    Case(
        "203",
        submit("bad ref!"),
        refused(AnalysisRefused, "Anchore refuses to analyze it: Could not validate request due to error"),
    ),
    Case(
        "204",
        submit("r/x:1"),
        refused(AnalysisRefused, "Anchore refuses to analyze it: Could not validate request due to error"),
        other=NEVER_SENT,
    ),
    Case("205", submit("r/x:1"), BAD_QUESTION, other=NEVER_SENT),
    Case(
        "206",
        submit("r/x:1"),
        refused(AnchoreResponseInvalid, "Anchore sent an unexpected response (415)"),
        other=NEVER_SENT,
    ),
    Case(
        "207",
        submit("r/x:1", WEB),
        refused(AnalysisRefused, "Anchore refuses to analyze it: Validation error"),
        other=NEVER_SENT,
    ),
    Case(
        "209",
        submit("r/x:1"),
        refused(
            AnalysisRefused,
            "Anchore refuses to analyze it: "
            'Must include either "tag", "tag" and "digest", or "source" property in body',
        ),
        other=NEVER_SENT,
    ),
    Case("210", submit("5"), BAD_QUESTION, other=NEVER_SENT),
    Case("211", submit(WEB_TAG), held(WEB, ANALYZED, WEB_TAG, demo("web:stable")), other=NEVER_SENT),
    Case("212", submit(WEB_TAG), held(WEB, NOT_ANALYZED, WEB_TAG)),
    Case("220", submit(demo("web:pinned"), WEB_1_1), held(WEB_1_1, ANALYZED, demo("web:1.1"), demo("web:pinned"))),
    Case(
        "221",
        submit(demo("web:srcpinned"), WEB),
        held(WEB, ANALYZED, WEB_TAG, demo("web:srcpinned"), demo("web:stable")),
    ),
    Case("222", submit(demo("web:latest")), held(WEB, ANALYZED, *WEB_TAGS)),
    Case("223", submit(demo("web:pinned2"), NONE), NO_SUCH_IMAGE),
    Case("224", submit(demo("other:pinned"), WEB), NO_SUCH_IMAGE, other="the digest of another repository"),
    Case("226", by_digest(WEB), held(WEB, ANALYZED, *WEB_TAGS)),
    Case("230", submit(demo("roll")), held(ROLL_A, NOT_ANALYZED, demo("roll:latest"))),
    Case("231", by_tag(demo("roll")), None),
    Case("240", submit("testalpine"), held(WEB, ANALYZED, *WEB_TAGS, HUB[0])),
    Case("241", submit("library/testalpine:latest"), held(WEB, ANALYZED, *WEB_TAGS, *HUB)),
    Case("242", submit("docker.io/library/testalpine:latest"), held(WEB, ANALYZED, *WEB_TAGS, *HUB)),
    Case(
        "243",
        submit("acme/tool:2"),
        held(WEB_1_1, ANALYZED, demo("web:1.1"), demo("web:pinned"), "docker.io/acme/tool:2"),
    ),
    Case("250", by_tag("testalpine"), None),
    Case("251", by_tag("testalpine:latest"), None),
    Case("252", by_tag("docker.io/testalpine:latest"), held(WEB, ANALYZED, *WEB_TAGS, *HUB)),
    Case("253", by_tag("library/testalpine:latest"), None),
    Case("254", by_tag("docker.io/library/testalpine:latest"), held(WEB, ANALYZED, *WEB_TAGS, *HUB)),
    Case("255", by_tag("index.docker.io/library/testalpine:latest"), None),
    Case("256", by_tag("registry-1.docker.io/library/testalpine:latest"), None),
    Case("257", by_tag("Docker.io/testalpine:latest"), None),
    Case("258", submit("library/no-such-image:1"), NO_SUCH_IMAGE),
    Case("259", submit("index.docker.io/library/testalpine:latest"), held(WEB, ANALYZED, *WEB_TAGS, *HUB, INDEX_TAG)),
    Case(
        "270",
        submit(WEB_TAG),
        held(WEB, NOT_ANALYZED, *WEB_TAGS, *HUB, INDEX_TAG, arch="amd64"),
        other="with options that are never sent",
    ),
    Case("271", by_digest(WEB), held(WEB, NOT_ANALYZED, *WEB_TAGS, *HUB, INDEX_TAG, arch="amd64")),
    Case(
        "273",
        submit(WEB_TAG),
        held(WEB, ANALYZED, *WEB_TAGS, *HUB, INDEX_TAG),
        other="with options that are never sent",
    ),
    Case("300", by_tag(demo("roll:latest")), held(ROLL_A, ANALYZED, demo("roll:latest"))),
    Case("301", submit(demo("roll:latest")), held(ROLL_B, NOT_ANALYZED, demo("roll:latest"))),
    Case("302", by_tag(demo("roll:latest")), held(ROLL_B, NOT_ANALYZED, demo("roll:latest"))),
    Case("303", by_tag(demo("roll:latest")), held(ROLL_A, ANALYZED, demo("roll:latest")), other="filtered, too"),
    Case("304", by_tag(demo("roll:latest")), held(ROLL_B, ANALYZED, demo("roll:latest"))),
    Case("305", by_tag(demo("roll:latest")), held(ROLL_B, ANALYZED, demo("roll:latest")), other="filtered, too"),
    Case("306", by_digest(ROLL_A), held(ROLL_A, ANALYZED, demo("roll:latest"))),
    Case("308", submit(demo("roll:latest")), held(ROLL_A, ANALYZED, demo("roll:latest"))),
    Case("309", by_tag(demo("roll:latest")), held(ROLL_B, ANALYZED, demo("roll:latest"))),
    Case("310", by_tag(demo("roll:latest")), held(ROLL_B, ANALYZED, demo("roll:latest")), other="filtered, too"),
    Case("320", submit(demo("multi:1.0")), held(CHILD, NOT_ANALYZED, demo("multi:1.0"), parent=LIST)),
    Case("321", by_digest(CHILD), held(CHILD, ANALYZED, demo("multi:1.0"), parent=LIST)),
    Case("322", by_digest(LIST), held(CHILD, ANALYZED, demo("multi:1.0"), parent=LIST)),
    Case("323", by_tag(demo("multi:1.0")), held(CHILD, ANALYZED, demo("multi:1.0"), parent=LIST)),
    Case(
        "328",
        submit(demo("multi:bylist"), LIST),
        held(CHILD, ANALYZED, demo("multi:1.0"), demo("multi:bylist"), parent=LIST),
    ),
    Case(
        "329",
        submit(demo("ocimulti:1.0")),
        held(
            "sha256:5e301ee29b70cf16a5a9ba5b88ba0733cddd7413f6ff1597463f7c4edbaa6a9b",
            NOT_ANALYZED,
            demo("ocimulti:1.0"),
        ),
    ),
    Case(
        "330",
        submit(demo("ociweb:1.0")),
        held(
            "sha256:c781491d70cae5c621692d6a16ad35aaef17fa968925a975971ffc74870191a7", NOT_ANALYZED, demo("ociweb:1.0")
        ),
    ),
    Case("340", submit(demo("broken:1.0")), held(BROKEN, NOT_ANALYZED, demo("broken:1.0"))),
    Case("341", by_digest(BROKEN), held(BROKEN, FAILED, demo("broken:1.0"))),
    Case("342", by_tag(demo("broken:1.0")), held(BROKEN, FAILED, demo("broken:1.0"))),
    Case("344", submit(demo("broken:1.0")), held(BROKEN, NOT_ANALYZED, demo("broken:1.0"))),
    Case("350", submit("onlyshort:1"), held(WEB, ANALYZED, *WEB_TAGS, *HUB, INDEX_TAG, ONLY_SHORT)),
    Case("351", by_tag("docker.io/onlyshort:1"), held(WEB, ANALYZED, *WEB_TAGS, *HUB, INDEX_TAG, ONLY_SHORT)),
    Case("352", by_tag("docker.io/library/onlyshort:1"), None),
    Case("353", submit("docker.io/library/onlylong:1"), held(WEB, ANALYZED, *ALL_TAGS)),
    Case("354", by_tag("onlylong:1"), None),
    Case(
        "355",
        by_tag("docker.io/library/onlylong:1"),
        held(WEB, ANALYZED, *ALL_TAGS),
        other="a name without its registry was given",
    ),
    Case("360", by_tag(WEB_TAG), held(WEB, ANALYZED, *ALL_TAGS), other=EVERY),
    Case("400", submit(WEB_TAG), held(WEB, NOT_ANALYZED, WEB_TAG)),
    Case("401", by_tag(WEB_TAG), held(WEB, ANALYZED, WEB_TAG)),
    Case("402", by_tag(WEB_TAG), held(WEB, ANALYZED, WEB_TAG)),
    Case("405", by_digest(WEB), held(WEB, ANALYZED, WEB_TAG)),
    Case("420", submit(demo("big:1.0")), held(BIG, NOT_ANALYZED, demo("big:1.0"))),
    Case("422", by_digest(BIG), held(BIG, ANALYZED, demo("big:1.0"))),
    Case("432", by_digest(ROLL_A), None),
    Case("433", by_tag(demo("roll:latest")), held(ROLL_B, ANALYZED, demo("roll:latest"))),
    Case("437", by_digest(BROKEN), None),
    Case("438", by_tag(WEB_TAG), held(WEB, ANALYZED, *ALL_TAGS), other=EVERY),
    Case("441", by_tag(WEB_TAG), refused(AnchoreRefused, f"{FORBIDDEN} Account team-b not enabled."), other=EVERY),
    Case("442", submit(WEB_TAG), refused(AnchoreRefused, f"{FORBIDDEN} Account team-b not enabled.")),
    Case("443", by_tag(WEB_TAG), None, other=EVERY),
    Case("450", by_digest(ROLL_A), None),
    Case("475", by_tag(WEB_TAG), held(WEB, ANALYZED, *ALL_TAGS), other=EVERY),
    Case("477", by_digest("sha256:041F9806415E0BDD35072739CD96EF000FC600F90DBC4BDC20457083CE96D719"), None),
    Case("478", by_tag("127.0.0.1:5000/Demo/web:1.0"), None),
    Case("479", by_tag("127.0.0.1/demo/web:1.0"), None),
    Case("480", by_tag("localhost:5000/demo/web:1.0"), None),
    Case("490", by_tag(demo("roll:latest")), held(ROLL_A, ANALYZED, demo("roll:latest"))),
    Case("503", by_digest(WEB), held(WEB, ANALYZED, *ALL_TAGS)),
    Case("504", by_tag(WEB_TAG), held(WEB, ANALYZED, *ALL_TAGS)),
    Case("505", submit(WEB_TAG), held(WEB, ANALYZED, *ALL_TAGS)),
    Case("520", by_digest(WEB), BROKEN_INSIDE),
    Case("521", by_tag(WEB_TAG), BROKEN_INSIDE),
    Case("523", submit(WEB_TAG), BROKEN_INSIDE),
    Case("530", submit(WEB_TAG), held(WEB, ANALYZED, *ALL_TAGS)),
    Case("531", submit(WEB_TAG), REGISTRY_DOWN),
    Case("532", by_tag(WEB_TAG), held(WEB, ANALYZED, *ALL_TAGS)),
    Case("540", by_digest(WEB), UNAUTHORIZED),
    Case("541", by_tag(WEB_TAG), UNAUTHORIZED),
    Case("543", submit(WEB_TAG), UNAUTHORIZED),
    Case("546", by_tag(WEB_TAG), UNAUTHORIZED, other=EVERY),
    Case("550", submit(demo("race:5")), BROKEN_INSIDE),
    Case("551", submit(demo("race:5")), BROKEN_INSIDE),
    Case(
        "552",
        submit(demo("race:5")),
        held("sha256:365de033de60a3368813a1678606958324b78d17c3cb6a4e5f246bd8d0be6e23", NOT_ANALYZED, demo("race:5")),
    ),
]


@pytest.mark.parametrize("case", parameters(CASES))
async def test_client_reads_recorded_responses_of_anchore_engine(case: Case) -> None:
    await replay(case)


@pytest.mark.parametrize("number", ["164", "165", "166", "324", "325"])
async def test_a_digest_in_the_place_of_a_tag_is_never_looked_up(number: str) -> None:
    anchore = client(None)
    with pytest.raises(ValueError, match="not a full tag"):
        await anchore.by_tag(recording(number)["request"]["query"]["fulltag"], deadline())


@pytest.mark.parametrize("number", ["208", "225"])
async def test_a_digest_in_the_place_of_a_tag_is_never_submitted(number: str) -> None:
    anchore = client(None)
    with pytest.raises(ValueError, match="not a full tag"):
        await anchore.submit(AnalysisRequest(recording(number)["request"]["body"]["tag"]), deadline())


async def test_times_of_tags_are_kept() -> None:
    record = await by_digest(WEB)(replaying("161"))
    assert isinstance(record, ImageRecord)
    assert record.tags == (TagRow(WEB_TAG, "2026-11-23T11:49:36Z"), TagRow(demo("web:stable"), "2026-11-23T11:49:55Z"))


@pytest.mark.parametrize(
    ("number", "moment"), [("101", ""), ("105", ""), ("110", "2026-11-23T11:49:44Z"), ("161", "2026-11-23T11:49:44Z")]
)
async def test_the_time_of_the_analysis_is_kept(number: str, moment: str) -> None:
    record = await by_digest(WEB)(replaying(number))
    assert isinstance(record, ImageRecord)
    assert record.analyzed_at == moment
