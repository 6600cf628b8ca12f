"""Listing an inbox: sizes, pages, filters, and servers that lead in circles or list what is no id."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from meshportal.mesh import InboxPage, MeshClient, errors
from tests.double import Double, faults

from .conftest import AsClient, Raw
from .raw import answer

HOSTILE = ["..", ".", "...", "", "x" * 300, "a\x00b", "a\nb", "a\u2028b", "\ud800"]
QUOTED = {
    "../x": "..%2Fx",
    "a/b": "a%2Fb",
    "a b": "a%20b",
    "%2e%2e": "%252e%252e",
    "ä": "%C3%A4",
    "a?b#c": "a%3Fb%23c",
    ";": "%3B",
}


def page(ids: list[Any], following: str | None = None, count: Any = 0) -> bytes:
    links = {"self": "/messageexchange/X26ABC1/inbox", **({"next": following} if following is not None else {})}
    return answer(200, json.dumps({"messages": ids, "links": links, "approx_inbox_count": count}).encode())


def link(token: str, start: str = "") -> str:
    return f"{start}/messageexchange/X26ABC1/inbox?max_results=500&continue_from={token}"


def listed(client: MeshClient, **options: Any) -> list[str]:
    return [one for each in client.iter_inbox_pages(**options) for one in each.message_ids]


@pytest.mark.parametrize(("count", "pages"), [(0, 1), (1, 1), (499, 1), (500, 1), (501, 2), (1200, 3)])
def test_sizes(double: Double, client: MeshClient, count: int, pages: int) -> None:
    put = [one.message_id for one in double.put_many("X26ABC1", count, size=12)]
    assert listed(client) == put
    assert len(double.recorder.listings("X26ABC1")) == pages
    assert client.inbox_page().approx_count == count


def test_a_next_link_that_leads_nowhere(double: Double, client: MeshClient) -> None:
    put = [one.message_id for one in double.put_many("X26ABC1", 20, size=12)]
    double.configure(next_on_last_page=True)
    assert listed(client, max_results=10) == put
    assert len(double.recorder.listings("X26ABC1")) == 3


def test_a_filtered_page_may_be_empty_though_more_follow(double: Double, client: MeshClient) -> None:
    double.put_many("X26ABC1", 25, size=12)
    wanted = double.put("X26ABC1", b"x", workflow_id="RARE").message_id
    pages = list(client.iter_inbox_pages(max_results=10, workflow_filter="RARE"))
    assert [one.message_ids for one in pages] == [(), (), (wanted,)]
    assert all(one.approx_count == 26 for one in pages)
    assert pages[-1].continue_from is None


def test_the_filter_is_quoted(double: Double, client: MeshClient) -> None:
    double.put("X26ABC1", b"x", workflow_id="A&B=C D")
    double.put("X26ABC1", b"x", workflow_id="OTHER")
    assert len(listed(client, workflow_filter="A&B=C D")) == 1
    assert len(listed(client, workflow_filter="!A&B*")) == 1


@pytest.mark.faults
def test_a_page_that_starts_over(double: Double, client: MeshClient) -> None:
    """The sandbox does so when the item that the token names was acknowledged meanwhile."""
    put = [one.message_id for one in double.put_many("X26ABC1", 30, size=12)]
    double.configure(token_restarts=True)
    seen: list[str] = []
    for number, each in enumerate(client.iter_inbox_pages(max_results=10)):
        seen += each.message_ids
        if number == 0:
            client.acknowledge(put[9])
        assert number < 9
    assert seen == put


@pytest.mark.faults
def test_other_hosts_are_never_asked(raw: Raw, as_client: AsClient) -> None:
    trap = raw(page(["STOLEN"]))
    server = raw(page(["A"], link("next-page-token-of-24-chars", trap.url)), page(["B"]))
    assert listed(as_client(server.url)) == ["A", "B"]
    assert trap.requests == []
    assert b"GET /messageexchange/X26ABC1/inbox?" in server.requests[1]
    assert b"continue_from=next-page-token-of-24-chars " in server.requests[1]


@pytest.mark.faults
@pytest.mark.parametrize(
    "following",
    [
        "/messageexchange/X26ABC1/inbox",
        "/messageexchange/X26ABC1/inbox?continue_from=",
        "?",
        7,
        {"href": link("x" * 24)},
        "//[broken?continue_from=" + "x" * 24,
        "http://\u2100/?continue_from=" + "x" * 24,
        link("\ud800"),
        link("%00" * 24),
        link("x" * 100_000),
    ],
    ids=lambda given: str(given).encode("ascii", "replace").decode()[:60],
)
def test_a_next_link_without_a_usable_token(raw: Raw, as_client: AsClient, following: Any) -> None:
    """Whatever a server says, what comes out is a page or a MeshError."""
    server = raw(page(["A"], following))
    with pytest.raises(errors.UnexpectedAnswer, match="not from where"):
        as_client(server.url).inbox_page()
    assert len(server.requests) == 1


@pytest.mark.parametrize("links", [None, [], "x", 7, {}, {"next": None}, {"next": ""}])
def test_no_next_link_is_the_last_page(raw: Raw, as_client: AsClient, links: Any) -> None:
    server = raw(answer(200, json.dumps({"messages": [], "links": links}).encode()))
    assert as_client(server.url).inbox_page() == InboxPage(message_ids=())
    assert len(listed(as_client(server.url))) == 0


def test_the_token_is_given_back_as_it_came(raw: Raw, as_client: AsClient) -> None:
    token = "a+b/c==&d é"
    server = raw(page(["A"], link("a%2Bb%2Fc%3D%3D%26d%20%C3%A9")), page(["B"]))
    first = as_client(server.url).inbox_page()
    assert first.continue_from == token
    as_client(server.url).inbox_page(continue_from=token)
    assert b"continue_from=a%2Bb%2Fc%3D%3D%26d+%C3%A9 " in server.requests[1]


@pytest.mark.faults
def test_circles_end(raw: Raw, as_client: AsClient) -> None:
    repeating = raw(page(["A"], link("x" * 24)), page(["B"], link("x" * 24)))
    assert listed(as_client(repeating.url)) == ["A", "B"]
    assert len(repeating.requests) == 2
    nothing_new = raw(page(["A", "B", "A"], link("1" * 24)), page(["B", "A"], link("2" * 24)), page(["C"], link("3" * 24)))
    assert listed(as_client(nothing_new.url)) == ["A", "B"]
    assert len(nothing_new.requests) == 2
    partly_new = raw(page(["A", "B"], link("1" * 24)), page(["B", "C"], link("2" * 24)), page([]))
    assert listed(as_client(partly_new.url)) == ["A", "B", "C"]
    empty_for_ever = raw(*[page([], link(f"{number:024}")) for number in range(300)])
    assert listed(as_client(empty_for_ever.url)) == []
    assert len(empty_for_ever.requests) == 101


@pytest.mark.faults
def test_hostile_ids_are_left_out_and_counted(raw: Raw, as_client: AsClient, caplog: pytest.LogCaptureFixture) -> None:
    server = raw(page([*HOSTILE, "GOOD", *QUOTED]))
    with caplog.at_level(logging.WARNING):
        assert as_client(server.url).inbox_page().message_ids == ("GOOD", *QUOTED)
    assert f"lists {len(HOSTILE)} ids" in caplog.text
    assert "xxxxxx" not in caplog.text


@pytest.mark.faults
@pytest.mark.parametrize("hostile", QUOTED)
def test_hostile_ids_stay_one_segment(raw: Raw, as_client: AsClient, hostile: str) -> None:
    server = raw(answer(404, b'{"detail": []}'))
    client = as_client(server.url)
    for ask in (client.head, client.acknowledge, lambda one: client.download(one).__enter__()):
        with pytest.raises(errors.MeshError):
            ask(hostile)
    asked = [request.split(b" ")[1].decode() for request in server.requests]
    path = f"/messageexchange/X26ABC1/inbox/{QUOTED[hostile]}"
    assert asked == [path, f"{path}/status/acknowledged", path]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_ids_are_never_asked_for(as_client: AsClient, hostile: str) -> None:
    client = as_client("http://localhost:9")
    for ask in (client.head, client.acknowledge, client.download):
        with pytest.raises(errors.InvalidRequest):
            ask(hostile)
    with pytest.raises(errors.InvalidRequest):
        client.lookup("X26", hostile if len(hostile) < 300 else "x" * 301)


@pytest.mark.faults
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"words"',
        b"{}",
        b'{"messages": null}',
        b'{"messages": {}}',
        b'{"messages": "ids"}',
        b'{"messages": [1]}',
        b'{"messages": ["A", null]}',
        b'{"messages": [["A"]]}',
        b'{"messages": ["A"',
        b"<html>Sign in</html>",
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"messages": ["A"], "approx_inbox_count": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_listing(raw: Raw, as_client: AsClient, waits: list[float], body: bytes) -> None:
    server = raw(answer(200, body))
    with pytest.raises(errors.UnexpectedAnswer):
        as_client(server.url).inbox_page()
    assert waits == []


@pytest.mark.parametrize(("said", "read"), [(7, 7), (0, 0), (-1, None), ("7", None), (True, None), (None, None), (1.5, None)])
def test_the_approximate_count(raw: Raw, as_client: AsClient, said: Any, read: int | None) -> None:
    assert as_client(raw(page([], None, said)).url).inbox_page().approx_count == read


@pytest.mark.faults
def test_a_listing_that_never_ends_is_given_up(raw: Raw, as_client: AsClient) -> None:
    server = raw(answer(200, b'{"messages": ["' + b"x" * 17_000_000))
    with pytest.raises(errors.UnexpectedAnswer, match="too long"):
        as_client(server.url).inbox_page()


@pytest.mark.faults
def test_a_bad_token_is_refused_by_the_service(double: Double, client: MeshClient) -> None:
    with pytest.raises(errors.BadRequest):
        client.inbox_page(continue_from="x" * 30)
    with pytest.raises(errors.BadRequest, match="max_results"):
        client.inbox_page(max_results=9)
    double.faults.add(match={"route": "list", "nth": 2}, action=faults.status(500), times=1)
    put = [one.message_id for one in double.put_many("X26ABC1", 15, size=12)]
    double.recorder.clear()
    assert listed(client, max_results=10) == put
