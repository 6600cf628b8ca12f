"""A mailbox's page, and polling it now."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from certificates.life import certificate_life
from mailboxes.health import Standing
from mailboxes.models import Mailbox
from meshportal.audit.models import AuditEvent

pytestmark = pytest.mark.django_db


def address(mailbox: Mailbox, tail: str = "") -> str:
    return f"/t/{mailbox.team.slug}/mailboxes/{mailbox.pk}/{tail}"


def page(browser: Any, mailbox: Mailbox) -> str:
    answer = browser.get(address(mailbox))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "auditor"])
def test_every_role_sees_the_page_and_those_who_may_poll_the_button(role: str, signed_in: Any, mailbox: Any) -> None:
    html = page(signed_in(role), mailbox(name="Pathology"))
    assert '<h1 class="portal-h1">Pathology</h1>' in html
    assert ("Poll now" in html) == (role in {"operator", "manager"})


@pytest.mark.tenancy
def test_another_team_a_wrong_id_and_a_stranger(client: Any, signed_in: Any, mailbox: Any, other_team: Any) -> None:
    ours = mailbox()
    browser = signed_in("manager", team=other_team)
    for url in (address(ours), f"/t/otherton/mailboxes/{ours.pk}/", f"/t/otherton/mailboxes/{uuid.uuid4()}/"):
        assert browser.get(url).status_code == 404
    assert client.get(address(ours))["Location"].startswith("/sign-in/")


def test_a_healthy_mailbox(signed_in: Any, mailbox: Any) -> None:
    now = timezone.now()
    ours = mailbox(
        last_polled_at=now - timedelta(minutes=2),
        last_handshake_at=now - timedelta(hours=3),
        waiting_count=1,
        next_poll_at=now + timedelta(minutes=3),
        workflow_filter="TOC_*",
    )
    html = page(signed_in("viewer"), ours)
    assert "1 message still waits in MESH." in html
    assert "The last poll succeeded, on time" in html
    assert "only then acknowledges it" in html
    assert "<code>TOC_*</code>" in html
    assert "Every 5 minutes" in html
    assert "364 days left" in html
    assert "portal-environment--sandbox" in html
    assert "What to do" not in html


def test_watch_mode_says_that_nothing_is_downloaded_or_acknowledged(signed_in: Any, mailbox: Any) -> None:
    html = page(signed_in("viewer"), mailbox(mode="watch", last_polled_at=timezone.now(), waiting_count=0))
    assert "Nothing is downloaded or acknowledged" in html
    assert "nothing was waiting for this mailbox’s own client" in html


def test_a_problem_stands_first_with_its_advice_and_since_when(signed_in: Any, mailbox: Any) -> None:
    ours = mailbox(
        problem_code="sign_in_refused",
        problem="MESH refused <b>the</b> sign-in.",
        problem_advice="Check the password.",
        problem_since=timezone.now() - timedelta(hours=3),
        consecutive_failures=9,
    )
    html = page(signed_in("viewer"), ours)
    assert "MESH refused &lt;b&gt;the&lt;/b&gt; sign-in." in html
    assert "Check the password." in html
    assert "3 hours ago" in html
    assert "9 polls in a row failed." in html


def test_late_new_and_paused_mailboxes(signed_in: Any, mailbox: Any) -> None:
    browser = signed_in("operator")
    late = page(browser, mailbox(last_polled_at=timezone.now() - timedelta(hours=3)))
    assert "not polled as often as it should be" in late
    assert 'href="/t/midshire/#workers"' in late
    assert "This mailbox is new and waits for its first poll." in page(browser, mailbox())
    paused = page(browser, mailbox(mode="paused"))
    assert "This mailbox is paused" in paused
    assert "Poll now" not in paused


def test_the_difference_of_the_clocks_is_said_from_five_minutes_on(signed_in: Any, mailbox: Any) -> None:
    browser = signed_in("viewer")
    sentence = "12 minutes ahead of the clock of MESH"
    assert sentence in page(browser, mailbox(clock_skew_seconds=720))
    assert "6 minutes 40 seconds behind" in page(browser, mailbox(clock_skew_seconds=-400))
    assert "the clock of MESH" not in page(browser, mailbox(clock_skew_seconds=-300))


def test_what_a_certificate_has_left(identity: Any) -> None:
    now = timezone.now()
    identity.not_after = now + timedelta(days=31)
    assert (certificate_life(identity, now).words, certificate_life(identity, now).tone) == ("31 days left", "quiet")
    identity.not_after = now + timedelta(days=30)
    assert certificate_life(identity, now).tone == "warn"
    identity.not_after = now + timedelta(hours=5, minutes=30)
    assert certificate_life(identity, now).words == "5 hours left"
    identity.not_after = now
    assert certificate_life(identity, now).words == "Expired"
    identity.not_after, identity.not_before = now + timedelta(days=9), now + timedelta(days=1)
    assert certificate_life(identity, now).words == "Not valid yet"
    assert certificate_life(None, now).tone == "bad"


def test_a_handshake_is_overdue_after_a_day_and_an_hour(mailbox: Any) -> None:
    now = timezone.now()
    ours = mailbox(last_polled_at=now, last_handshake_at=now - timedelta(hours=24, minutes=59))
    assert not Standing(ours, now).handshake_late
    ours.last_handshake_at = now - timedelta(hours=25, minutes=1)
    assert Standing(ours, now).handshake_late
    ours.mode = "paused"
    assert not Standing(ours, now).handshake_late


def test_the_inbox_is_fetched_from_the_address_that_its_link_has(signed_in: Any, mailbox: Any) -> None:
    ours = mailbox()
    html = page(signed_in("viewer"), ours)
    inbox = address(ours, "inbox/")
    assert f'<div id="rows" hx-get="{inbox}" hx-trigger="load"' in html
    assert f'<a href="{inbox}">Open the inbox</a>' in html


def test_the_strip_refreshes_as_a_fragment(signed_in: Any, mailbox: Any) -> None:
    ours = mailbox()
    html = signed_in("viewer").get(address(ours), headers={"HX-Request": "true", "HX-Target": "standing"}).content.decode()
    assert html.strip().startswith('<div id="standing"')
    assert "<h1" not in html


def test_poll_now_makes_the_mailbox_due_and_is_audited(signed_in: Any, mailbox: Any) -> None:
    ours = mailbox(next_poll_at=timezone.now() + timedelta(minutes=4))
    browser = signed_in("operator")
    answer = browser.post(address(ours, "poll/"), follow=True)
    assert answer.redirect_chain == [(address(ours), 302)]
    assert "is due now" in answer.content.decode()
    ours.refresh_from_db()
    assert ours.next_poll_at <= timezone.now()
    assert AuditEvent.objects.get().action == "mailbox.poll_asked"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"mode": "paused"}, "This mailbox is paused"),
        ({"lease_token": uuid.uuid4(), "lease_until": "soon"}, "being polled right now"),
        ({"last_listed_at": "now"}, "try again in a minute"),
    ],
)
def test_poll_now_is_refused_with_the_reason(fields: dict[str, Any], sentence: str, signed_in: Any, mailbox: Any) -> None:
    now = timezone.now()
    moments = {"soon": now + timedelta(minutes=1), "now": now}
    ours = mailbox(next_poll_at=now + timedelta(minutes=4), **{name: moments.get(value, value) for name, value in fields.items()})
    answer = signed_in("operator").post(address(ours, "poll/"), follow=True)
    html = answer.content.decode()
    assert sentence in html
    assert "Not done" in html
    ours.refresh_from_db()
    assert ours.next_poll_at > now
    assert not AuditEvent.objects.exists()


@pytest.mark.tenancy
@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_who_may_not_poll_gets_a_404_and_nothing_changes(role: str, signed_in: Any, mailbox: Any) -> None:
    ours = mailbox(next_poll_at=timezone.now() + timedelta(minutes=4))
    assert signed_in(role).post(address(ours, "poll/")).status_code == 404
    ours.refresh_from_db()
    assert ours.next_poll_at > timezone.now()


@pytest.mark.tenancy
def test_a_mailbox_of_another_team_cannot_be_polled(signed_in: Any, mailbox: Any, other_team: Any) -> None:
    ours = mailbox(next_poll_at=timezone.now() + timedelta(minutes=4))
    assert signed_in("manager", team=other_team).post(f"/t/otherton/mailboxes/{ours.pk}/poll/").status_code == 404
    ours.refresh_from_db()
    assert ours.next_poll_at > timezone.now()


def test_the_address_of_the_button_is_no_page(signed_in: Any, mailbox: Any) -> None:
    ours = mailbox()
    answer = signed_in("operator").get(address(ours, "poll/"))
    assert answer.status_code == 405
    assert address(ours) in answer.content.decode()


def test_the_page_costs_few_queries(signed_in: Any, mailbox: Any, django_assert_max_num_queries: Any) -> None:
    ours = mailbox()
    browser = signed_in("operator")
    page(browser, ours)
    with django_assert_max_num_queries(7):
        page(browser, ours)
