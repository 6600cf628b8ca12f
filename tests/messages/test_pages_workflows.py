"""The workflow registry's pages, and sending again from a message's page."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from meshportal.audit.models import AuditEvent
from messages import registry
from messages.models import Message, ResendPolicy, Workflow
from messages.states import State

pytestmark = pytest.mark.django_db


def test_unreviewed_ones_stand_first_and_a_manager_reviews(signed_in: Any, team: Any) -> None:
    registry.see(team.pk, ["ZZZ_UNHEARD_OF"])
    manager = signed_in("manager")
    url = reverse("messages:workflows", kwargs={"team": team.slug})
    page = manager.get(url).content.decode()
    assert "ZZZ_UNHEARD_OF" in page
    assert "TOC_FHIR_IP_DISCH" in page
    assert "Not reviewed" in page
    row = Workflow.objects.get(workflow_id="ZZZ_UNHEARD_OF")
    one = reverse("messages:workflow", kwargs={"team": team.slug, "pk": row.pk})
    wrong = manager.post(one, {"name": "", "resend_policy": "sometimes"})
    assert wrong.status_code == 422
    assert "Enter a plain name" in wrong.content.decode()
    assert manager.post(one, {"name": "Letters", "resend_policy": "never", "owner": "Records"}).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.resend_policy, row.patient_subjects, row.owner) == ("Letters", "never", False, "Records")
    assert row.reviewed_at is not None
    event = AuditEvent.objects.get(action="workflow.reviewed")
    assert event.after["resend_policy"] == "never"
    trail = manager.get(reverse("console:audit", kwargs={"team": team.slug})).content.decode()
    assert "reviewed workflow" in trail
    assert manager.get(url).content.decode().index("ZZZ_UNHEARD_OF") > page.index("TOC_FHIR_IP_DISCH")


def test_others_read_it_and_change_nothing(signed_in: Any, team: Any) -> None:
    row = registry.known(team.pk, "TOC_FHIR_IP_DISCH")
    one = reverse("messages:workflow", kwargs={"team": team.slug, "pk": row.pk})
    operator = signed_in("operator")
    page = operator.get(one).content.decode()
    assert "Save as reviewed" not in page
    assert "A manager of your team can change this" in page
    assert operator.post(one, {"name": "Mine", "resend_policy": "allowed"}).status_code == 404
    row.refresh_from_db()
    assert row.reviewed_at is None


def resend_url(message: Message) -> str:
    return reverse("messages:resend", kwargs={"team": message.team.slug, "pk": message.pk})


def detail(message: Message) -> str:
    return reverse("messages:detail", kwargs={"team": message.team.slug, "pk": message.pk})


def test_a_returned_letter_is_sent_again_from_its_page(signed_in: Any, message: Any) -> None:
    row = message(state="returned", body=b"a letter")
    operator = signed_in("operator")
    assert "Send again" in operator.get(detail(row)).content.decode()
    wrong = operator.post(resend_url(row), {"recipient": "not a mailbox", "reason": ""})
    assert wrong.status_code == 422
    assert "Say why it is sent again" in wrong.content.decode()
    assert "not a mailbox" in wrong.content.decode().lower()
    assert operator.post(resend_url(row), {"recipient": "x26hc777", "reason": "they moved"}).status_code == 302
    new = Message.objects.exclude(pk=row.pk).get()
    assert (new.state, new.recipient_mailbox) == (State.QUEUED, "X26HC777")
    for page in (operator.get(detail(row)), operator.get(detail(new))):
        text = page.content.decode()
        assert "Sendings of this document" in text
        assert "they moved" in text


def test_collected_ones_need_the_tick_and_on_request_needs_who_asked(signed_in: Any, message: Any) -> None:
    row = message(state="collected", body=b"a letter", workflow_id="ZZZ")
    operator = signed_in("operator")
    given = {"recipient": row.recipient_mailbox, "reason": "lost at the practice"}
    wrong = operator.post(resend_url(row), given).content.decode()
    assert "Say who asked" in wrong
    assert "Tick the box" in wrong
    assert operator.post(resend_url(row), {**given, "asked_by": "reception", "confirm": "on"}).status_code == 302
    assert Message.objects.count() == 2


def test_the_rule_never_shows_no_form_and_takes_none(signed_in: Any, message: Any, team: Any) -> None:
    row = message(state="returned", body=b"a letter")
    Workflow.objects.filter(pk=registry.known(team.pk, row.workflow_id).pk).delete()
    Workflow.objects.create(team=team, workflow_id=row.workflow_id, resend_policy=ResendPolicy.NEVER)
    operator = signed_in("operator")
    assert "confirm-send-again" not in operator.get(detail(row)).content.decode()
    answer = operator.post(resend_url(row), {"recipient": "X26HC777", "reason": "please"}, follow=True)
    assert "never sends messages of" in answer.content.decode()
    assert Message.objects.count() == 1
