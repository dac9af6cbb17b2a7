"""The least that a webhook can cost: uvicorn alone, which admits everything. Run it with port, certificate and key.

With an image as well, it adds a container of this image to every Pod that it is called for.
"""

import base64
import json
import sys
from typing import Any

import uvicorn

SIDECAR = "sidecar"
image = ""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message.get("more_body"):
            break
    request = json.loads(body)["request"]
    response = {"uid": request["uid"], "allowed": True, **(injected(request["object"]) if image else {})}
    answer = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def injected(pod: dict[str, Any]) -> dict[str, str]:
    """Return the patch of the response."""
    if any(container["name"] == SIDECAR for container in pod["spec"]["containers"]):
        return {}
    patch = [{"op": "add", "path": "/spec/containers/-", "value": {"name": SIDECAR, "image": image}}]
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}


if __name__ == "__main__":
    port, certificate, key, *images = sys.argv[1:]
    image = next(iter(images), "")
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_keep_alive=110,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
