#!/usr/bin/env python3
"""Adds the Python interpreter to a bill of materials: ``interpreter.py FILE VERSION``.

syft 1.18, the newest that PyPI has, does not recognise an interpreter from 3.13 on, and a vulnerability in it must not
go unseen.
"""

import json
import sys
from pathlib import Path


def main(file: Path, version: str) -> None:
    bill = json.loads(file.read_text())
    purl = f"pkg:generic/python@{version}"
    component = {
        "bom-ref": purl,
        "type": "application",
        "name": "python",
        "version": version,
        "purl": purl,
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
        "licenses": [{"license": {"id": "PSF-2.0"}}],
    }
    if all(known.get("purl") != purl for known in bill["components"]):
        bill["components"].append(component)
        file.write_text(json.dumps(bill, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
