"""Programs that are not Python's: helm, kubectl, kubeconform, opa, promtool.

`make programs` builds them for the cluster of the end-to-end tests; those on the path serve as well.
"""

import os
import shutil

from e2e.cluster.places import TOOLS
from e2e.cluster.programs import CLUSTER, search_path

KUBERNETES_VERSION = next(source.version for source in CLUSTER if source.name == "kubernetes")
"""The version that the end-to-end tests run on."""
SEARCH_PATH = os.pathsep.join([search_path(), str(TOOLS)])


def find(name: str) -> str | None:
    """Return the path of a program, if it is here."""
    return shutil.which(name, path=SEARCH_PATH)
