"""From a refusal's status and body to the error that it is."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from datetime import datetime

from meshportal.mesh import errors
from meshportal.mesh.parse import ErrorBody, parse_error, retry_after

_BY_STATUS: Mapping[int, type[errors.ResponseError]] = {
    300: errors.NotUnique,
    400: errors.BadRequest,
    401: errors.AuthenticationFailed,
    403: errors.AuthenticationFailed,
    404: errors.NotFound,
    406: errors.Refused,
    410: errors.Gone,
    417: errors.Refused,
    422: errors.Refused,
    423: errors.UploadFinalised,
    425: errors.Throttled,
    429: errors.Throttled,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
}
# nginx answers 400 (its 495 and 496) with "The SSL certificate error" or "No required SSL certificate was sent".
_CERTIFICATE_PAGE = re.compile(r"\b(SSL|client) certificate", re.IGNORECASE)
ERROR_BODY_LIMIT = 64 * 1024


def error_for(status: int, headers: Mapping[str, str], body: bytes, *, message_id: str, now: datetime) -> errors.MeshError:
    """The error of an answer that is no success. ``body`` may be cut; ``now`` is aware."""
    said = parse_error(_plain(body, headers.get("content-encoding", "")))
    web_page = said.kind == "html" or (said.kind == "empty" and _is_html(headers))
    if web_page and status in (400, 403, 495, 496) and _CERTIFICATE_PAGE.search(said.description):
        return errors.ClientCertificateRefused(
            "The server refused our client certificate.", status=status, description=said.description
        )
    kind = _kind(status, said, web_page=web_page)
    return kind(
        "" if said.is_mesh else _sentence(kind, status, said),
        status=status,
        event=said.event,
        code=said.code,
        description=said.description,
        message_id=said.message_id or message_id,
        retry_after=retry_after(headers.get("retry-after"), now),
    )


def _kind(status: int, said: ErrorBody, *, web_page: bool) -> type[errors.ResponseError]:
    if status >= 500:
        return _BY_STATUS.get(status, errors.ServerError)
    kind = _BY_STATUS.get(status, errors.UnexpectedAnswer)
    if web_page and kind is not errors.Throttled:
        return errors.UnexpectedAnswer
    # A wrong address or a proxy also says 404; only MESH's own words may mean that a message is no more.
    if kind in (errors.NotFound, errors.Gone) and said.kind in ("raw", "xml"):
        return errors.UnexpectedAnswer
    return kind


def _sentence(kind: type[errors.ResponseError], status: int, said: ErrorBody) -> str:
    if 300 <= status < 400 and kind is errors.UnexpectedAnswer:
        return f"The server answered with a redirect ({status}), which is not followed."
    what = {"html": "a web page", "xml": "XML", "empty": "no text"}.get(said.kind, "unknown text")
    return f"The server answered {status} with {what}."


def _is_html(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("text/html")


def _plain(body: bytes, encoding: str) -> bytes:
    if encoding.strip().lower() not in ("gzip", "x-gzip"):
        return body
    try:
        return zlib.decompressobj(31).decompress(body, ERROR_BODY_LIMIT)
    except zlib.error:
        return b""
