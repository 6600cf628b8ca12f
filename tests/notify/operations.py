"""What the crash test does with a portal; each call runs in a process of its own, which dies where it is told to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def _die(*_arguments: Any, **_options: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def _before(module: Any, name: str) -> None:
    setattr(module, name, _die)


def _after(module: Any, name: str) -> None:
    real = getattr(module, name)

    def act(*arguments: Any, **options: Any) -> Any:
        real(*arguments, **options)
        _die()

    setattr(module, name, act)


def _plans() -> dict[str, Callable[[], None]]:
    from meshportal.notify import deliver, planning, sweep, transports, upkeep
    from meshportal.notify.models import AlertEvent, Attempt

    return {
        "before an alert is raised": lambda: _before(upkeep, "_come_up"),
        "while an alert is raised": lambda: _after(AlertEvent.objects, "bulk_create"),
        "after it was raised": lambda: _before(sweep, "escalate"),
        "before a message is planned": lambda: _before(planning, "_Plan"),
        "while a message is planned": lambda: _after(planning._Plan, "_deliver"),
        "after it was planned": lambda: _before(deliver, "run_due"),
        "after it was claimed": lambda: _before(deliver, "_begin"),
        "while the try is written": lambda: _before(Attempt.objects, "create"),
        "before it is sent": lambda: _before(transports, "send"),
        "after it was sent": lambda: _after(transports, "send"),
        "while that is written": lambda: _before(deliver, "_note"),
        "after that was written": lambda: _after(deliver, "_end"),
        "not at all": lambda: None,
    }


def steps() -> list[str]:
    return list(_plans())


def set_up(url: str, secret: str) -> None:
    from meshportal.accounts.models import Team
    from meshportal.audit.actors import Actor
    from meshportal.notify import channels

    team = Team.objects.create(name="Fleet", slug="fleet")
    config = {"url": url, "secret": secret}
    channels.add(actor=Actor.command("test"), team=team, name="Office", transport="webhook", config=config)


def work(holds: bool, step: str) -> None:
    """One round of the notify worker, in which the test's condition holds or not; it dies at ``step``."""
    from datetime import timedelta

    from meshportal.accounts.models import Team
    from meshportal.notify import deliver, planning, registry, sweep
    from meshportal.notify.models import Severity, Turn
    from meshportal.notify.registry import Condition, Kind, Rule

    kind = Kind("test.thing", "Thing", "thing broke", "things broke", Severity.CRITICAL, "Mend it.")
    registry.register_kind(kind)
    found = [Condition("test.thing", "a", "Thing", "broke.", Team.objects.get())] if holds else []
    registry._rules = {"test": Rule("test", ("test.thing",), lambda now: found)}
    planning.GATHER = planning.SETTLE = timedelta(0)
    Turn.objects.update(due_at="2020-01-01T00:00Z", lease_token=None, lease_until=None)
    _plans()[step]()
    sweep.run_due()
    planning.run()
    deliver.run_due()


def deliveries() -> list[dict[str, Any]]:
    from meshportal.notify.models import Delivery

    rows = Delivery.objects.order_by("created_at")
    return [
        {
            "id": str(row.pk),
            "status": row.status,
            "why": row.content["blocks"][0]["why"],
            "ended": row.ended_at.timestamp() if row.ended_at else None,
        }
        for row in rows
    ]


def stage() -> dict[str, str]:
    """What the rules find in the portal as it is, and two channels, one of which fails; pages by name."""
    from datetime import time

    from django.utils import timezone

    from meshportal.accounts.models import Team
    from meshportal.audit.actors import Actor
    from meshportal.notify import channels, sweep
    from meshportal.notify.models import Alert, Channel, Delivery

    team, actor = Team.objects.get(slug="fleet"), Actor.command("test")
    sweep.run(timezone.now())
    mail = channels.add(
        actor=actor,
        team=team,
        name="IT on call",
        transport="email",
        config={"to": ["a@midshire.example"]},
        digest=True,
        quiet_from=time(20),
        quiet_until=time(7),
    )
    hook = channels.add(
        actor=actor, team=team, name="Deputy", transport="teams", config={"url": "https://teams.example/x"}, escalation=True
    )
    channels.send_test(actor=actor, channel=mail)
    dead = channels.send_test(actor=actor, channel=hook)
    said = "The receiver refused the message (410)."
    Delivery.objects.filter(pk=dead.pk).update(status="dead", problem=said, tries=1)
    Channel.objects.filter(pk=hook.pk).update(problem=said, failing_since=timezone.now())
    base = "/t/fleet/channels/"
    return {
        "alert": f"/t/fleet/alerts/{Alert.objects.get(kind='mailbox.refused').pk}/",
        "mail": f"{base}{mail.pk}/",
        "hook": f"{base}{hook.pk}/",
    }
