import ssl

from anchore_admission.adapters.anchore.endpoint import AnchoreEndpoint, trust
from anchore_admission.adapters.trust import trusting
from support.certificates import pair


def test_authorities_without_a_key_usage_are_believed() -> None:
    for context in (trusting(cadata=pair().authority.decode()), trust(AnchoreEndpoint("https://anchore.example.com"))):
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
