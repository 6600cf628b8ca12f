"""The few facts of a FHIR message that pairing needs: how it names itself, what it answers, and how.

HL7 FHIR STU3, Messaging: a response names the request in MessageHeader.response.identifier, with a code ok,
transient-error or fatal-error. Nothing is expanded or fetched: a document type ends the reading. Nothing raises: what
cannot be read says nothing. Time and memory are linear in a body of at most :data:`LIMIT` bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from meshportal.web.masking import mask_numbers

LIMIT = 4 * 1024 * 1024
_DEEPEST = 40
_MOST_FACTS = 200
_LONGEST = 255
_HEADER = ("Bundle", "entry", "resource", "MessageHeader")
_OUTCOME = ("Bundle", "entry", "resource", "OperationOutcome", "issue")
_NAMES = (("Bundle", "id"), ("Bundle", "identifier", "value"), (*_HEADER, "id"))
_ANSWERS = (*_HEADER, "response", "identifier")
_RESPONSE = (*_HEADER, "response", "code")
_ISSUE = (*_OUTCOME, "details", "coding", "code")
_WANTED = frozenset({*_NAMES, _ANSWERS, _RESPONSE, _ISSUE})
_CODE = re.compile(r"[A-Za-z0-9._-]{1,40}")

Path = tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """``names``: how the body names itself. ``answers``: what it answers, '' when it does not say or says several.
    ``response``: the code of the response. ``codes``: those of its outcome, such as ITK3's 30001."""

    names: frozenset[str] = frozenset()
    answers: str = ""
    response: str = ""
    codes: tuple[str, ...] = ()


class _Unreadable(Exception):
    """No FHIR message, or one that asks for more than a reader should do."""


def read(body: bytes) -> Said:
    """What ``body`` says; nothing when it is no FHIR message, is too large, or is hostile."""
    if len(body) > LIMIT:
        return Said()
    start = body[:200].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    try:
        if start == b"<":
            facts = _xml(body)
        elif start == b"{":
            facts = list(_json(body))
        else:
            return Said()
    except (_Unreadable, expat.ExpatError, ValueError, LookupError, RecursionError):
        return Said()
    answers = {value for path, value in facts if path == _ANSWERS}
    responses = {value for path, value in facts if path == _RESPONSE}
    codes = dict.fromkeys(value for path, value in facts if path == _ISSUE and _CODE.fullmatch(value))
    return Said(
        names=frozenset(_name(value) for path, value in facts if path in _NAMES) - {""},
        answers=_name(answers.pop()) if len(answers) == 1 else "",
        response=responses.pop() if len(responses) == 1 else "",
        codes=tuple(codes),
    )


def _name(value: str) -> str:
    """An identifier to compare by; '' for one too long, or that could hold a patient's number."""
    name = value.strip().removeprefix("urn:uuid:").lower()
    return "" if len(name) > _LONGEST or "\x00" in name or mask_numbers(name) != name else name


class _Xml:
    def __init__(self) -> None:
        self.facts: list[tuple[Path, str]] = []
        self._path: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name.rpartition(":")[2])
        if len(self._path) > _DEEPEST:
            raise _Unreadable
        path = tuple(self._path)
        if path in _WANTED and "value" in attributes:
            self.facts.append((path, attributes["value"]))
            if len(self.facts) > _MOST_FACTS:
                raise _Unreadable

    def end(self, _name: str) -> None:
        self._path.pop()


def _refuse(*_rest: Any) -> Any:
    raise _Unreadable


def _xml(body: bytes) -> list[tuple[Path, str]]:
    found = _Xml()
    parser = expat.ParserCreate()
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = found.start
    parser.EndElementHandler = found.end
    parser.Parse(body, True)
    return found.facts


def _json(body: bytes) -> Iterator[tuple[Path, str]]:
    """The same paths as the XML form has: there a resource's type is an element around it."""
    waiting: list[tuple[Path, Any]] = [((), json.loads(body))]
    facts = 0
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(kind := value.get("resourceType"), str):
                path = (*path, kind)
            if len(path) <= len(_ISSUE):
                waiting.extend(((*path, name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            waiting.extend((path, inner) for inner in value)
        elif isinstance(value, str) and path in _WANTED:
            facts += 1
            if facts > _MOST_FACTS:
                raise _Unreadable
            yield path, value
