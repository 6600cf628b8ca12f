"""What a refusal says, in every shape that MESH and what stands before it have: class, status, event, code, description."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from meshportal.mesh import MeshClient, errors
from meshportal.mesh.answers import ERROR_BODY_LIMIT
from meshportal.mesh.errors import safe_text
from meshportal.mesh.parse import RAW_LIMIT, parse_error
from tests.double import Double, faults
from tests.double.answers import HTML_PAGE, SOAP_FAULT

from .conftest import AsClient, Raw
from .raw import answer

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Shape:
    body: bytes
    kind: str
    event: str = ""
    code: str = ""
    description: str = ""
    message_id: str = ""


def as_json(content: Any) -> bytes:
    return json.dumps(content).encode()


V2 = {"detail": [{"event": "SEND", "code": "12", "msg": "Unregistered to address"}], "message_id": "M1"}
SHAPES: dict[str, Shape] = {
    "v1": Shape(
        as_json({"messageID": "M1", "errorEvent": "SEND", "errorCode": "12", "errorDescription": "Unregistered to address"}),
        *("v1", "SEND", "12", "Unregistered to address", "M1"),
    ),
    "v1 numbers": Shape(as_json({"errorCode": 12, "errorEvent": None, "errorDescription": None}), "v1", "", "12"),
    "v2": Shape(as_json(V2), "v2", "SEND", "12", "Unregistered to address", "M1"),
    "v2 with a mark": Shape(b"\xef\xbb\xbf" + as_json(V2), "v2", "SEND", "12", "Unregistered to address", "M1"),
    "v2 auth": Shape(
        as_json({"detail": [{"event": "", "code": "", "msg": "Invalid Authentication Token"}]}),
        *("v2", "", "", "Invalid Authentication Token"),
    ),
    "v2 several": Shape(
        as_json({"detail": [{"event": "A", "code": "1", "msg": "one"}, {"event": "B", "code": "2", "msg": "two"}]}),
        *("v2", "A", "1", "one; two"),
    ),
    "v2 not a list": Shape(as_json({"detail": {"event": "A", "code": "1", "msg": "one"}}), "v2", "A", "1", "one"),
    "validation": Shape(
        as_json({"detail": [{"type": "missing", "loc": ["header", "mex-to"], "msg": "Field required", "input": "SECRET"}]}),
        *("validation", "", "validation", "header.mex-to: Field required"),
    ),
    "validation two": Shape(
        as_json({"detail": [{"loc": ["query", 0], "msg": "bad"}, {"loc": "odd", "msg": "worse"}]}),
        *("validation", "", "validation", "query.0: bad; worse"),
    ),
    "string detail": Shape(as_json({"detail": "Not Found"}), "text", "", "", "Not Found"),
    "message": Shape(as_json({"message": "An internal error occurred"}), "text", "", "", "An internal error occurred"),
    "a string": Shape(b'"just words"', "text", "", "", "just words"),
    "soap": Shape(SOAP_FAULT, "xml", "", "", "The service is not available"),
    "soap 1.2": Shape(
        b"<e:Envelope><e:Body><e:Fault><e:Code><e:Value>x</e:Value></e:Code><e:Reason>"
        b"<e:Text xml:lang='en'>It &amp; failed</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>",
        *("xml", "", "", "It & failed"),
    ),
    "other xml": Shape(b"<Error><Code>SlowDown</Code><Message>Less</Message></Error>", "xml", "", "", "SlowDown Less"),
    "html": Shape(HTML_PAGE, "html", "", "", "Error Gateway error"),
    "html with script": Shape(
        b"<html><style>p{}</style><script>if (a<b) steal()</script><!-- <b>no</b> --><p>Only &lt;this&gt;</p></html>",
        *("html", "", "", "Only <this>"),
    ),
    "empty": Shape(b"", "empty"),
    "blank": Shape(b" \r\n\t ", "empty"),
    "garbage list": Shape(b"[1, null, [], {}]", "raw", "", "", "[1, null, [], {}]"),
    "detail of garbage": Shape(as_json({"detail": [1, None, "x", [2]]}), "raw", "", "", '{"detail": [1, null, "x", [2]]}'),
    "empty detail": Shape(as_json({"detail": []}), "raw", "", "", '{"detail": []}'),
    "null": Shape(b"null", "raw", "", "", "null"),
    "number": Shape(b"42", "raw", "", "", "42"),
    "broken json": Shape(b'{"detail": [{"event"', "raw", "", "", '{"detail": [{"event"'),
    "deep json": Shape(b"[" * 5000, "raw", "", "", "[" * RAW_LIMIT),
    "words": Shape(b"upstream connect error", "raw", "", "", "upstream connect error"),
    "latin-1": Shape("Störung".encode("latin-1"), "raw", "", "", "St\ufffdrung"),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_read(name: str) -> None:
    shape = SHAPES[name]
    found = parse_error(shape.body)
    assert (found.kind, found.event, found.code, found.description, found.message_id) == (
        *(shape.kind, shape.event, shape.code, shape.description, shape.message_id),
    )


KINDS: dict[int, type[errors.ResponseError]] = {
    300: errors.NotUnique,
    400: errors.BadRequest,
    403: errors.AuthenticationFailed,
    404: errors.NotFound,
    410: errors.Gone,
    417: errors.Refused,
    500: errors.ServerError,
    503: errors.Unavailable,
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("status", KINDS)
def test_every_shape_with_every_status(raw: Raw, as_client: AsClient, status: int, packed: bool) -> None:
    for shape in SHAPES.values():
        body = gzip.compress(shape.body) if packed else shape.body
        headers = {"Content-Encoding": "gzip"} if packed else {}
        server = raw(answer(status, body, headers))
        with pytest.raises(errors.ResponseError) as caught:
            as_client(server.url).track("T1")
        said = caught.value
        foreign = (shape.kind == "html" and status < 500) or (shape.kind in ("raw", "xml") and status in (404, 410))
        assert type(said) is (errors.UnexpectedAnswer if foreign else KINDS[status]), shape
        assert (said.status, said.event, said.code, said.description) == (*(status, shape.event, shape.code, shape.description),)
        assert said.message_id == (shape.message_id or "T1")
        assert "SECRET" not in str(said)
        assert "\n" not in str(said)
        if shape.kind in ("html", "xml", "raw", "empty"):
            # A stranger's words are for the screen, never for the log.
            assert not shape.description or shape.description not in str(said)
        elif shape.description:
            assert shape.description in str(said)


def test_the_sentence(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(417, as_json(V2)))
    with pytest.raises(errors.Refused) as caught:
        as_client(server.url).track("T1")
    assert str(caught.value) == "MESH answered 417 (SEND 12): Unregistered to address"
    assert repr(caught.value) == "Refused('MESH answered 417 (SEND 12): Unregistered to address')"


def test_a_huge_error_is_not_read_to_its_end(raw: Raw, as_client: AsClient) -> None:
    sent: list[int] = []

    def pour(connection: Any) -> None:
        connection.sendall(answer(417, b"words ", length=50_000_000))
        try:
            for _ in range(500):
                connection.sendall(b"x" * 100_000)
                sent.append(100_000)
        except OSError:
            pass

    server = raw(pour)
    begun = time.monotonic()
    with pytest.raises(errors.Refused) as caught:
        as_client(server.url).track("T1")
    assert time.monotonic() - begun < 2
    assert caught.value.description.startswith("words xxx")
    assert len(caught.value.description) == RAW_LIMIT
    assert sum(sent) < 40_000_000


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b" " * 10_000_000 + b"late"), gzip.compress(b"a" * 10_000_000), gzip.compress(b"cut off here")[:-9]],
    ids=["blanks", "letters", "cut"],
)
def test_a_gzip_bomb_or_cut_gzip_as_an_error(raw: Raw, as_client: AsClient, body: bytes) -> None:
    server = raw(answer(500, body, {"Content-Encoding": "gzip"}))
    with pytest.raises(errors.ServerError) as caught:
        as_client(server.url).track("T1")
    assert len(caught.value.description) <= RAW_LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "x-gzip"])
def test_an_encoding_that_is_a_lie_hides_no_status(raw: Raw, as_client: AsClient, encoding: str) -> None:
    server = raw(answer(417, as_json(V2), {"Content-Encoding": encoding}))
    with pytest.raises(errors.Refused):
        as_client(server.url).track("T1")


def test_a_cut_error_body_hides_no_status(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(417, as_json(V2)[:-9], length=5000))
    with pytest.raises(errors.Refused) as caught:
        as_client(server.url).track("T1")
    assert caught.value.status == 417


CERTIFICATE_PAGES = [
    b"<html>\r\n<head><title>400 No required SSL certificate was sent</title></head>\r\n<body>no</body></html>",
    b"<html>\r\n<head><title>400 The SSL certificate error</title></head>\r\n<body>no</body></html>",
    b"<!DOCTYPE html><html><body>client certificate revoked</body></html>",
]


@pytest.mark.parametrize("page", CERTIFICATE_PAGES)
@pytest.mark.parametrize("status", [400, 403, 495, 496])
def test_the_page_that_refuses_a_certificate(raw: Raw, as_client: AsClient, status: int, page: bytes) -> None:
    server = raw(answer(status, page, {"Content-Type": "text/html"}))
    with pytest.raises(errors.ClientCertificateRefused) as caught:
        as_client(server.url).inbox_page()
    assert caught.value.misconfigured
    assert not caught.value.retryable
    assert caught.value.status == status
    assert len(server.requests) == 1


def test_an_empty_error_under_a_page_is_a_page(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(404, b"", {"Content-Type": "text/html"}))
    with pytest.raises(errors.UnexpectedAnswer):
        as_client(server.url).head("M1")


@pytest.mark.parametrize(
    "hostile",
    [
        b"<html" + b"<" * ERROR_BODY_LIMIT,
        b"<html>" + b"<!--" * (ERROR_BODY_LIMIT // 4),
        b"<html>" + b"<script>" * (ERROR_BODY_LIMIT // 8),
        b"<html>" + b"<style " * (ERROR_BODY_LIMIT // 7),
        b"<x>" + b"<Text>" * (ERROR_BODY_LIMIT // 6),
        b"<x>" + b"<Text " * (ERROR_BODY_LIMIT // 6),
        b"<x><" + b"a" * ERROR_BODY_LIMIT,
        b"<" + b"a:" * (ERROR_BODY_LIMIT // 2),
        b" " * ERROR_BODY_LIMIT + b"x",
        b"&lt;" * (ERROR_BODY_LIMIT // 4),
        b"<html>" + b"GPPROVIDER_" * (ERROR_BODY_LIMIT // 11),
    ],
    ids=lambda body: repr(body[:16]),
)
def test_no_error_body_keeps_us_busy(hostile: bytes) -> None:
    """Markup is an answer's, so anybody's: reading it must cost time in proportion to its length."""
    begun = time.process_time()
    found = parse_error(hostile[:ERROR_BODY_LIMIT])
    safe_text(found.description)
    assert time.process_time() - begun < 0.25
    assert len(found.description) <= RAW_LIMIT


def test_what_looks_like_a_patient_is_not_in_the_sentence(double: Double, client: MeshClient) -> None:
    said = "No match for GPPROVIDER_9434765919_01012000_Smith or 943 476 5919 or 943-476-5919\nin line 2\u2028x"
    double.faults.add(match={"route": "track"}, action=faults.status(417, message=said))
    with pytest.raises(errors.Refused) as caught:
        client.track("T1")
    assert str(caught.value) == "MESH answered 417 (RECEIVE): No match for [hidden] or [hidden] or [hidden] in line 2 x"
    assert caught.value.description == said


def test_every_class_says_something_and_judges() -> None:
    def descendants(kind: type[errors.MeshError]) -> list[type[errors.MeshError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in descendants(child))]

    tree = errors.__doc__ or ""
    for kind in descendants(errors.MeshError):
        assert kind.__name__ in tree
        assert str(kind()).strip()
        line = next(line for line in tree.splitlines() if kind.__name__ in line.split())
        if kind not in (errors.MeshError, errors.ConnectionFailed, errors.ConnectionLost):
            inherited = kind.retryable and not kind.__dict__.get("retryable", False)
            assert inherited or kind.retryable is ("(retryable" in line), kind
            assert kind.misconfigured is ("misconfigured" in line) or kind is errors.TrustBundleUnusable, kind
        assert not (kind.retryable and kind.misconfigured)
