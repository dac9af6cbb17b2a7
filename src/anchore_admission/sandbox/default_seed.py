"""The built-in seed: one image for each state that a controller can meet."""

from anchore_admission.sandbox.seed import Seed
from anchore_admission.sandbox.seed_file import load_seed

DEFAULT_SEED_TEXT = """\
analysisTime: 5
images:
  - tag: docker.io/library/alpine:3.20            # analyzed, nothing found
    distro: alpine
    distroVersion: "3.20"
  - tag: docker.io/library/nginx:1.25             # analyzed, fails the default policy
    findings:
      - {id: CVE-2021-3711, severity: critical, package: openssl, version: 1.1.1d-r3, fix: 1.1.1l-r0, packageType: APKG}
      - {id: CVE-2021-23017, severity: high, package: nginx, version: 1.25.0, packageType: dpkg}
      - {id: CVE-2020-28196, severity: medium, package: krb5, version: 1.17-3, fix: 1.17-3+deb10u1, packageType: dpkg}
  - tag: docker.io/library/redis:7                # analyzed, a warning
    findings:
      - {id: CVE-2022-0001, severity: medium, package: libc6, version: 2.36-9, packageType: dpkg}
  - tag: docker.io/library/postgres:16            # its analysis never ends
    state: analyzing
  - tag: docker.io/library/broken:1               # its analysis fails
    state: analysis_failed
registry:
  - tag: docker.io/library/private:1              # Anchore must not pull it
    error: REGISTRY_PERMISSION_DENIED
"""

DEFAULT_SEED: Seed = load_seed(DEFAULT_SEED_TEXT, "the built-in seed")
