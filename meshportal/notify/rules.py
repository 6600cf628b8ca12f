"""Rules about the portal itself. Each team has an alert of its own, so that each can acknowledge it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from meshportal.accounts.models import Role, Team
from meshportal.core.heartbeats import QueueHealth, queue_health
from meshportal.core.queues import QUEUES
from meshportal.notify.models import Channel, Severity
from meshportal.notify.registry import Condition, Kind, Rule, register_kind, register_rule
from meshportal.notify.sweep import RULE_BROKEN

WORKER_SILENT = "portal.worker_silent"
STORAGE = "portal.storage_unwritable"
DISK = "portal.disk_nearly_full"
CHANNEL = "notify.channel_failing"

# Beyond the minute after which the overview shows it: a restart takes that long.
SILENT_FOR = timedelta(minutes=3)
DISK_CRITICAL_PERCENT = 3

# What stands still while the worker of a queue is silent, the worst first.
WAITS = {
    "poll": "no mailbox is polled",
    "send": "no message is sent",
    "hand_over": "no message is handed on",
    "notify": "nobody is warned",
    "default": "housekeeping waits",
}


def register() -> None:
    """Makes the kinds and rules of this module known."""
    for kind in KINDS:
        register_kind(kind)
    for rule in RULES:
        register_rule(rule)


def workers(now: datetime) -> Iterator[Condition]:
    """Queues that nothing comes out of: their worker is silent, or, when it is all of them, the scheduler."""
    queues = queue_health(QUEUES, now)
    silent = [queue for queue in queues if queue.seen_at is None or now - queue.seen_at > SILENT_FOR]
    if not silent:
        return
    words = silence_words(silent, all_of_them=len(silent) == len(queues))
    for team in _teams():
        yield Condition(
            kind=WORKER_SILENT,
            key="workers",
            subject=words[0],
            sentence=words[1],
            team=team,
            level=len(silent),
            url_name="console:overview",
            url_args={"team": team.slug},
            since=min((queue.seen_at for queue in silent if queue.seen_at), default=None),
        )


def silence_words(silent: Sequence[QueueHealth], *, all_of_them: bool) -> tuple[str, str]:
    """What is silent, and what that means."""
    if all_of_them:
        return "The scheduler or the workers", "are silent on every queue: no mailbox is polled, and no message is sent."
    quoted = [f"“{queue.queue}”" for queue in silent]
    names = " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)
    *others, last = [sentence for name, sentence in WAITS.items() if any(queue.queue == name for queue in silent)]
    waits = f"{', '.join(others)}, and {last}" if others else last
    one = len(silent) == 1
    return f"Queue{'' if one else 's'} {names}", f"{'is' if one else 'are'} silent: {waits}."


def storage(now: datetime) -> Iterator[Condition]:
    """Writes a file where the bodies go, and takes it away again."""
    where = storages["payloads"]
    try:
        name = where.save("probes/notify", ContentFile(b"written to see whether that is possible"))
        where.delete(name)
    except Exception:
        # Whatever a storage raises, nothing can be stored.
        for team in _teams():
            yield Condition(
                kind=STORAGE,
                key="storage",
                subject="Storage",
                sentence="cannot be written: no message can be stored, so none is acknowledged.",
                team=team,
            )


def disk(now: datetime) -> Iterator[Condition]:
    """The disk with the data folder."""
    usage = shutil.disk_usage(settings.DATA_DIR)
    percent = usage.free * 100 // usage.total
    if percent >= settings.NOTIFY_DISK_PERCENT:
        return
    critical = percent < DISK_CRITICAL_PERCENT
    for team in _teams():
        yield Condition(
            kind=DISK,
            key="disk",
            subject="Disk",
            sentence=f"is nearly full: {percent}% is free. When it is full, nothing can be stored.",
            team=team,
            level=1 + critical,
            severity=Severity.CRITICAL if critical else Severity.WARNING,
        )


def channels(now: datetime) -> Iterator[Condition]:
    """Channels that a message could not be brought to."""
    for channel in Channel.objects.filter(failing_since__isnull=False, enabled=True).select_related("team").defer("config"):
        assert channel.failing_since is not None  # By the filter.  # noqa: S101
        yield Condition(
            kind=CHANNEL,
            key=str(channel.pk),
            subject=f"Channel “{channel.name}”",
            sentence="does not take messages, so nobody is warned by it.",
            team=channel.team,
            level=int(channel.failing_since.timestamp()),
            url_name="console:channel",
            url_args={"team": channel.team.slug, "pk": str(channel.pk)},
        )


def _teams() -> Iterable[Team]:
    return Team.objects.order_by("pk")


_RUNS_IT = "Ask whoever runs the portal"
KINDS = (
    Kind(
        RULE_BROKEN,
        "Warnings cannot be worked out",
        "rule for warnings fails",
        "rules for warnings fail",
        Severity.CRITICAL,
        f"{_RUNS_IT} to look in the log for “rule_failed”. What this rule warns of is not noticed until then.",
        Role.MANAGER,
    ),
    Kind(
        WORKER_SILENT,
        "Worker or scheduler silent",
        "part of the portal is silent",
        "parts of the portal are silent",
        Severity.CRITICAL,
        f"{_RUNS_IT} to look at the scheduler first, then at the workers. Messages are safe in MESH for 5 days.",
        Role.MANAGER,
    ),
    Kind(
        STORAGE,
        "Storage cannot be written",
        "storage cannot be written",
        "storages cannot be written",
        Severity.CRITICAL,
        f"{_RUNS_IT} to check free disk space and the storage settings. Nothing is lost: MESH keeps the messages for 5 days.",
        Role.MANAGER,
    ),
    Kind(
        DISK,
        "Disk nearly full",
        "disk is nearly full",
        "disks are nearly full",
        Severity.WARNING,
        f"{_RUNS_IT} to make room, or to add some.",
        Role.MANAGER,
    ),
    Kind(
        CHANNEL,
        "Channel fails",
        "channel does not take messages",
        "channels do not take messages",
        Severity.CRITICAL,
        "Open the channel to see what it answered, mend it, and send a test.",
        Role.MANAGER,
    ),
)
RULES = (
    Rule("workers", (WORKER_SILENT,), workers),
    Rule("channels", (CHANNEL,), channels),
    Rule("disk", (DISK,), disk),
    Rule("storage", (STORAGE,), storage),
)
