"""Setting up where a team is told. Addresses and secrets are sealed, and never in the audit."""

from __future__ import annotations

from datetime import time
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from meshportal.accounts.models import Team
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core import outbound
from meshportal.core.acts import Refused
from meshportal.notify import registry, wording
from meshportal.notify.models import Channel, Delivery, Purpose, Severity, Status, Subscription, Transport

MOST_ADDRESSES = 20
SHORTEST_SECRET = 16
# A test that was not sent yet needs no second one.
_TESTS_AT_ONCE = 1

_AUDITED = ("name", "enabled", "escalation", "digest", "quiet_from", "quiet_until")


def add(
    *,
    actor: Actor,
    team: Team,
    name: str,
    transport: str,
    config: dict[str, Any],
    escalation: bool = False,
    digest: bool = False,
    quiet_from: time | None = None,
    quiet_until: time | None = None,
) -> Channel:
    """A new channel, told of every kind from a warning on. Raises ValidationError by field."""
    checked, hint = check_config(transport, config)
    channel = Channel(
        team=team,
        name=name.strip(),
        transport=transport,
        config=checked,
        hint=hint,
        escalation=escalation,
        digest=digest,
        quiet_from=quiet_from,
        quiet_until=quiet_until,
    )
    _check_hours(channel)
    with transaction.atomic():
        channel.full_clean(exclude={"config"})
        channel.save()
        Subscription.objects.create(channel=channel, kind="", severity=Severity.WARNING)
        audit.record(
            actor=actor,
            action="channel.added",
            target=channel,
            team=team,
            after={"transport": transport, "escalation": escalation, "digest": digest},
        )
    return channel


def change(*, actor: Actor, channel: Channel, config: dict[str, Any] | None = None, **changes: Any) -> Channel:
    """Changes a channel; ``config`` only where it is given. Raises ValidationError by field."""
    if unknown := set(changes) - set(_AUDITED):
        raise TypeError(f"Not settings of a channel: {sorted(unknown)}")
    with transaction.atomic():
        channel = Channel.objects.select_for_update(of=("self",)).select_related("team").defer("config").get(pk=channel.pk)
        before = {name: _shown(getattr(channel, name)) for name in changes}
        for name, value in changes.items():
            setattr(channel, name, value)
        fields = [*changes, "updated_at"]
        after = {name: _shown(value) for name, value in changes.items()}
        if config is not None:
            channel.config, channel.hint = check_config(channel.transport, config)
            fields += ["config", "hint"]
            before["address"], after["address"] = "(sealed)", "(sealed)"
        _check_hours(channel)
        channel.full_clean(exclude={"config"})
        channel.save(update_fields=fields)
        differ = [name for name in after if before[name] != after[name] or name == "address"]
        audit.record(
            actor=actor,
            action="channel.changed",
            target=channel,
            team=channel.team,
            before={name: before[name] for name in differ},
            after={name: after[name] for name in differ},
        )
    return channel


def remove(*, actor: Actor, channel: Channel) -> None:
    """Takes a channel away, with what waits to be sent to it."""
    with transaction.atomic():
        found = Channel.objects.select_for_update(of=("self",)).select_related("team").defer("config").get(pk=channel.pk)
        audit.record(actor=actor, action="channel.removed", target=found, team=found.team)
        Delivery.objects.filter(channel=found).delete()
        found.delete()


def subscribe(*, actor: Actor, channel: Channel, kind: str, severity: int) -> Subscription:
    """From now on the channel is told of ``kind`` ('' for every one) from ``severity`` on. Raises ValidationError."""
    if kind and kind not in {found.name for found in registry.kinds()}:
        raise ValidationError({"kind": "Choose one of the kinds."})
    if severity not in Severity.values:
        raise ValidationError({"severity": "Choose one of the three."})
    with transaction.atomic():
        # The same kind twice is one subscription with the new severity.
        found, _ = Subscription.objects.update_or_create(channel=channel, kind=kind, defaults={"severity": severity})
        audit.record(
            actor=actor,
            action="channel.subscribed",
            target=channel,
            team=channel.team,
            after={"kind": kind or "every kind", "severity": str(Severity(severity).label)},
        )
    return found


def unsubscribe(*, actor: Actor, subscription: Subscription) -> None:
    """The channel is no longer told of it."""
    with transaction.atomic():
        channel = subscription.channel
        audit.record(
            actor=actor,
            action="channel.unsubscribed",
            target=channel,
            team=channel.team,
            before={"kind": subscription.kind or "every kind"},
        )
        subscription.delete()


def send_test(*, actor: Actor, channel: Channel) -> Delivery:
    """Queues a test. Raises Refused while one waits already."""
    with transaction.atomic():
        found = Channel.objects.select_for_update(of=("self",)).select_related("team").defer("config").get(pk=channel.pk)
        waiting = Delivery.objects.filter(channel=found, purpose=Purpose.TEST, status=Status.WAITING)
        if waiting.count() >= _TESTS_AT_ONCE:
            raise Refused("A test is on its way already. This page shows what became of it.")
        content = wording.test(found.team, actor.label.partition(" <")[0])
        delivery = Delivery.objects.create(team=found.team, channel=found, purpose=Purpose.TEST, content=content)
        audit.record(actor=actor, action="channel.tested", target=found, team=found.team)
    return delivery


def check_config(transport: str, config: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What is kept of ``config``, and what may be shown of it. Raises ValidationError by field."""
    if transport == Transport.EMAIL:
        addresses = list(dict.fromkeys(str(part).strip() for part in config.get("to", []) if str(part).strip()))
        if not addresses:
            raise ValidationError({"to": "Enter at least one email address."})
        if len(addresses) > MOST_ADDRESSES:
            raise ValidationError({"to": f"A channel takes at most {MOST_ADDRESSES} addresses. Use a distribution list."})
        for address in addresses:
            try:
                validate_email(address)
            except ValidationError:
                raise ValidationError({"to": f"“{address[:100]}” is not an email address."}) from None
        number = len(addresses)
        return {"to": addresses}, f"{number} address{'' if number == 1 else 'es'}"
    if transport not in Transport.values:
        raise ValidationError({"transport": "Choose one of the four."})
    url = str(config.get("url", "")).strip()
    try:
        outbound.check_url(url)
    except outbound.OutboundError as error:
        raise ValidationError({"url": str(error)}) from None
    checked = {"url": url}
    if transport == Transport.WEBHOOK:
        secret = str(config.get("secret", ""))
        if len(secret) < SHORTEST_SECRET:
            raise ValidationError(
                {"secret": f"Enter a secret of at least {SHORTEST_SECRET} characters; the receiver needs it too."}
            )
        checked["secret"] = secret
    return checked, (urlsplit(url).hostname or "")[:200]


def _check_hours(channel: Channel) -> None:
    if (channel.quiet_from is None) != (channel.quiet_until is None):
        raise ValidationError({"quiet_until": "Enter both ends of the quiet hours, or neither."})


def _shown(value: Any) -> Any:
    return value.strftime("%H:%M") if isinstance(value, time) else value
