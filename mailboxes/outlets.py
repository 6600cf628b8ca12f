"""Where a mailbox hands its received messages on to: set by people, each change with its audit row."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from mailboxes.models import Channel, Mailbox, Outlet
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core import outbound

MIN_SECRET = 32
_HIDDEN = "(sealed)"


def set_folder(*, actor: Actor, mailbox: Mailbox, enabled: bool, reason: str = "") -> Outlet:
    """Switches handing on to the mailbox's folder on or off. Raises ValidationError when it has no folder."""
    with transaction.atomic():
        folder = Mailbox.objects.select_for_update(of=("self",)).values_list("folder", flat=True).get(pk=mailbox.pk)
        if enabled and not folder:
            raise ValidationError({"hand_on_to_folder": "This mailbox has no folder. Give it one."})
        return _set(actor, mailbox, Channel.FOLDER, reason, {"enabled": enabled}, "hand_on_to_folder", enabled)


def set_webhook(*, actor: Actor, mailbox: Mailbox, url: str, secret: str | None = None, reason: str = "") -> Outlet:
    """Sets the address of the mailbox's webhook, '' for none, and its secret where one is given.

    Messages that are stored from now on go there. Raises ValidationError by field. The secret stands in no audit row.
    """
    with transaction.atomic():
        Mailbox.objects.select_for_update(of=("self",)).values_list("pk").get(pk=mailbox.pk)
        changes: dict[str, Any] = {"url": url, "enabled": bool(url)}
        if url:
            try:
                outbound.check_url(url)
            except outbound.Unusable as error:
                raise ValidationError({"webhook_url": str(error)}) from None
            if len(url) > 500:
                raise ValidationError({"webhook_url": "Keep the address within 500 characters."})
        known = Outlet.objects.filter(mailbox=mailbox, channel=Channel.WEBHOOK, secret__isnull=False).exists()
        if secret is not None:
            if len(secret) < MIN_SECRET or not secret.isascii() or not secret.isprintable():
                raise ValidationError({"webhook_secret": f"Give a secret of at least {MIN_SECRET} printable ASCII characters."})
            changes["secret"] = secret
        elif url and not known:
            raise ValidationError({"webhook_secret": "Give a secret: requests are signed with it."})
        return _set(actor, mailbox, Channel.WEBHOOK, reason, changes, "webhook_url", url)


def webhook_url(mailbox: Mailbox) -> str:
    """The address of the mailbox's webhook, '' when it has none."""
    return Outlet.objects.filter(mailbox=mailbox, channel=Channel.WEBHOOK).values_list("url", flat=True).first() or ""


def _set(actor: Actor, mailbox: Mailbox, channel: Channel, reason: str, changes: dict[str, Any], name: str, value: Any) -> Outlet:
    outlet = Outlet.objects.filter(mailbox=mailbox, channel=channel).defer("secret").first()
    before = None if outlet is None else (outlet.url if channel == Channel.WEBHOOK else outlet.enabled)
    if outlet is None:
        outlet = Outlet.objects.create(team_id=mailbox.team_id, mailbox=mailbox, channel=channel, **changes)
    else:
        # Whatever was wrong with it: the next try says whether it still is.
        fresh = {"resume_at": timezone.now(), "failures": 0, "slow": False, "problem_since": None}
        texts = dict.fromkeys(("problem_code", "problem", "problem_advice"), "")
        Outlet.objects.filter(pk=outlet.pk).update(**changes, **fresh, **texts, updated_at=timezone.now())
        for field, given in changes.items():
            setattr(outlet, field, given)
    audit.record(
        actor=actor,
        action="mailbox.changed",
        target=mailbox,
        team=mailbox.team,
        reason=reason,
        before={name: before or ("" if channel == Channel.WEBHOOK else False)},
        after={name: value, **({"webhook_secret": _HIDDEN} if "secret" in changes else {})},
    )
    return outlet
