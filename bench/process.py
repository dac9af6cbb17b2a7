"""Resident memory while serving, and the time from start to ready."""

import asyncio
import statistics
import tempfile
from pathlib import Path

from load import drive, pod_review, request
from processes import controller, resident_mib, sandbox

STARTS = 5
REQUESTS = 2000


def main() -> None:
    images = [f"quay.io/bench/app-{n}:1" for n in range(4)]
    body = pod_review(images, size=8192)
    starts: list[float] = []
    resident: list[float] = []
    with tempfile.TemporaryDirectory() as folder, sandbox("images: []\n", Path(folder)) as anchore:
        configuration: dict[str, object] = {
            "anchore": {"endpoint": f"http://127.0.0.1:{anchore}"},
            "defaults": {"mode": "passive"},
        }
        for _ in range(STARTS):
            with controller(configuration, Path(folder)) as (process, port, ready):
                starts.append(ready)
                wires = [request(port, "/validate?timeout=10s", body)] * REQUESTS
                asyncio.run(drive(port, wires, connections=8))
                resident.append(resident_mib(process.pid))
    print(f"process: medians of {STARTS} starts, {REQUESTS} reviews each (passive, against the sandbox)")
    print(f"  start to ready   {statistics.median(starts):6.2f} s    (goal: at most 1.5)")
    print(f"  resident memory  {statistics.median(resident):6.1f} MiB  (goal: at most 90 MB)")


if __name__ == "__main__":
    main()
