"""The page of one message: what became of it, its clocks, its timeline, and what MESH said about it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.urls import reverse
from django.utils import timezone

from meshportal.accounts import policies
from meshportal.accounts.models import Membership
from meshportal.web.masking import mask_subject
from meshportal.web.pages import DetailPage
from messages import ack_words, registry, resend, selectors, timeline, verdicts, words
from messages.forms import CancelForm, DecideForm, DiscardForm, ReasonedForm, ResendForm
from messages.handing import rows as handing
from messages.handing import words as handing_words
from messages.models import Message, MessageType, ResendPolicy
from messages.states import MEANINGS, TO_SEND, Direction, State

# The portal changes these by itself, so the page looks again while somebody reads it.
_MOVING = (State.LISTED, State.STORED, State.DISCARDING, *TO_SEND)
# The act with a form that each state allows, and who may do it. No state allows two.
_ACTS: dict[str, tuple[str, type[ReasonedForm], str]] = {
    State.QUARANTINED: ("discard", DiscardForm, "message.discard"),
    State.QUEUED: ("cancel", CancelForm, "message.send"),
    State.ON_HOLD: ("cancel", CancelForm, "message.send"),
    State.UNCERTAIN: ("decide", DecideForm, "message.send"),
    **dict.fromkeys(resend.SETTLED, ("resend", ResendForm, "message.send")),
}


def address(message: Message, *, team: str, route: str = "detail") -> str:
    """The address of a page of ``message``."""
    return reverse(f"messages:{route}", kwargs={"team": team, "pk": message.pk})


def may_retry(message: Message, membership: Membership) -> bool:
    """True when a retry by hand is possible now, for this member."""
    waits = message.state == State.LISTED and message.next_attempt_at is not None and message.next_attempt_at > timezone.now()
    return (message.state == State.QUARANTINED or waits) and policies.can(membership, "message.retry")


def holds_body(message: Message) -> bool:
    """True while the portal keeps the body."""
    payload = getattr(message, "payload", None)
    return payload is not None and payload.purged_at is None


def act_of(message: Message, membership: Membership, given: forms.BaseForm | None = None) -> tuple[str, forms.BaseForm | None]:
    """The act with a form that is possible now, for this member: its route and its form, which is ``given`` where that fits."""
    route, form_class, capability = _ACTS.get(message.state, ("", ReasonedForm, ""))
    if not route or not policies.can(membership, capability):
        return "", None
    form = given if isinstance(given, form_class) else form_class(message=message)
    if isinstance(form, ResendForm) and (not holds_body(message) or form.workflow.resend_policy == ResendPolicy.NEVER):
        # There is nothing to send again, or the workflow's rule forbids it outright.
        return "", None
    return route, form


def message_context(message: Message, membership: Membership, given: forms.BaseForm | None = None) -> dict[str, Any]:
    """Everything that the message page shows. ``given``, a form with errors, comes back where its act is still possible."""
    events = selectors.events_of(message)
    sealed = selectors.sealed_of(message)
    sent = message.direction == Direction.OUT
    attempts = selectors.attempts_of(message) if sent else []
    act, act_form = act_of(message, membership, given)
    report = message.message_type == MessageType.REPORT
    ack = getattr(message, "ack", None)
    about = selectors.acknowledged_by(message) if ack is not None and ack.about_id else None
    may_hand_on = policies.can(membership, "message.retry") and holds_body(message)
    hand_overs = [] if sent else handing_words.told(handing.of_message(message), may_act=may_hand_on, given=given)
    return {
        "line": words.Line.of(message),
        "verdict": verdicts.verdict(message, events),
        "meanings": [(message.get_state_display(), words.TONES[message.state], MEANINGS[message.state])],
        "clocks": words.clocks(message),
        "steps": [timeline.step(event) for event in events[: selectors.MAX_EVENTS]],
        "more_steps": len(events) > selectors.MAX_EVENTS,
        "moving": message.state in _MOVING or any(told.moving for told in hand_overs),
        "report": timeline.report_words(message) if report else None,
        "linked_id": words.plain(message.linked_mesh_id),
        "reports": [(found, timeline.report_words(found)) for found in selectors.reports_about(message)],
        "acks": [(found.message, ack_words.ack_words(found)) for found in selectors.acks_of(message)] if sent else [],
        "ack": ack_words.ack_words(ack) if ack is not None else None,
        "ack_about": (about, ack_words.name_of(about)) if about is not None else None,
        "subject": mask_subject(sealed.subject),
        "recipient": mask_subject(sealed.recipient),
        "addressed_to": words.plain(message.recipient_mailbox) if message.recipient_mailbox != message.mailbox.mailbox_id else "",
        "sent": sent,
        "attempts": timeline.tries(message, attempts[: selectors.MAX_EVENTS]) if attempts else [],
        "more_attempts": len(attempts) > selectors.MAX_EVENTS,
        "content_type": words.plain(message.content_type),
        "checksum": words.plain(message.checksum),
        "headers": [(name, words.masked_header(name, said)) for name, said in sorted(sealed.headers.items())],
        "sealed_problem": sealed.problem,
        "holds_body": holds_body(message),
        "may_retry": may_retry(message, membership),
        "act": act,
        "act_form": act_form,
        "sendings": [(one, words.Line.of(one)) for one in resend.chain(message)] if sent else [],
        "in_bulk": selectors.bulk_rows_of(message) if sent else [],
        "workflow": getattr(act_form, "workflow", None) or registry.known(message.team_id, message.workflow_id),
        "restore_request": words.restore_request(message) if sent and words.recoverable(message) else "",
        "for_service_desk": words.for_service_desk(message),
        "hand_overs": hand_overs,
        "environment": message.environment,
    }


class MessagePage(DetailPage):
    """One message. The fragment ``standing`` is what changes while the portal works on it."""

    capability = "message.view"
    template_name = "messages/detail.html"
    fragments = ("standing",)

    def queryset(self) -> Any:
        return selectors.whole()

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(**message_context(self.object, self.request.membership), **extra)
