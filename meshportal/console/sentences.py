"""Audit events as sentences in plain English: "read the body of message 2026…, in mailbox X26HC001"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from mailboxes.models import Mode
from meshportal.accounts.models import Role
from meshportal.audit.models import AuditEvent
from meshportal.console import onboarding_sentences, switch_sentences
from meshportal.web.time import london

_PAGES = {
    "message": "messages:detail",
    "alert": "console:alert",
    "mailbox": "mailboxes:detail",
    "bulkresend": "messages:bulk-resend",
    "clientidentity": "certificates:detail",
    "onboarding": "mailboxes:onboarding",
    "rollover": "mailboxes:roll-over",
    "mailboximport": "mailboxes:imported",
    "examination": "mailboxes:examination",
    "switchcase": "switches:case",
    "certificaterequest": "certificates:requested",
    "addressentry": "addresses:detail",
}

_FIELDS = {
    "hand_on_to_folder": "handing on to its folder",
    "webhook_url": "webhook",
    "identity": "certificate",
    "poll_interval_seconds": "poll interval in seconds",
    "workflow_filter": "workflow filter",
}


@dataclass(frozen=True)
class Told:
    """What was done: words before and after the object's name."""

    before: str
    after: str = ""


def tell(event: AuditEvent) -> Told:
    """The sentence of ``event`` without who did it and to what. An act that nobody put into words is named as it is."""
    telling = _TELLINGS.get(event.action)
    if telling is not None:
        return telling(event)
    return Told(f"did “{event.action.replace('.', ': ').replace('_', ' ')}” on")


def sentence(event: AuditEvent) -> str:
    """The whole sentence, for a file."""
    told = tell(event)
    return f"{who(event)[0]} {told.before} {event.target_label}{told.after}".strip()


def who(event: AuditEvent) -> tuple[str, str]:
    """The actor's name, and what stands under it: the e-mail address of a person."""
    name, separator, rest = event.actor_label.rpartition(" <")
    if event.actor_kind == "user" and separator and rest.endswith(">"):
        return name, rest[:-1]
    return event.actor_label[:1].upper() + event.actor_label[1:], ""


def address(event: AuditEvent, team_slug: str) -> str:
    """The page of the event's object, or '' when it has none."""
    route = _PAGES.get(event.target_kind)
    return reverse(route, kwargs={"team": team_slug, "pk": event.target_id}) if route and _is_key(event.target_id) else ""


def _is_key(text: str) -> bool:
    parts = [len(part) for part in text.split("-")]
    return parts == [8, 4, 4, 4, 12] and text.replace("-", "").isalnum() and all(c in "0123456789abcdef-" for c in text)


def _body(verb: str) -> Callable[[AuditEvent], Told]:
    def telling(event: AuditEvent) -> Told:
        mailbox = event.after.get("mailbox")
        return Told(f"{verb} the body of", f", in mailbox {mailbox}" if mailbox else "")

    return telling


def _plain(before: str, after: str = "") -> Callable[[AuditEvent], Told]:
    return lambda event: Told(before, after)


def _queued(verb: str) -> Callable[[AuditEvent], Told]:
    def telling(event: AuditEvent) -> Told:
        mailbox, recipient = event.after.get("mailbox"), event.after.get("recipient")
        where = f", from mailbox {mailbox} to {recipient}" if mailbox and recipient else ""
        return Told(verb, where)

    return telling


def _handed_on_again(event: AuditEvent) -> Told:
    where = {"folder": "the folder", "webhook": "the webhook"}.get(str(event.after.get("channel")), "a consumer")
    mailbox = event.after.get("mailbox")
    return Told("asked to hand on", f" again, to {where}{f' of mailbox {mailbox}' if mailbox else ''}")


def _decided(event: AuditEvent) -> Told:
    return Told("decided that", " arrived") if event.after.get("arrived") else Told("decided to send", " again")


def _mailbox_added(event: AuditEvent) -> Told:
    mode = _label(Mode, event.after.get("mode"))
    return Told("added mailbox", f" in {mode} mode" if mode else "")


def _mailbox_changed(event: AuditEvent) -> Told:
    changes = [_change(name, event.before.get(name), value) for name, value in sorted(event.after.items())]
    return Told("changed mailbox", f": {'; '.join(changes)}" if changes else "")


def _workflows_declared(event: AuditEvent) -> Told:
    names = sorted(name for name, value in event.after.items() if value != event.before.get(name))
    changes = [_change(name, event.before.get(name), event.after[name]) for name in names]
    return Told("declared workflows of mailbox", f": {'; '.join(changes)}" if changes else "")


