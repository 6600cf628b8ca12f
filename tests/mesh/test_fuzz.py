"""Random and hostile input to all that reads what MESH says: never another exception than promised, never lost bytes."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshportal.mesh import EndpointMatch, MessageHeaders, Tracking, errors
from meshportal.mesh.answers import error_for
from meshportal.mesh.body import GzipBody, source_of
from meshportal.mesh.errors import safe_text
from meshportal.mesh.exchange import segment, usable
from meshportal.mesh.inflate import BLOCK, Inflater
from meshportal.mesh.parse import (
    RAW_LIMIT,
    error_in,
    flag,
    http_date,
    parse_chunk_range,
    parse_error,
    retry_after,
    timestamp,
    whole_number,
)
from meshportal.mesh.upload import chunk_body, chunk_total, header_value
from meshportal.mesh.wire import decode_headers

pytestmark = pytest.mark.fuzz

# The first draw of a strategy can be slow on a busy machine; that says nothing about what is tested.
quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SAID = st.text(st.characters(), max_size=60)
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())
JSON = st.recursive(
    st.one_of(NUMBERS, SAID),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SAID, inner, max_size=4),
    max_leaves=12,
)
ERROR_KEYS = ["detail", "errorCode", "errorEvent", "errorDescription", "messageID", "message_id", "message", "event", "code"]
ERROR_JSON = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ERROR_KEYS, "msg", "loc"]), inner, max_size=5),
    max_leaves=15,
)
MARKUP = st.lists(
    st.sampled_from(
        ["<", ">", "</", "<!--", "-->", "<html", "<script>", "</script>", "<Text>", "<faultstring", "&lt;", "&#", "x", "İ", " "]
    ),
    max_size=40,
).map("".join)


def deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@quick
@given(
    st.one_of(
        st.binary(max_size=200),
        MARKUP.map(lambda text: ("<" + text).encode()),
        ERROR_JSON.map(lambda content: json.dumps(content).encode()),
    )
)
def test_parse_error_never_raises(body: bytes) -> None:
    found = parse_error(body)
    assert found.kind in ("v1", "v2", "validation", "text", "xml", "html", "raw", "empty")
    assert all(len(part) <= RAW_LIMIT for part in (found.event, found.code, found.description, found.message_id))
    for status in (200, 300, 403, 404, 417, 500, 599):
        error = error_for(status, {"content-encoding": "gzip"}, body, message_id="M1", now=NOW)
        assert isinstance(error, errors.MeshError)
        assert "\n" not in str(error)
        assert len(str(error)) < 1000


@quick
@given(ERROR_JSON)
def test_error_in_never_raises(content: Any) -> None:
    found = error_in(content)
    assert found is None or isinstance(found.description, str)


@pytest.mark.parametrize("depth", [10, 900, 5000])
def test_nests_are_survived(depth: int) -> None:
    for name in ("detail", "errorCode", "message_id"):
        error_in({name: deep(depth)})
        parse_error(f'{{"{name}": {"[" * depth}{"]" * depth}}}'.encode())
    assert Tracking.parse({"status": deep(depth), "message_id": "M1"}).message_id == "M1"
    assert EndpointMatch.parse({"mailbox_id": deep(depth)}) is not None


def test_numbers_of_thousands_of_digits_are_survived() -> None:
    """Python refuses to write them out, and to read them."""
    huge = 10**5000
    assert Tracking.parse({"message_id": huge, "status": huge, "uploadTimestamp": huge, "fileSize": huge}).message_id == ""
    assert EndpointMatch.parse({"mailbox_id": huge}).mailbox_id == ""
    assert error_in({"detail": [{"code": huge, "msg": huge, "loc": [huge]}], "message_id": huge}) is not None
    assert parse_error(b'{"errorCode": ' + b"9" * 5000 + b"}").kind == "raw"
    assert (timestamp(huge), retry_after("9" * 5000, NOW), parse_chunk_range("9" * 5000 + ":1")) == (None, None, None)


@quick
@given(st.dictionaries(st.sampled_from([*(f"mex-{name}" for name in (
    "messageid", "from", "to", "chunk-range", "total-chunks", "statustimestamp", "content-encrypted", "subject")),
    "content-length", "content-encoding"]), SAID))  # fmt: skip
def test_message_headers_never_raise(raw: dict[str, str]) -> None:
    headers = MessageHeaders.parse(raw)
    assert headers.raw == raw
    assert headers.subject == raw.get("mex-subject", "")
    assert headers.chunk_number >= 0 and headers.chunk_total >= 0
    assert repr(headers)


@quick
@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=60)), max_size=6))
def test_header_lines_never_raise(pairs: list[tuple[bytes, bytes]]) -> None:
    headers = decode_headers(pairs)
    assert set(headers) == {name.decode("latin-1").lower() for name, _ in pairs}
    assert repr(MessageHeaders.parse(headers))


TRACKING_KEYS = [
    *("message_id", "messageId", "status", "status_success", "statusSuccess", "status_timestamp", "statusTimestamp"),
    *("upload_timestamp", "expiryTime", "downloadTimestamp", "failureDate", "fileSize", "chunkCount", "local_id", "subject"),
]


@quick
@given(st.dictionaries(st.sampled_from(TRACKING_KEYS), JSON))
def test_tracking_never_raises(record: dict[str, Any]) -> None:
    found = Tracking.parse(record)
    assert isinstance(found.message_id, str) and isinstance(found.status, str)
    assert found.size is None or found.size >= 0
    assert EndpointMatch.parse(record) is not None


@quick
@given(st.one_of(JSON, st.text("0123456789-:TZ+. ", max_size=30), st.datetimes().map(str)))
def test_timestamps_never_raise(value: Any) -> None:
    found = timestamp(value)
    assert found is None or found.utcoffset() == timedelta(0)
    assert flag(value) in (True, False, None)
    number = whole_number(value)
    assert number is None or number >= 0


@quick
@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001 (hypothesis wants naive bounds)
def test_timestamps_come_back(moment: datetime) -> None:
    whole = moment.replace(microsecond=0)
    assert timestamp(f"{whole.year:04}{whole:%m%d%H%M%S}") == whole.replace(tzinfo=UTC)
    assert timestamp(moment.isoformat()) == moment.replace(tzinfo=UTC)


@quick
@given(st.one_of(SAID, st.text("0123456789: -+\u0665\uff11", max_size=12)))
def test_chunk_ranges_never_raise(text: str) -> None:
    found = parse_chunk_range(text)
    assert found is None or all(0 <= number < 1_000_000 for number in found)


@quick
@given(st.integers(0, 999_999), st.integers(0, 999_999))
def test_chunk_ranges_come_back(number: int, total: int) -> None:
    assert parse_chunk_range(f"{number}:{total}") == parse_chunk_range(f" {number} : {total} ") == (number, total)


DATES = st.text("MonTueJanDec 0123456789:,+-GMTZ", max_size=40)


@quick
@given(
    st.one_of(st.none(), SAID, DATES, st.integers().map(str), st.datetimes().map(lambda at: f"{at:%a, %d %b %Y %H:%M:%S} GMT"))
)
def test_retry_after_and_dates_never_raise(value: str | None) -> None:
    waited = retry_after(value, NOW)
    assert waited is None or waited >= 0
    moment = http_date(value)
    assert moment is None or moment.utcoffset() == timedelta(0)


@quick
@given(st.text(st.characters(), max_size=400))
def test_segments_are_one_segment(identifier: str) -> None:
    if not usable(identifier):
        with pytest.raises(errors.InvalidRequest):
            segment(identifier, "id")
        return
    quoted = segment(identifier, "id")
    assert quoted.isascii()
    assert not set(quoted) & set("/?#\\ %:@;&=+".replace("%", ""))
    assert quoted.strip(".")


@quick
@given(st.text(st.characters(), max_size=600))
def test_header_values_are_clean_or_refused(value: str) -> None:
    clean = not any(ord(one) < 32 or 127 <= ord(one) < 160 or ord(one) > 255 for one in value)
    if not clean or value != value.strip() or len(value) > 500:
        with pytest.raises(errors.InvalidHeader) as caught:
            header_value("Mex-Subject", value)
        assert caught.value.header == "Mex-Subject"
        assert len(value) < 6 or value not in str(caught.value)
        return
    encoded = header_value("Mex-Subject", value)
    assert encoded.decode("latin-1") == value == value.strip()
    assert len(value) <= 500
    assert not any(byte < 32 or 127 <= byte < 160 for byte in encoded)


@quick
@given(st.text(st.characters(), max_size=400))
def test_safe_text_is_one_short_line(text: str) -> None:
    safe = safe_text(text)
    assert len(safe) <= 300
    assert len(safe.splitlines()) <= 1


def pieces(draw: st.DataObject, data: bytes) -> list[bytes]:
    """``data`` in random pieces, some empty."""
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=12).map(sorted), label="cuts")
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def inflated(parts: list[bytes], *, limit: int | None = None) -> bytes:
    inflater = Inflater(limit=limit)
    blocks = [block for part in parts for block in inflater.feed(part)]
    blocks += inflater.finish()
    assert all(0 < len(block) <= BLOCK for block in blocks)
    assert inflater.size == sum(map(len, blocks))
    return b"".join(blocks)


@quick
@given(st.data(), st.lists(st.binary(max_size=400).map(lambda part: part * 3), min_size=1, max_size=4), st.integers(0, 9))
def test_gzip_round_trip_in_random_pieces(data: st.DataObject, members: list[bytes], level: int) -> None:
    packed = b"".join(gzip.compress(member, level) for member in members)
    plain = b"".join(members)
    assert inflated(pieces(data, packed)) == plain
    assert inflated(pieces(data, packed), limit=len(plain)) == plain
    if plain:
        with pytest.raises(errors.BodyTooLarge):
            inflated(pieces(data, packed), limit=len(plain) - 1)


@quick
@given(st.data(), st.binary(min_size=1, max_size=300), st.integers(1, 3))
def test_every_cut_is_noticed(data: st.DataObject, body: bytes, members: int) -> None:
    """Only a cut between members looks whole, which is why a body must say its length."""
    packed = gzip.compress(body)
    whole = packed * members
    cut = data.draw(st.integers(0, len(whole) - 1), label="cut")
    if cut and cut % len(packed) == 0:
        assert inflated(pieces(data, whole[:cut])) == body * (cut // len(packed))
        return
    with pytest.raises(errors.BodyTruncated):
        inflated(pieces(data, whole[:cut]))


@quick
@given(st.data(), st.binary(min_size=1, max_size=300))
def test_flipped_bits_never_make_another_body(data: st.DataObject, body: bytes) -> None:
    """Some bits of deflate mean nothing, between its end and the checksum; all others are noticed."""
    packed = bytearray(gzip.compress(body))
    place = data.draw(st.integers(10, len(packed) - 1), label="place")
    packed[place] ^= data.draw(st.integers(1, 255), label="bits")
    try:
        assert inflated(pieces(data, bytes(packed))) == body
    except errors.BodyError:
        pass


@quick
@given(st.binary(max_size=300), st.integers(1, 50))
def test_garbage_is_a_body_error(garbage: bytes, step: int) -> None:
    try:
        inflated([garbage[start : start + step] for start in range(0, len(garbage), step)])
    except errors.BodyError:
        return
    assert garbage[:2] == b"\x1f\x8b"


def test_exact_blocks() -> None:
    """Bodies that fill zlib's output exactly once left their last bytes inside."""
    for size in (BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 17):
        packed = gzip.compress(bytes(size))
        assert inflated([packed]) == inflated([packed[:-9], packed[-9:]]) == bytes(size)
        assert inflated([packed[place : place + 1] for place in range(len(packed))]) == bytes(size)


