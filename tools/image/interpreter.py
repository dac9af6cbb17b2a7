#!/usr/bin/env python3
"""Add the Python interpreter to a bill of materials: ``interpreter.py BILL ARCHIVE``.

syft 1.18, the newest release on PyPI, does not recognize interpreters from 3.13 on, so that scanners would miss their
vulnerabilities. The bill also names the image by its product instead of the archive's file name.
"""

import json
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

NAME = "anchore-admission"
ENVIRONMENT = "app/pyvenv.cfg"


def main(bill: Path, archive: Path) -> None:
    content = json.loads(bill.read_text())
    components = content["components"]
    interpreter = component(interpreter_version(archive))
    if all(known.get("purl") != interpreter["purl"] for known in components):
        components.append(interpreter)
    (version,) = {it["version"] for it in components if it["name"] == NAME}
    content["metadata"]["component"] |= {"name": NAME, "version": version}
    bill.write_text(json.dumps(content, indent=1))


def interpreter_version(archive: Path) -> str:
    """Return the version that the virtual environment in the image records."""
    with tarfile.open(archive) as image:
        (manifest,) = json.load(image.extractfile("manifest.json"))
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(name)) as layer:
                if ENVIRONMENT in layer.getnames():
                    text = layer.extractfile(ENVIRONMENT).read().decode()
                    return re.search(r"^version = (\S+)$", text, re.MULTILINE)[1]
    raise SystemExit(f"{archive} holds no {ENVIRONMENT}")


def component(version: str) -> dict[str, Any]:
    purl = f"pkg:generic/python@{version}"
    return {
        "bom-ref": purl,
        "type": "application",
        "name": "python",
        "version": version,
        "purl": purl,
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
        "licenses": [{"license": {"id": "PSF-2.0"}}],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