def _noted(event: AuditEvent) -> Told:
    before, after = event.before.get("tags"), event.after.get("tags")
    changes = [_change("tags", before, after)] if before != after else []
    changes += ["its notes"] if event.after.get("notes") == "changed" else []
    return Told("changed, of mailbox", f", {' and '.join(changes)}")


def _imported(verb: str) -> Callable[[AuditEvent], Told]:
    def telling(event: AuditEvent) -> Told:
        added, changed = (int(event.after.get(name) or 0) for name in ("added", "changed"))
        return Told(verb, f", which adds {_mailboxes(added)} and changes {_mailboxes(changed)}")

    return telling


def _examined(verb: str) -> Callable[[AuditEvent], Told]:
    return lambda event: Told(verb, f", of {_mailboxes(int(event.after.get('mailboxes') or 0))}")


def _mailboxes(number: int) -> str:
    return f"{number:,} mailbox{'' if number == 1 else 'es'}"


def _workflow_reviewed(event: AuditEvent) -> Told:
    changes = [_change(name, event.before.get(name), value) for name, value in sorted(event.after.items())]
    return Told("reviewed workflow", f": {'; '.join(changes)}" if changes else ", and left it as it is")


def _change(name: str, before: Any, after: Any) -> str:
    field = _FIELDS.get(name, name.replace("_", " "))
    if name in ("password", "webhook_secret"):
        return "a new password" if name == "password" else "a new secret of its webhook"
    if name == "mode":
        before, after = _label(Mode, before), _label(Mode, after)
    if name == "paused_until":
        before, after = (london(datetime.fromisoformat(value)) if value else value for value in (before, after))
    return f"{field} from {_value(before)} to {_value(after)}"


def _value(value: Any) -> str:
    return "nothing" if value in (None, "") else f"“{value}”"


def _role_set(event: AuditEvent) -> Told:
    before, after = _label(Role, event.before.get("role")), _label(Role, event.after.get("role"))
    if not before:
        article = "an" if after[:1] in "aeiou" else "a"
        return Told("made", f" {article} {after} of this team")
    return Told("changed the role of", f" from {before} to {after}")


def _assigned(event: AuditEvent) -> Told:
    to = event.after.get("to")
    return Told("assigned the alert", f" to {to}" if to else " to nobody in particular")


def _channel_changed(event: AuditEvent) -> Told:
    changes = [_change(name, event.before.get(name), value) for name, value in sorted(event.after.items())]
    return Told("changed the channel", f": {'; '.join(changes)}" if changes else ", and left it as it is")


def _subscribed(event: AuditEvent) -> Told:
    facts = event.after or event.before
    verb = "had the channel" if event.after else "no longer has the channel"
    return Told(verb, f" told of {facts.get('kind', '')}".rstrip())


def _certificate_added(event: AuditEvent) -> Told:
    subject = event.after.get("subject")
    return Told("added the certificate", f", issued to {subject}" if subject else "")


def _rolled(verb: str, joining: str) -> Callable[[AuditEvent], Told]:
    def telling(event: AuditEvent) -> Told:
        number, left = int(event.after.get("mailboxes") or 0), event.after.get("left") or []
        said = f", {joining} {number:,} mailbox{'' if number == 1 else 'es'}"
        return Told(
            verb, said + (f"; left {', '.join(left[:5])}{' and more' if len(left) > 5 else ''} as before" if left else "")
        )

    return telling


def _issued(verb: str) -> Callable[[AuditEvent], Told]:
    def telling(event: AuditEvent) -> Told:
        subject = event.after.get("subject")
        return Told(verb, f", common name {subject}" if subject else "")

    return telling


def _address_added(event: AuditEvent) -> Told:
    mailbox = event.after.get("mailbox")
    return Told("added to the address book", f", at mailbox {mailbox}" if mailbox else "")


def _address_confirmed(event: AuditEvent) -> Told:
    before, after = event.before.get("mailbox"), event.after.get("mailbox")
    return Told("confirmed the address of", f": {after}{f' instead of {before}' if before and before != after else ''}")


def _address_followed(event: AuditEvent) -> Told:
    before, after = event.before.get("mailbox"), event.after.get("mailbox")
    return Told("had the address book follow a switch, for", f": {after}{f' instead of {before}' if before else ''}")


def _of_switch(event: AuditEvent) -> Told:
    return Told(*(switch_sentences.words(event) or ("acted on the",)))


def _filtered(event: AuditEvent) -> str:
    filters = event.after.get("filters") or {}
    chosen = ", ".join(f"{name} “{value}”" for name, value in sorted(filters.items()))
    return f", filtered by {chosen}" if chosen else ""