def test_many_tiny_members_cost_linear_time() -> None:
    packed = gzip.compress(b"x") * 20_000
    assert inflated([packed]) == b"x" * 20_000


@quick
@given(st.data(), st.binary(max_size=500), st.integers(1, 120), st.booleans(), st.sampled_from(["bytes", "file", "function"]))
def test_split_and_join(data: st.DataObject, payload: bytes, chunk_size: int, compress: bool, kind: str) -> None:
    parts = pieces(data, payload)
    given_payload: Any = {"bytes": payload, "file": io.BytesIO(payload), "function": lambda: iter(parts)}[kind]
    source = source_of(given_payload, len(payload))
    total = chunk_total(len(payload), chunk_size)
    order = list(range(1, total + 1))
    again = data.draw(st.lists(st.sampled_from(order), max_size=3), label="sent again")
    made: dict[int, bytes] = {}
    for number in [*order, *again]:
        body = chunk_body(source, number, chunk_size, compress=compress)
        for _ in range(2):
            wire = b"".join(body.blocks())
            assert len(wire) == body.size
            made[number] = zlib.decompress(wire, 31) if compress else wire
    assert [len(made[number]) for number in order[:-1]] == [chunk_size] * (total - 1)
    assert b"".join(made[number] for number in order) == payload
    assert not compress or isinstance(body, GzipBody)
