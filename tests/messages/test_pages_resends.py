"""All messages of a filter, sent again or asked to be restored: what is shown first, what is confirmed, how far it came."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from messages import bulk_work, registry
from messages.models import BulkResend, BulkRowState, Message, ResendPolicy
from messages.views import restore

pytestmark = pytest.mark.django_db
REASON = "the practice was closed"


@pytest.fixture
def address(team: Any) -> Callable[..., str]:
    def make(route: str, query: str = "", **arguments: Any) -> str:
        url = reverse(f"messages:{route}", kwargs={"team": team.slug, **arguments})
        return f"{url}?{query}" if query else url

    return make


@pytest.fixture
def returned(message: Any, team: Any) -> Callable[..., Message]:
    """Makes a returned message whose workflow may be sent again."""
    allow(team)

    def make(**fields: Any) -> Message:
        return message(**{"state": "returned", "body": b"a letter", "status_code": "14", **fields})  # type: ignore[no-any-return]

    return make


def allow(team: Any, workflow_id: str = "TOC_FHIR_IP_DISCH", policy: ResendPolicy = ResendPolicy.ALLOWED) -> None:
    registry.change(
        actor=Actor.command("test"), workflow=registry.known(team.pk, workflow_id), name="Letters", resend_policy=policy
    )


def html(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status
    return re.sub(r"\s+", " ", answer.content.decode())


def digest(page: str) -> str:
    found = re.search(r'name="digest" value="([0-9a-f]+)"', page)
    assert found is not None
    return found[1]


def confirm(browser: Client, url: str, **given: str) -> Any:
    """Looks, then confirms what was seen."""
    seen = digest(html(browser.get(url)))
    return browser.post(url, {"digest": seen, "reason": REASON, "confirm": "on", **given})


def work() -> None:
    """One turn of a worker, in this very thread."""
    claimed = bulk_work.claim_due()
    assert claimed is not None
    bulk_work.work(claimed)


# --- The way there ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("auditor", False), ("operator", True), ("manager", True)])
def test_a_list_with_a_filter_offers_it_to_those_who_may(
    signed_in: Any, returned: Any, address: Any, role: str, may: bool
) -> None:
    row = returned()
    browser = signed_in(role)
    offer = "Send all of these again"
    assert offer not in html(browser.get(address("outbox")))
    assert (offer in html(browser.get(address("outbox", "state=returned")))) == may
    assert offer not in html(browser.get(address("outbox", "state=refused")))
    assert offer not in html(browser.get(address("list", "state=quarantined")))
    own = html(browser.get(address("mailbox-outbox", "state=returned", pk=row.mailbox_id)))
    assert (f"resend-all/?state=returned&amp;mailbox={row.mailbox_id}" in own) == may


# --- What would happen --------------------------------------------------------------------------------------------------
def test_it_is_shown_by_what_would_happen(signed_in: Any, returned: Any, address: Any, team: Any) -> None:
    rows = [returned(file_name=f"letter-{number}.xml") for number in range(12)]
    returned(body=None)
    allow(team, "ASKED_FOR", ResendPolicy.ON_REQUEST)
    allow(team, "NEVER_AGAIN", ResendPolicy.NEVER)
    returned(workflow_id="ASKED_FOR")
    returned(workflow_id="NEVER_AGAIN")
    page = html(signed_in("operator").get(address("resend-filtered", "state=returned")))
    assert "<h1" in page and "Send 12 messages again" in page
    for part in (
        "15 messages",
        "The portal does not hold its body any more.",
        "it is not said who asked",
        "it is never sent again",
        "Returned by MESH",
        "The newest 10 of 12",
        "1 message of these can go only when the recipient asks",
    ):
        assert part in page
    assert rows[-1].mesh_id in page
    assert rows[0].mesh_id not in page


@pytest.mark.parametrize(
    ("query", "said"),
    [("", "No filter is set"), ("state=returned", "Narrow the filter"), ("state=refused", "0 messages")],
)
def test_what_cannot_be_begun_says_why(signed_in: Any, returned: Any, address: Any, settings: Any, query: str, said: str) -> None:
    settings.RESEND_MOST = 1
    returned(), returned()
    browser = signed_in("operator")
    page = html(browser.get(address("resend-filtered", query)))
    assert said in page
    assert "digest" not in page
    html(browser.post(address("resend-filtered", query), {"reason": REASON, "confirm": "on", "digest": "0"}), 422)
    assert BulkResend.objects.count() == 0


@pytest.mark.parametrize("query", ["state=nonsense", "since=yesterday", "q=a", "since=2026-11-24&until=2026-11-01"])
def test_a_filter_that_makes_no_sense_never_widens_it(signed_in: Any, returned: Any, address: Any, query: str) -> None:
    returned()
    browser = signed_in("operator")
    for route in ("resend-filtered", "restore", "restore-file"):
        url = address(route, query)
        for answer in (browser.get(url), *([browser.post(url, {"reason": REASON})] if route == "resend-filtered" else [])):
            assert (answer.status_code, answer["Location"]) == (302, address("outbox", query))
    assert "This filter was left out." in html(browser.get(address("outbox", query)))
    assert not AuditEvent.objects.filter(action="restore_request.exported").exists()


def test_environments_are_never_mixed(signed_in: Any, returned: Any, address: Any, mailbox: Any) -> None:
    returned()
    other = mailbox(environment="int", identity=None)
    returned(mailbox=other)
    browser = signed_in("operator")
    for route in ("resend-filtered", "restore"):
        page = html(browser.get(address(route, "state=returned")))
        assert "different environments (integration and sandbox)" in page
        assert "Choose a mailbox" in page
        assert "different environments" not in html(browser.get(address(route, f"state=returned&mailbox={other.pk}")))
    answer = browser.get(address("restore-file", "state=returned"))
    assert (answer.status_code, answer["Location"]) == (302, address("restore", "state=returned"))


# --- Confirming ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"confirm": ""}, "Tick the box to confirm how many messages are sent again"),
        ({"reason": ""}, "Say why they are sent again"),
        ({"reason": "."}, "Write it in words"),
        ({"reason": "about 943 476 5919"}, "Take the NHS number out"),
        ({"reason": "x" * 501}, "Keep it within 500 characters"),
        ({"asked_by": "9434765919"}, "Take the NHS number out"),
        ({"digest": ""}, "than those that you looked at"),
        ({"digest": "nonsense"}, "than those that you looked at"),
    ],
)
def test_bad_input_is_a_sentence_and_begins_nothing(
    signed_in: Any, returned: Any, address: Any, team: Any, given: dict[str, str], said: str
) -> None:
    allow(team, policy=ResendPolicy.ON_REQUEST if "asked_by" in given else ResendPolicy.ALLOWED)
    returned()
    page = html(confirm(signed_in("operator"), address("resend-filtered", "state=returned"), **given), 422)
    assert said in page
    assert BulkResend.objects.count() == 0


def test_one_more_that_fits_meanwhile_is_shown_before_it_goes(signed_in: Any, returned: Any, address: Any) -> None:
    returned()
    browser, url = signed_in("operator"), address("resend-filtered", "state=returned")
    first = browser.get(url)
    returned()
    page = html(browser.post(url, {"digest": digest(html(first)), "reason": REASON, "confirm": "on"}), 422)
    assert "than those that you looked at" in page
    assert "Send 2 messages again </h1>" in page or "Send 2 messages again</h1>" in page
    assert "Send 2 messages again </label>" in page
    # What was typed is kept, the tick is not.
    assert REASON in page
    assert "checked" not in page.partition('name="confirm"')[2][:200]


def test_who_asked_is_counted_in_first(signed_in: Any, returned: Any, address: Any, team: Any) -> None:
    allow(team, policy=ResendPolicy.ON_REQUEST)
    returned()
    browser, url = signed_in("operator"), address("resend-filtered", "state=returned")
    page = html(browser.get(url))
    assert "Nothing can be sent again as things stand" in page
    assert "Begin to send them again" not in page
    page = html(browser.post(url, {"recount": "1", "asked_by": "their reception", "digest": digest(page)}))
    assert "Send 1 message again" in page
    assert 'value="their reception"' in page
    assert "There is a problem" not in page
    given = {"digest": digest(page), "reason": REASON, "confirm": "on", "asked_by": "their reception"}
    assert browser.post(url, given).status_code == 302
    assert BulkResend.objects.get().asked_by == "their reception"


def test_it_is_begun_once_worked_and_shown(signed_in: Any, returned: Any, message: Any, address: Any, team: Any) -> None:
    rows = [returned() for _ in range(3)]
    left = returned(body=None)
    browser = signed_in("manager")
    url = address("resend-filtered", "state=returned&q=FEDCBA")
    given = {"digest": digest(html(browser.get(url))), "reason": REASON, "confirm": "on"}
    answer = browser.post(url, given)
    gesture = BulkResend.objects.get()
    page_url = address("bulk-resend", pk=gesture.pk)
    assert (answer.status_code, answer["Location"]) == (302, page_url)
    # The same button pressed twice.
    again = html(browser.post(url, given), 422)
    assert "Somebody is sending it again already" in again
    assert address("bulk-resends") in again
    page = html(browser.get(page_url))
    for part in ("Under way", "1 of 4 dealt with", 'data-refresh="2"', REASON, "State: Returned by MESH", "Stop it"):
        assert part in page
    assert '<span class="nhsuk-u-visually-hidden" data-announce>25% dealt with</span>' in page
    fragment = html(browser.get(page_url, headers={"HX-Request": "true"}))
    assert fragment.strip().startswith('<div id="rows" data-refresh="2"')

    work()
    page = html(browser.get(page_url))
    assert "3 messages sent again, 1 message left as it is." in page
    assert "data-refresh" not in page
    assert "Stop it" not in page
    for row in rows:
        assert address("detail", pk=row.resends.get().message_id) in page
        assert f"Bulk resend {gesture.short_id}" in html(browser.get(address("detail", pk=row.pk)))
        assert "this is the new message" in html(browser.get(address("detail", pk=row.resends.get().message_id)))
    assert "does not hold its body" in html(browser.get(address("detail", pk=left.pk)))
    only = html(browser.get(f"{page_url}?state=left"))
    assert address("detail", pk=left.pk) in only
    assert address("detail", pk=rows[0].pk) not in only
    assert "There is no state nonsense" in html(browser.get(f"{page_url}?state=nonsense"))
    listed = html(browser.get(address("bulk-resends")))
    assert gesture.short_id in listed
    BulkResend.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert gesture.short_id not in html(browser.get(address("bulk-resends")))

    # One act with a row for each message, and the page that shows them.
    trail = html(browser.get(reverse("console:audit", kwargs={"team": team.slug}), {"request": gesture.request_id}))
    assert "4 events" in trail
    assert f"bulk resend {gesture.short_id}</a> of 3 messages, filtered by" in trail


def test_stopping_is_for_those_who_send(signed_in: Any, returned: Any, address: Any) -> None:
    returned()
    browser = signed_in("operator")
    confirm(browser, address("resend-filtered", "state=returned"))
    gesture = BulkResend.objects.get()
    assert "Stop it" not in html(signed_in("viewer").get(address("bulk-resend", pk=gesture.pk)))
    page = html(browser.post(address("bulk-resend-stop", pk=gesture.pk), follow=True))
    assert "Stopped. 1 message left as it is; what was sent again before stays so." in page
    assert gesture.rows.get().state == BulkRowState.LEFT
    assert "come to its end" in html(browser.post(address("bulk-resend-stop", pk=gesture.pk), follow=True))


def test_a_worker_that_is_not_there_is_said(signed_in: Any, returned: Any, address: Any) -> None:
    returned()
    browser = signed_in("operator")
    confirm(browser, address("resend-filtered", "state=returned"))
    gesture = BulkResend.objects.get()
    url = address("bulk-resend", pk=gesture.pk)
    assert "No worker" not in html(browser.get(url))
    BulkResend.objects.update(due_at=timezone.now() - timedelta(minutes=5))
    assert "No worker has taken this up since" in html(browser.get(url))
    BulkResend.objects.update(due_at=timezone.now() + timedelta(minutes=5))
    assert "could not keep a copy of the others" in html(browser.get(url))


def test_rows_cost_no_query_each(signed_in: Any, returned: Any, address: Any, django_assert_max_num_queries: Any) -> None:
    for _ in range(20):
        returned()
    browser = signed_in("operator")
    url = address("resend-filtered", "state=returned")
    with django_assert_max_num_queries(12):
        browser.get(url)
    confirm(browser, url)
    work()
    with django_assert_max_num_queries(12):
        browser.get(address("bulk-resend", pk=BulkResend.objects.get().pk))
    with django_assert_max_num_queries(12):
        browser.get(address("bulk-resends"))


def test_another_teams_messages_are_in_no_filter(
    signed_in: Any, returned: Any, mailbox: Any, other_team: Any, address: Any
) -> None:
    ours = returned()
    theirs = returned(mailbox=mailbox(team=other_team, mailbox_id="RH8HC001"))
    allow(other_team)
    browser = signed_in("operator")
    for query in ("state=returned", "state=recoverable"):
        for route in ("resend-filtered", "restore"):
            page = html(browser.get(address(route, query)))
            assert ours.mesh_id in page
            assert theirs.mesh_id not in page
    confirm(browser, address("resend-filtered", "state=returned"))
    assert [row.message_id for row in BulkResend.objects.get().rows.all()] == [ours.pk]
    # A mailbox of theirs is no filter that widens.
    assert browser.get(address("resend-filtered", f"mailbox={theirs.mailbox_id}")).status_code == 302


# --- Asking the service desk --------------------------------------------------------------------------------------------
def lines(answer: Any) -> list[list[str]]:
    text = b"".join(answer.streaming_content).decode().removeprefix("\ufeff")
    return list(csv.reader(io.StringIO(text, newline="")))


def test_the_request_to_restore_has_a_text_and_a_file(signed_in: Any, returned: Any, message: Any, address: Any) -> None:
    now = timezone.now()
    later = returned(sent_at=now - timedelta(days=6), file_name="PLANTED.xml", subject="PLANTED")
    first = message(state="expired", sent_at=now - timedelta(days=20), workflow_id="ANOTHER")
    message(state="expired", sent_at=now - timedelta(days=31))
    returned(status_code="12")
    message(state="accepted")
    browser = signed_in("viewer")
    assert "restore all of these" in html(browser.get(address("outbox", "state=recoverable")))
    page = html(browser.get(address("restore", "state=recoverable")))
    assert "Request to restore 2 messages" in page
    assert page.index(first.mesh_id) < page.index(later.mesh_id)
    assert "Environment: Sandbox" in page
    answer = browser.get(address("restore-file", "state=recoverable"))
    assert answer["Content-Disposition"].startswith('attachment; filename="restore-midshire-')
    event = AuditEvent.objects.get(action="restore_request.exported")
    assert event.after == {"filters": {"State": "Recoverable: the service desk can restore it"}, "messages": 2}
    found = lines(answer)
    assert found[0] == list(restore.HEADER)
    assert [row[:4] for row in found[1:]] == [
        [row.mesh_id, row.mailbox.mailbox_id, "YGM24HC001", row.workflow_id] for row in (first, later)
    ]
    assert found[2][5] == str(later.size)
    assert "PLANTED" not in str(found) + page
    # Whatever else is filtered by, what cannot be restored is not in it.
    assert len(lines(browser.get(address("restore-file", "workflow=TOC_FHIR_IP_DISCH")))) == 2
    assert lines(browser.get(address("restore-file", "state=collected"))) == [list(restore.HEADER)]
    assert "No message that fits the filter can be restored" in html(browser.get(address("restore", "state=collected")))


@pytest.mark.parametrize(
    ("workflow", "shown"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ('say "hi", twice', 'say "hi", twice'),
        ("<script>", "<script>"),
        ("9434765919", None),
    ],
)
def test_the_file_holds_no_formula_and_no_nhs_number(
    signed_in: Any, returned: Any, address: Any, team: Any, workflow: str, shown: str | None
) -> None:
    returned(workflow_id=workflow)
    cell = lines(signed_in("viewer").get(address("restore-file", "state=recoverable")))[1][3]
    assert cell == shown if shown is not None else "9434765919" not in cell


def test_more_than_fit_are_the_ones_that_go_first(
    signed_in: Any, returned: Any, address: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "MOST", 2)
    now = timezone.now()
    rows = [returned(sent_at=now - timedelta(days=days)) for days in (6, 20, 10)]
    browser = signed_in("viewer")
    assert "More than 2 can be restored" in html(browser.get(address("restore", "state=recoverable")))
    found = lines(browser.get(address("restore-file", "state=recoverable")))
    assert [row[0] for row in found[1:]] == [rows[1].mesh_id, rows[2].mesh_id]
