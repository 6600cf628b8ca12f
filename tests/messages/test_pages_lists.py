"""The lists: who sees what, paging, masking, hostile text, and a bounded number of queries."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from messages.models import Message

pytestmark = pytest.mark.django_db

NHS_NUMBER = "9434765919"
# What senders have put into file names, local ids and workflow ids, or may yet.
HOSTILE = [
    "../../etc/passwd",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "=cmd|' /C calc'!A0",
    "{{ 7|add:7 }}{% csrf_token %}",
    "n" * 300,
    "\u202egpj.exe",
    "a\u200bb\u0000c\u001b[31m",
]


@pytest.fixture
def address(team: Any) -> Any:
    """``address("messages:list")`` or, of an object, ``address("messages:inbox", box)``."""

    def make(route: str, row: Any = None) -> str:
        return reverse(route, kwargs={"team": team.slug, **({"pk": row.pk} if row else {})})

    return make


def html(answer: Any) -> str:
    assert answer.status_code == 200, answer.status_code
    return str(answer.content.decode())


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "auditor"])
def test_every_role_sees_the_lists(signed_in: Any, message: Any, address: Any, role: str) -> None:
    row = message()
    browser = signed_in(role)
    for url in (address("messages:list"), address("messages:inbox", row.mailbox)):
        page = html(browser.get(url))
        assert row.mesh_id in page
        assert "1 message" in page
        assert "Waiting to be downloaded" in page
        assert "Leaves the inbox" in page


def test_another_teams_messages_are_not_there(signed_in: Any, message: Any, mailbox: Any, other_team: Any, address: Any) -> None:
    theirs = message(mailbox=mailbox(team=other_team, mailbox_id="RH8HC001"))
    browser = signed_in("manager")
    page = html(browser.get(address("messages:list")))
    assert theirs.mesh_id not in page
    assert "RH8HC001" not in page
    assert browser.get(address("messages:inbox", theirs.mailbox)).status_code == 404


def test_an_inbox_holds_its_own_messages_alone(signed_in: Any, message: Any, mailbox: Any, address: Any) -> None:
    mine, other = message(mailbox=mailbox()), message(mailbox=mailbox())
    page = html(signed_in("viewer").get(address("messages:inbox", mine.mailbox)))
    assert mine.mesh_id in page
    assert other.mesh_id not in page
    assert mine.mailbox.name in page


def test_a_fragment_is_the_table_alone(signed_in: Any, message: Any, address: Any) -> None:
    row = message()
    browser = signed_in("viewer")
    url = address("messages:inbox", row.mailbox)
    part = html(browser.get(url, headers={"HX-Request": "true", "HX-Target": "rows"}))
    assert part.strip().startswith('<div id="rows"')
    assert row.mesh_id in part
    assert "<html" not in part
    # The mailbox's own page fetches it into an element of another name.
    assert html(browser.get(url, headers={"HX-Request": "true", "HX-Target": "inbox"})).strip().startswith('<div id="rows"')


def test_the_list_refreshes_where_it_stands(signed_in: Any, message: Any, address: Any) -> None:
    message()
    page = html(signed_in("viewer").get(address("messages:list") + "?state=inbox&q=2026"))
    assert 'data-refresh="30"' in page
    assert f'hx-get="{address("messages:list")}?state=inbox&amp;q=2026"' in page
    assert 'hx-trigger="portal:refresh"' in page


def test_older_and_newer_walk_every_row_once(signed_in: Any, message: Any, address: Any) -> None:
    now = timezone.now()
    rows = [message(seen_at=now - timedelta(minutes=number // 7)) for number in range(120)]
    browser = signed_in("viewer")
    seen: list[str] = []
    url = address("messages:list") + "?state=listed"
    for _ in range(3):
        page = html(browser.get(url))
        seen += re.findall(r'data-key="([0-9a-f-]+)"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        if older is None:
            break
        url = older[1].replace("&amp;", "&")
        assert "state=listed" in url
    assert len(seen) == 120
    assert set(seen) == {str(row.pk) for row in rows}
    assert 'rel="prev"' in page


def test_a_cursor_that_makes_no_sense_is_the_first_page(signed_in: Any, message: Any, address: Any) -> None:
    row = message()
    assert row.mesh_id in html(signed_in("viewer").get(address("messages:list") + "?cursor=%00nonsense"))


def test_subjects_and_sealed_recipients_are_never_in_a_list(signed_in: Any, message: Any, address: Any) -> None:
    row = message(
        subject="PLANTED SMITH John",
        recipient_sealed="GPPROVIDER_PLANTED_SMITH",
        headers={"mex-subject": "PLANTED SMITH John"},
        body=b"PLANTED body",
    )
    browser = signed_in("manager")
    for url in (address("messages:list"), address("messages:inbox", row.mailbox), address("messages:list") + "?q=PLANTED"):
        assert "PLANTED SMITH" not in html(browser.get(url))
        assert "GPPROVIDER" not in html(browser.get(url))


def test_nhs_numbers_in_names_are_masked(signed_in: Any, message: Any, address: Any) -> None:
    message(file_name=f"letter_{NHS_NUMBER}.pdf", local_id="LAB 943 476 5919", workflow_id=f"W{NHS_NUMBER}")
    page = html(signed_in("manager").get(address("messages:list")))
    assert NHS_NUMBER not in page
    assert "943 476 5919" not in page
    assert "letter_[NHS number hidden].pdf" in page


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_does_nothing(signed_in: Any, message: Any, address: Any, text: str) -> None:
    kept = text.replace("\x00", " ")
    row = message(file_name=kept, local_id=kept, workflow_id=kept, sender=kept[:100], mesh_id=kept[:100])
    browser = signed_in("manager")
    for url in (address("messages:list"), address("messages:inbox", row.mailbox), address("messages:detail", row)):
        page = html(browser.get(url))
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "csrf_token %}" in page or "csrf" not in kept
        for hidden in ("\u202e", "\u200b", "\x00", "\x1b"):
            assert hidden not in page
    page = html(browser.get(address("messages:list")))
    if "\u202e" in kept:
        assert "[U+202E]gpj.exe" in page
    if "{{" in kept:
        assert "{{ 7|add:7 }}" in page


def test_a_bad_filter_is_named_and_its_value_escaped(signed_in: Any, message: Any, address: Any) -> None:
    row = message()
    page = html(signed_in("viewer").get(address("messages:list"), {"state": "<script>alert(1)</script>", "q": "<b"}))
    assert row.mesh_id in page
    assert "<script>alert" not in page
    assert "This filter was left out." in page


def test_what_to_do_when_nothing_is_there(signed_in: Any, mailbox: Any, address: Any) -> None:
    box = mailbox()
    browser = signed_in("viewer")
    assert "No message has come in yet" in html(browser.get(address("messages:list")))
    assert "No message has come into this mailbox yet" in html(browser.get(address("messages:inbox", box)))
    assert "No message fits this search" in html(browser.get(address("messages:list") + "?q=nothing"))
    assert "No message fits these filters" in html(browser.get(address("messages:list") + "?workflow=NOTHING"))


def test_the_problem_of_a_message_stands_on_its_row(signed_in: Any, message: Any, address: Any) -> None:
    message(state="quarantined", problem="The message came cut short.")
    page = html(signed_in("viewer").get(address("messages:list")))
    assert "Needs a person" in page
    assert "The message came cut short." in page


def test_several_environments_are_said_on_every_row(signed_in: Any, message: Any, mailbox: Any, address: Any) -> None:
    message()
    page = html(signed_in("viewer").get(address("messages:list")))
    assert page.count("portal-environment--sandbox") == 1
    message(mailbox=mailbox(environment="int", identity=None))
    page = html(signed_in("operator").get(address("messages:list")))
    assert page.count("portal-environment--sandbox") == 1
    assert page.count("portal-environment--int") == 1


def test_sent_messages_are_in_no_list_of_received_ones(signed_in: Any, message: Any, address: Any) -> None:
    sent = message(direction="out")
    assert sent.mesh_id not in html(signed_in("viewer").get(address("messages:list")))


def test_queries_do_not_grow_with_the_rows(
    signed_in: Any, message: Any, mailbox: Any, address: Any, django_assert_max_num_queries: Any
) -> None:
    boxes = [mailbox() for _ in range(5)]
    rows = [message(mailbox=boxes[number % 5], subject="s", headers={"mex-subject": "s"}, problem="p") for number in range(60)]
    browser = signed_in("viewer")
    # The first page of a session also writes when it began.
    html(browser.get(address("messages:list")))
    # Session, person, membership, environments, rows, count, counts of the tabs; for the whole page also teams, and
    # mailboxes to choose from.
    with django_assert_max_num_queries(10):
        html(browser.get(address("messages:list")))
    with django_assert_max_num_queries(7) as captured:
        html(browser.get(address("messages:inbox", rows[0].mailbox), headers={"HX-Request": "true"}))
    for query in captured.captured_queries:
        assert '"mesh_messages_message"."subject"' not in query["sql"]
        assert '"mesh_messages_message"."headers"' not in query["sql"]
        assert '"mailboxes_mailbox"."password"' not in query["sql"]


def test_more_than_a_thousand_are_not_counted(signed_in: Any, message: Any, address: Any) -> None:
    row = message()
    now = timezone.now()
    Message.objects.bulk_create(
        Message(
            team=row.team,
            mailbox=row.mailbox,
            environment="sandbox",
            direction="in",
            mesh_id=f"M{number}",
            state="gone",
            seen_at=now - timedelta(hours=1),
        )
        for number in range(1001)
    )
    assert "More than 1,000 messages" in html(signed_in("viewer").get(address("messages:list")))
