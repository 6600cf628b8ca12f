"""Answers of the double and the several shapes in which the MESH service words an error."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .bodies import EMPTY, Body, Memory

V2_TYPE = "application/vnd.mesh.v2+json"
JSON_TYPE = "application/json"

SOAP_FAULT = (
    b'<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope '
    b'xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Body><SOAP-ENV:Fault>'
    b"<faultcode>SOAP-ENV:Server</faultcode><faultstring>The service is not available</faultstring>"
    b"</SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>"
)
HTML_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Gateway error</h1></body></html>"


@dataclass
class Answer:
    """Status, headers and body of one answer; the server adds Date, Content-Length and Connection."""

    status: int
    headers: list[tuple[str, str | bytes]] = field(default_factory=list)
    body: Body = EMPTY

    def header(self, name: str) -> str | bytes | None:
        """The first value of a header, or None."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)

    def set_header(self, name: str, value: str | bytes | None) -> None:
        """Replace a header; None removes it."""
        self.headers = [(known, held) for known, held in self.headers if known.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))


class Refusal(Exception):
    """The service refuses a request with a MESH error body."""

    def __init__(self, status: int, event: str, code: str, message: str, *, message_id: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.status, self.event, self.code, self.message = status, event, code, message
        self.message_id = message_id
        self.reason = reason or f"{code or event}: {message}".strip(": ")

    def answer(self, version: int) -> Answer:
        """The answer in the wording of API version 1 or 2."""
        return mesh_error(self.status, version, self.event, self.code, self.message, self.message_id)


class Invalid(Refusal):
    """The service refuses a request with a validation body (400; the same in every API version)."""

    def __init__(self, problems: Iterable[tuple[str, str, str]]) -> None:
        self.problems = list(problems)
        super().__init__(400, "", "validation", "; ".join(f"{name}: {text}" for _, name, text in self.problems))

    def answer(self, version: int) -> Answer:
        """The answer, with one entry per problem."""
        return validation_error(self.problems)


def json_answer(status: int, content: Any, *, version: int = 1) -> Answer:
    """A JSON answer with the content type of the API version."""
    kind = V2_TYPE if version >= 2 else JSON_TYPE
    return Answer(status, [("Content-Type", kind)], Memory(json.dumps(content).encode()))


def mesh_error(status: int, version: int, event: str, code: str, message: str, message_id: str = "") -> Answer:
    """An error body of API version 1 or 2 (MESH API specification, MeshError)."""
    content: dict[str, Any]
    if version >= 2:
        content = {"detail": [{"event": event, "code": code, "msg": message}]}
        if message_id:
            content["message_id"] = message_id
    else:
        content = {"errorEvent": event, "errorCode": code, "errorDescription": message}
        if message_id:
            content["messageID"] = message_id
    return json_answer(status, content, version=version)


def validation_error(problems: Iterable[tuple[str, str, str]]) -> Answer:
    """A validation body (MESH API specification, HTTPValidationError): (place, name, text) per problem."""
    details = [{"type": "value_error", "loc": [place, name], "msg": text} for place, name, text in problems]
    return json_answer(400, {"detail": details})


def canned(status: int, body: str, *, version: int, event: str, code: str, message: str) -> Answer:
    """An error answer for fault injection.

    ``body``: ``auto`` (the version asked for), ``v1``, ``v2``, ``validation``, ``string`` (``detail`` is a text),
    ``soap``, ``html``, ``text`` (``message`` itself), ``empty``. Raises ValueError for another.
    """
    match body:
        case "auto":
            return mesh_error(status, version, event, code, message)
        case "v1":
            return mesh_error(status, 1, event, code, message)
        case "v2":
            return mesh_error(status, 2, event, code, message)
        case "validation":
            answer = validation_error([("header", "mex-to", message)])
            answer.status = status
            return answer
        case "string":
            return json_answer(status, {"detail": message})
        case "soap":
            return Answer(status, [("Content-Type", "text/xml; charset=UTF-8")], Memory(SOAP_FAULT))
        case "html":
            return Answer(status, [("Content-Type", "text/html")], Memory(HTML_PAGE))
        case "text":
            return Answer(status, [("Content-Type", "text/plain")], Memory(message.encode()))
        case "empty":
            return Answer(status)
    raise ValueError(f"unknown body {body!r}")
