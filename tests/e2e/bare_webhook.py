"""The least that a webhook can cost: uvicorn alone, which admits everything. Run it with port, certificate and key.

With an operation of a JSON patch as well, it changes every object that it is called for.
"""

import base64
import json
import sys
from typing import Any

import uvicorn

patch: dict[str, str] = {}
"""The keys of the response that hold it."""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message.get("more_body"):
            break
    response = {"uid": json.loads(body)["request"]["uid"], "allowed": True, **patch}
    answer = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    port, certificate, key, *operations = sys.argv[1:]
    if operations:
        encoded = base64.b64encode(f"[{operations[0]}]".encode()).decode()
        patch = {"patchType": "JSONPatch", "patch": encoded}
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
