#!/usr/bin/env python3
"""Adds to a bill of materials what syft does not see in an image: ``interpreter.py BILL ARCHIVE``.

syft 1.18, the newest that PyPI has, does not recognise an interpreter from 3.13 on, and a vulnerability in it must not
go unseen. The image is described by what it is, not by the name of a file.
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
    """As the virtual environment in the image tells it."""
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