def _exported(event: AuditEvent) -> Told:
    return Told("exported the", _filtered(event) or ", all of it")


def _bulk_begun(event: AuditEvent) -> Told:
    number, left = _messages(event.after.get("messages")), event.after.get("left")
    return Told("began", f" of {number}{_filtered(event)}" + (f"; left {_messages(left)} as they were" if left else ""))


def _bulk_stopped(event: AuditEvent) -> Told:
    return Told("stopped", f" with {_messages(event.after.get('left'))} left as they were")


def _restore_exported(event: AuditEvent) -> Told:
    return Told("exported the", f", {_messages(event.after.get('messages'))}{_filtered(event)}")


def _messages(number: Any) -> str:
    return "1 message" if number == 1 else f"{int(number or 0):,} messages"


def _label(choices: Any, value: Any) -> str:
    try:
        return str(choices(value).label).lower()
    except ValueError:
        return str(value or "")


_TELLINGS: dict[str, Callable[[AuditEvent], Told]] = {
    **dict.fromkeys(switch_sentences.ACTIONS, _of_switch),
    **{action: _plain(words) for action, words in onboarding_sentences.BEFORE.items()},
    "message.body_read": _body("read"),
    "message.body_downloaded": _body("downloaded"),
    "message.retried": _plain("asked to try", " again"),
    "message.discarded": _plain("decided to acknowledge", " without keeping it"),
    "message.handed_on_again": _handed_on_again,
    "message.composed": _queued("composed"),
    "message.file_added": _queued("added the file of"),
    "message.unsent_discarded": _queued("discarded"),
    "message.queued": _queued("queued"),
    "message.resent": _queued("queued, as another one sent again,"),
    "message.cancelled": _plain("cancelled", " before it was sent"),
    "message.decided": _decided,
    "bulk_resend.begun": _bulk_begun,
    "bulk_resend.stopped": _bulk_stopped,
    "restore_request.exported": _restore_exported,
    "workflow.reviewed": _workflow_reviewed,
    "mailbox.poll_asked": _plain("asked for a poll of mailbox"),
    "mailbox.checked": _plain("had the connection checked of mailbox"),
    "mailbox.added": _mailbox_added,
    "mailbox.changed": _mailbox_changed,
    "mailbox.noted": _noted,
    "mailbox.workflows_declared": _workflows_declared,
    "mailbox_import.prepared": _imported("uploaded the"),
    "mailbox_import.applied": _imported("carried out the"),
    "mailbox_import.discarded": _plain("discarded the"),
    "client_import.prepared": _examined("uploaded the files for the"),
    "client_import.applied": _plain("carried out the"),
    "client_import.discarded": _plain("discarded the files for the"),
    "mailboxes.exported": _examined("exported the"),
    "examination.begun": _examined("began the"),
    "examination.retried": _examined("asked again for those that failed in the"),
    "roll_over.begun": _plain("began the"),
    "roll_over.test_asked": _rolled("asked for a test of the new certificate, for the", "with"),
    "roll_over.switched": _rolled("switched mailboxes, by the", "for"),
    "roll_over.undone": _rolled("went back to the old certificate, undoing the", "for"),
    "certificate.added": _certificate_added,
    "address.added": _address_added,
    "address.check_asked": _plain("had MESH asked for the address of"),
    "address.confirmed": _address_confirmed,
    "address.followed": _address_followed,
    "address.removed": _plain("removed from the address book", ""),
    "alert.raised": _plain("raised the alert"),
    "alert.acknowledged": _plain("acknowledged the alert"),
    "alert.snoozed": _plain("snoozed the alert"),
    "alert.woken": _plain("no longer snoozed the alert"),
    "alert.assigned": _assigned,
    "alert.commented": _plain("commented on the alert"),
    "alert.closed": _plain("closed the alert"),
    "channel.added": _plain("added the channel"),
    "channel.changed": _channel_changed,
    "channel.removed": _plain("removed the channel"),
    "channel.subscribed": _subscribed,
    "channel.unsubscribed": _subscribed,
    "channel.tested": _plain("sent a test to the channel"),
    "certificate.requested": _issued("made a key and a request for the certificate"),
    "certificate.received": _issued("gave the certificate that was requested as"),
    "certificate.key_exported": _issued("took the private key out of"),
    "calendar_address.made": _plain("made the"),
    "calendar_address.replaced": _plain("made a new address in place of the", ", which is 404 from then on"),
    "calendar_address.ended": _plain("ended the"),
    "certificate.request_withdrawn": _issued("withdrew the request for the certificate"),
    "member.role_set": _role_set,
    "team.added": _plain("added the team"),
    "audit.exported": _exported,
}
