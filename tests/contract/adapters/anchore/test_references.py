"""Every image reference is either readable by Anchore or rejected before a request."""

import pytest

from anchore_admission.core.names import analysis_request, check_tags, lookup_tags
from anchore_admission.core.reference import MAX_TEXT, not_for_anchore, parse
from anchore_admission.errors import AnalysisRefused
from anchore_admission.ports.deadline import Deadline
from support.anchore_stage import BAD_DIGEST, GOOD_DIGEST, LIST_DIGEST, NO_DIGEST, STAGES

_HOSTS = (
    *("", "docker.io/", "index.docker.io/", "registry-1.docker.io/", "REGISTRY.Example.com/", "sha256.io/"),
    *("registry.example.com:443/", "Myorg:5000/", "localhost/", "192.0.2.1:99999/", "a__b.example/"),
    f"{'a' * 60}.{'b' * 60}.example/",
)
_PATHS = ("a", "library/app", "sha256", "a--b/c__d/e.f", "docker.io/app", "images/null", f"a/{'p' * 200}")
_ENDS = (
    *("", ":_X.1-2", f":{'t' * 128}", f":{'a' * 64}"),
    *(f"@{GOOD_DIGEST}", f":1@{BAD_DIGEST}", f"@{LIST_DIGEST}", f"@{NO_DIGEST}"),
)


@pytest.mark.parametrize("version", ["v1 over the sandbox", "v2 over the sandbox"])
async def test_no_reference_brings_about_an_error(version: str) -> None:
    async with STAGES[version]() as stage:
        for text in (host + path + end for host in _HOSTS for path in _PATHS for end in _ENDS):
            reference = parse(text)
            assert len(text) <= MAX_TEXT
            assert not not_for_anchore(reference)
            if reference.digest:
                found = [await stage.anchore.by_digest(reference.digest, Deadline.after(60))]
            else:
                found = [await stage.anchore.by_tag(name, Deadline.after(60)) for name in lookup_tags(reference)]
            for record in filter(None, found):
                for full_tag in check_tags(record, reference):
                    await stage.anchore.check(record.digest, full_tag, None, Deadline.after(60))
            if reference.digest is None:
                with pytest.raises(AnalysisRefused):
                    await stage.anchore.submit(analysis_request(reference), Deadline.after(60))
