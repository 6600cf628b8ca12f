"""What people do with mailboxes. Each act is one transaction with its audit row."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from certificates.models import ClientIdentity, Environment
from mailboxes import folders
from mailboxes.models import Mailbox, Mode, Organisation, WatchedFolder
from mailboxes.models.mailbox import MAX_POLL_SECONDS, MIN_POLL_SECONDS
from mailboxes.problems import london
from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused

# MESH asks for at most one listing in five minutes. A person may ask for one between two, but not hammer.
POLL_NOW_GAP = timedelta(seconds=60)
_HIDDEN = "(sealed)"
FOLDER_PROBLEM = ("problem_code", "problem", "problem_advice")


def add_mailbox(
    *,
    actor: Actor,
    team: Team,
    environment: str,
    mailbox_id: str,
    name: str,
    ods_code: str,
    password: str,
    identity: ClientIdentity | None,
    mode: str = Mode.WATCH,
    workflow_filter: str = "",
    poll_interval_seconds: int | None = None,
    organisation_name: str = "",
) -> Mailbox:
    """Adds a mailbox to ``team``; an unknown ODS code becomes an organisation. Raises ValidationError by field."""
    organisation = Organisation.objects.filter(ods_code=ods_code.upper()).first() or Organisation(
        ods_code=ods_code.upper(), name=organisation_name
    )
    mailbox = Mailbox(
        team=team,
        environment=environment,
        mailbox_id=mailbox_id.upper(),
        name=name,
        password=password,
        identity=identity,
        mode=mode,
        workflow_filter=workflow_filter,
    )
    if poll_interval_seconds is not None:
        mailbox.poll_interval_seconds = poll_interval_seconds
    check_workflow_filter(workflow_filter)
    check_poll_interval(mailbox)
    if identity is not None and (identity.team_id != team.pk or identity.environment != environment):
        raise ValidationError({"identity": "Choose a certificate of this team and this environment."})
    if not password:
        raise ValidationError({"password": "Enter the mailbox's password, from the second of the two e-mails."})
    with transaction.atomic():
        if organisation._state.adding:
            organisation.full_clean()
            organisation.save()
        mailbox.organisation = organisation
        if (
            taken := Mailbox.objects.filter(environment=environment, mailbox_id=mailbox.mailbox_id)
            .only("name", "team_id")
            .first()
        ):
            raise ValidationError({"mailbox_id": _taken(taken, team)})
        mailbox.full_clean()
        mailbox.save()
        audit.record(
            actor=actor,
            action="mailbox.added",
            target=mailbox,
            team=team,
            after={"environment": environment, "mailbox_id": mailbox.mailbox_id, "ods_code": ods_code, "mode": mode},
        )
    return mailbox


def _taken(mailbox: Mailbox, team: Team) -> str:
    # Of another team no more is said than that it cannot be added (promise P8).
    if mailbox.team_id == team.pk:
        return f"Your team has this mailbox already, as “{mailbox.name}”."
    return "This mailbox ID cannot be added here. If it is your organisation's, ask whoever runs the portal."


def check_poll_interval(mailbox: Mailbox) -> None:
    """MESH API specification, Check an inbox: at most every five minutes, at least daily. Raises ValidationError."""
    least = 1 if mailbox.environment == Environment.SANDBOX else MIN_POLL_SECONDS
    if not least <= mailbox.poll_interval_seconds <= MAX_POLL_SECONDS:
        raise ValidationError(
            {
                "poll_interval_seconds": f"Give {least:,} to {MAX_POLL_SECONDS:,} seconds: MESH asks clients to look no more "
                "often than every five minutes, and at least once a day."
            }
        )


def check_workflow_filter(value: str) -> None:
    """MESH knows equal, starts with and contains, each negatable; ``*X`` alone would lose a letter. Raises ValidationError."""
    bare = value.removeprefix("!")
    if bare.startswith("*") and not (bare.endswith("*") and len(bare) > 2):
        raise ValidationError(
            {"workflow_filter": "Write *WORD* for “contains”. MESH has no “ends with”, and *WORD alone loses a letter."}
        )


def poll_now(*, actor: Actor, mailbox: Mailbox) -> str:
    """Makes the mailbox due at once, and says what happens now.

    A mailbox that is due within the gap anyway is left as it is. Raises Refused while it is paused, being polled, or was
    polled within the gap: a minute, or its own interval where that is shorter (a sandbox's).
    """
    now = timezone.now()
    with transaction.atomic():
        # Without its password: one that cannot be unsealed is shown as the outcome of the poll.
        rows = Mailbox.objects.select_for_update(of=("self",)).select_related("team").defer("password")
        mailbox = rows.get(pk=mailbox.pk)
        if mailbox.mode == Mode.PAUSED:
            raise Refused("This mailbox is paused. Nothing is polled until somebody takes it up again.")
        if mailbox.lease_until is not None and mailbox.lease_until > now:
            raise Refused("This mailbox is being polled right now. The page shows the outcome in a moment.")
        if mailbox.next_poll_at <= _earliest_poll(mailbox):
            return f"{mailbox} is about to be polled anyway. This page shows the outcome by itself."
        if mailbox.last_listed_at is not None and now - mailbox.last_listed_at < _gap(mailbox):
            raise Refused(
                f"This mailbox was polled at {london(mailbox.last_listed_at)}. MESH asks clients to leave time between "
                "polls: try again in a minute."
            )
        Mailbox.objects.filter(pk=mailbox.pk).update(next_poll_at=now, slow=False)
        audit.record(actor=actor, action="mailbox.poll_asked", target=mailbox, team=mailbox.team)
    return f"{mailbox} is due now. A worker polls it within seconds; this page shows the outcome by itself."


def note_check(*, actor: Actor, mailbox: Mailbox) -> None:
    """Records that somebody has the connection of ``mailbox`` checked, before the first step of :mod:`mailboxes.doctor`."""
    audit.record(actor=actor, action="mailbox.checked", target=mailbox, team=mailbox.team)


def take_listing(mailbox: Mailbox) -> str:
    """Takes the next listing for a check of the connection: '' when it may be asked for now, else why not.

    The next poll comes no earlier than the gap after it (promise P5).
    """
    now = timezone.now()
    with transaction.atomic():
        mailbox = Mailbox.objects.select_for_update(of=("self",)).defer("password").get(pk=mailbox.pk)
        if mailbox.mode == Mode.PAUSED:
            return "This mailbox is paused, so its inbox is not listed."
        if mailbox.lease_until is not None and mailbox.lease_until > now:
            return "This mailbox is being polled right now, so its inbox is not listed a second time."
        if mailbox.last_listed_at is not None and now - mailbox.last_listed_at < _gap(mailbox):
            return (
                f"The inbox was listed at {london(mailbox.last_listed_at)}. MESH asks clients to leave time between listings, "
                "so it was not listed again."
            )
        later = max(mailbox.next_poll_at, now + _gap(mailbox))
        Mailbox.objects.filter(pk=mailbox.pk).update(last_listed_at=now, next_poll_at=later)
    return ""


def bring_forward(mailbox: Mailbox) -> None:
    """Makes the next poll as early as the gap allows, for an act that waits for it."""
    earliest = _earliest_poll(mailbox)
    Mailbox.objects.filter(pk=mailbox.pk, next_poll_at__gt=earliest).update(next_poll_at=earliest)


def _earliest_poll(mailbox: Mailbox) -> datetime:
    now = timezone.now()
    return now if mailbox.last_listed_at is None else max(now, mailbox.last_listed_at + _gap(mailbox))


def _gap(mailbox: Mailbox) -> timedelta:
    return min(POLL_NOW_GAP, mailbox.poll_interval)


SETTINGS = frozenset(
    {"mode", "name", "password", "identity", "workflow_filter", "poll_interval_seconds", "folder", "send_from_folder"}
    | {"paused_until"}
)
CHANGED_MEANWHILE = (
    "Somebody else changed this mailbox after you opened the page, so nothing of yours was saved. Look at the settings as they "
    "are now, and make your change again."
)


def change_mailbox(*, actor: Actor, mailbox: Mailbox, reason: str = "", revision: int | None = None, **changes: Any) -> Mailbox:
    """Changes settings of a mailbox (mode, name, password, identity, workflow_filter, poll_interval_seconds, folder,
    send_from_folder, paused_until).

    A pause remembers the mode before it; ``paused_until``, with mode paused alone, is when that is taken up again by itself.
    A turn that is under way ends before its next download or acknowledge, and the next one uses the new settings, with a
    fresh handshake. The audit row holds the changed fields both ways, the
    password never. ``revision``: that of the mailbox as whoever acts saw it. Raises ValidationError by field.
    """
    if unknown := set(changes) - SETTINGS:
        raise TypeError(f"Not settings of a mailbox: {sorted(unknown)}")
    with transaction.atomic():
        # Without what is sealed: a password that no key opens is what a person is about to replace.
        rows = Mailbox.objects.select_for_update(of=("self",)).select_related("team", "identity")
        mailbox = rows.defer("password", "identity__private_key").get(pk=mailbox.pk)
        if revision is not None and mailbox.revision != revision:
            raise ValidationError(CHANGED_MEANWHILE, code="changed_meanwhile")
        if mailbox.archived_at is not None and "mode" in changes:
            raise ValidationError({"mode": "This mailbox is closed. Open it again first."})
        before = {name: _HIDDEN if name == "password" else _shown(getattr(mailbox, name)) for name in changes}
        besides = _pause(mailbox, reason, changes)
        for name, value in (besides | changes).items():
            setattr(mailbox, name, value)
        check_workflow_filter(mailbox.workflow_filter)
        check_poll_interval(mailbox)
        identity = mailbox.identity
        if identity is not None and (identity.team_id, identity.environment) != (mailbox.team_id, mailbox.environment):
            raise ValidationError({"identity": "Choose a certificate of this team and this environment."})
        if mailbox.send_from_folder and not mailbox.folder:
            raise ValidationError({"send_from_folder": "This mailbox has no folder to send from. Give it one."})
        if "folder" in changes or changes.get("send_from_folder"):
            folders.check(mailbox)
        mailbox.full_clean(exclude={"team", "organisation", *({"password"} - set(changes))})
        Mailbox.objects.filter(pk=mailbox.pk).update(
            **(besides | changes),
            revision=F("revision") + 1,
            next_poll_at=_earliest_poll(mailbox),
            slow=False,
            updated_at=timezone.now(),
        )
        if {"folder", "send_from_folder"} & set(changes):
            # Whatever was wrong with it: the next look says whether it still is.
            fresh = {"due_at": timezone.now(), "failures": 0, **dict.fromkeys(FOLDER_PROBLEM, ""), "problem_since": None}
            if mailbox.send_from_folder:
                WatchedFolder.objects.get_or_create(mailbox=mailbox)
            WatchedFolder.objects.filter(mailbox=mailbox).update(**fresh)
        audit.record(
            actor=actor,
            action="mailbox.changed",
            target=mailbox,
            team=mailbox.team,
            reason=reason,
            before=before,
            after={name: _HIDDEN if name == "password" else _shown(value) for name, value in changes.items()},
        )
    return mailbox


def _pause(mailbox: Mailbox, reason: str, changes: dict[str, Any]) -> dict[str, Any]:
    """What a change of mode sets besides: what a pause remembers, or that it is over."""
    mode = changes.get("mode", mailbox.mode)
    if mode == mailbox.mode:
        return {}
    if mode == Mode.PAUSED:
        facts = {"paused_at": timezone.now(), "pause_reason": reason[:500], "resume_mode": mailbox.mode}
        return {"paused_until": None, **facts}
    return {"paused_at": None, "paused_until": None, "pause_reason": "", "resume_mode": ""}


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return str(value) if isinstance(value, ClientIdentity) else value
