"""The official mesh-client as a program. Run by the Python of the sandbox's virtual environment: it imports nothing of ours.

Standard input: one JSON object with ``url, ca, cert, key, mailbox, password, shared_key`` and ``do``:
``send`` (path, recipient, workflow, options, chunk, compress) prints the message id;
``read`` (message_id, path) writes the body to a file, acknowledges, and prints the headers and the content type.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# In the sandbox's environment, where the type checker does not look.
import mesh_client


def client_of(given: dict[str, Any]) -> Any:
    return mesh_client.MeshClient(
        given["url"],
        given["mailbox"],
        given["password"],
        shared_key=given["shared_key"].encode(),
        cert=(given["cert"], given["key"]),
        verify=given["ca"],
        transparent_compress=bool(given.get("compress")),
        max_chunk_size=given.get("chunk") or 75 * 1024 * 1024,
    )


def send(client: Any, given: dict[str, Any]) -> dict[str, Any]:
    with Path(given["path"]).open("rb") as body:
        message_id = client.send_message(given["recipient"], body, workflow_id=given["workflow"], **given.get("options", {}))
    return {"message_id": message_id}


def read(client: Any, given: dict[str, Any]) -> dict[str, Any]:
    message = client.retrieve_message(given["message_id"])
    with Path(given["path"]).open("wb") as kept:
        while block := message.read(1024 * 1024):
            kept.write(block)
    headers = dict(message.mex_headers())
    message.acknowledge()
    return {"headers": headers, "content_type": message.content_type}


def main() -> None:
    given = json.load(sys.stdin)
    client = client_of(given)
    try:
        with client:
            answer = {"send": send, "read": read}[given["do"]](client, given)
    except mesh_client.MeshError as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
