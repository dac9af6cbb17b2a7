"""A cold Pod of 1, 4 and 10 images, a sandbox that takes 50 ms per call, against the floor of two round trips."""

import asyncio
import base64
import json
import statistics
import tempfile
import time
from pathlib import Path

from load import drive, pod_review, request
from processes import controller, sandbox

ROUNDS = 15
DELAY = 0.05
SIZES = (1, 4, 10)
_AUTHORIZATION = base64.b64encode(b"admin:foobar").decode()


def seed(images: list[str]) -> str:
    return json.dumps(
        {
            "images": [{"tag": image, "state": "analyzed"} for image in images],
            "faults": [{"mode": "slow", "delay": DELAY}],
        }
    )


async def round_trips(port: int, number: int) -> float:
    """Return the seconds for so many calls to the sandbox, one after another on one open connection."""
    wire = f"GET /v1/status HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Basic {_AUTHORIZATION}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = 0.0
    for call in range(number + 1):
        if call == 1:  # the first call opened the connection
            began = time.perf_counter()
        writer.write(wire)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    seconds = time.perf_counter() - began
    writer.close()
    await writer.wait_closed()
    return seconds


async def measure(anchore: int, port: int, images: list[str]) -> tuple[float, float]:
    """Return the seconds of the floor and of the review; every image is new to this controller."""
    floor = await round_trips(anchore, 2)
    load = await drive(port, [request(port, "/validate?timeout=10s", pod_review(images))], connections=1)
    assert json.loads(load.responses[0])["response"]["allowed"], load.responses[0]
    return floor, load.latencies[0]


def main() -> None:
    fleet = {
        (size, turn): [f"quay.io/bench/app-{size}-{turn}-{n}:1" for n in range(size)]
        for size in SIZES
        for turn in range(ROUNDS + 1)
    }
    configuration: dict[str, object] = {"defaults": {"mode": "strict", "requestAnalysis": False}}
    print(f"cold Pods, strict, sandbox at {DELAY * 1000:.0f} ms per call; medians of {ROUNDS} rounds")
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox(seed([i for images in fleet.values() for i in images]), Path(folder)) as anchore,
    ):
        configuration["anchore"] = {"endpoint": f"http://127.0.0.1:{anchore}"}
        with controller(configuration, Path(folder)) as (_, port, _):
            for size in SIZES:
                pairs = [asyncio.run(measure(anchore, port, fleet[size, turn])) for turn in range(ROUNDS + 1)][1:]
                floor, ours = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
                ratio = statistics.median(b / a for a, b in pairs)
                print(
                    f"  {size:2d} images: floor {floor:6.1f} ms, review {ours:6.1f} ms, "
                    f"ratio {ratio:.2f}   (goal: at most 1.2)"
                )


if __name__ == "__main__":
    main()
