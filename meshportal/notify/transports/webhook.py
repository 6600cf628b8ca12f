"""A signed webhook: the message as JSON, with an HMAC that the receiver checks.

``X-Meshportal-Signature: v1=<hex>`` is HMAC-SHA256 under the channel's secret over ``<X-Meshportal-Timestamp>.<body>``. The
delivery's id is the same at every try, so that a receiver can leave out what it has already.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

from meshportal.notify.transports import web


def send(config: Mapping[str, Any], content: Mapping[str, Any], key: str) -> None:
    """Posts the content as it is, with its id."""
    body = web.encoded({"id": key, "version": 1, **content})
    stamp = str(int(time.time()))
    headers = {
        "X-Meshportal-Delivery": key,
        "X-Meshportal-Timestamp": stamp,
        "X-Meshportal-Signature": f"v1={signature(str(config['secret']), stamp, body)}",
    }
    web.post(str(config["url"]), body, headers)


def signature(secret: str, stamp: str, body: bytes) -> str:
    """What the receiver must come to as well."""
    return hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
