"""Rules about mailboxes: what the overview shows at view time, found for every team without anybody looking.

What has one cause is told once: a mailbox that MESH refuses is not also late, and while the polling worker is silent no mailbox
is late for a reason of its own. Nothing here repeats what MESH said: it leaves the portal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from mailboxes import chain_rules, health, ladder, selectors, trust_rules
from mailboxes.models import Channel, Mailbox, Mode, Outlet, WatchedFolder
from mailboxes.switches import alerts as switches
from meshportal.accounts.models import Role
from meshportal.core.heartbeats import queue_health
from meshportal.notify.models import Severity
from meshportal.notify.registry import Condition, Kind, Rule, register_kind, register_rule
from meshportal.web.time import london

REFUSED, UNREACHABLE = "mailbox.refused", "mailbox.unreachable"
POLL_OVERDUE, HANDSHAKE_OVERDUE = "mailbox.poll_overdue", "mailbox.handshake_overdue"
PAUSED, BACKLOG, CLOCK = "mailbox.paused", "mailbox.backlog", "mailbox.clock"
FOLDER, OUTLET, CLOSING = "mailbox.folder", "mailbox.outlet", "mailbox.run_off"

# What comes from the network or from MESH as a whole, and goes by itself (see mailboxes.problems).
OUT_OF_REACH = frozenset(
    {
        "host_unknown",
        "connection_refused",
        "connect_timeout",
        "timeout",
        "connection_lost",
        "connection_dropped",
        "connection_failed",
        "throttled",
        "unavailable",
        "server_error",
        "unexpected_answer",
    }
)
# A blip of a minute mends itself before anybody could act.
UNREACHABLE_FOR = timedelta(minutes=10)
# MESH API specification: a handshake every 24 hours. Two hours of grace.
HANDSHAKE_WITHIN = timedelta(hours=26)
# Three intervals, but no less than this: a collected mailbox delivers letters, a watched one only watches.
OVERDUE_AFTER = {Mode.COLLECT: timedelta(minutes=15), Mode.WATCH: timedelta(hours=1)}
BACKLOG_WARNING, BACKLOG_CRITICAL = 250, 450

_REFUSALS = {
    "sign_in_refused": "is refused by MESH: its password, or the shared key of its environment, is wrong.",
    "mailbox_unknown": "is not known to MESH in its environment.",
    "mailbox_inactive": "is not active, says MESH.",
    "clock_wrong": "is refused by MESH because this server’s clock is wrong.",
    "certificate_refused": "is refused by MESH: its client certificate was not taken.",
    "certificate_unusable": "has a client certificate that cannot be used.",
    "certificate_expired": "has a client certificate that has expired.",
    "certificate_not_yet_valid": "has a client certificate that is not valid yet.",
    "no_certificate": "has no client certificate.",
    "no_shared_key": "cannot sign in: the shared key of its environment is not set.",
    "no_trust_bundle": "cannot be worked: its environment has no trust bundle.",
    "server_not_trusted": "was not polled: the server showed a certificate that the trust bundle does not vouch for.",
    "host_name_mismatch": "was not polled: the server showed a certificate for another name.",
    "secret_unreadable": "has a password or key that the portal’s keys do not open.",
    "storage": "has messages that cannot be written to the portal’s storage.",
}


def register() -> None:
    """Makes the kinds and rules of this module known."""
    for kind in (*KINDS, ladder.KIND, *chain_rules.KINDS, *trust_rules.KINDS, switches.KIND):
        register_kind(kind)
    for rule in (*RULES, ladder.RULE, chain_rules.RULE, trust_rules.RULE, switches.RULE):
        register_rule(rule)


def _worked(now: datetime) -> QuerySet[Any]:
    return selectors.with_standing(selectors.every_mailbox(), now).exclude(mode=Mode.PAUSED)


def problems(now: datetime) -> Iterator[Condition]:
    """Mailboxes whose last poll failed."""
    for mailbox in _worked(now).exclude(problem_code=""):
        code = mailbox.problem_code
        if code in OUT_OF_REACH:
            if mailbox.problem_since is None or mailbox.problem_since <= now - UNREACHABLE_FOR:
                yield _about(mailbox, UNREACHABLE, "cannot reach MESH, so nothing of it is collected or sent.")
        elif not selectors.said_by_its_certificate(mailbox, now):
            yield _about(mailbox, REFUSED, _REFUSALS.get(code, "cannot be worked; its page says why."))


def lateness(now: datetime) -> Iterator[Condition]:
    """Mailboxes that nobody polls although nothing stands in the way, and sign-ins that are overdue."""
    [polling] = queue_health(("poll",), now)
    for mailbox in _worked(now).filter(problem_code=""):
        quiet_since = mailbox.last_polled_at or mailbox.created_at
        if mailbox.standing == health.LATE:
            if polling.ok and now - quiet_since > OVERDUE_AFTER[Mode(mailbox.mode)]:
                sentence = f"is polled late: last at {london(quiet_since)}."
                yield _about(mailbox, POLL_OVERDUE, sentence, since=quiet_since)
            continue
        signed_in = mailbox.last_handshake_at or mailbox.created_at
        if now - signed_in > HANDSHAKE_WITHIN:
            sentence = f"has not signed in to MESH for more than a day: last at {london(signed_in)}."
            yield _about(mailbox, HANDSHAKE_OVERDUE, sentence, since=signed_in)


def paused(now: datetime) -> Iterator[Condition]:
    """Mailboxes that were paused, and perhaps forgotten."""
    for mailbox in selectors.paused_too_long(selectors.every_mailbox(), now):
        since = mailbox.paused_at or mailbox.updated_at
        yield _about(mailbox, PAUSED, f"is paused since {london(since)}.", since=since)


def closing(now: datetime) -> Iterator[Condition]:
    """Mailboxes whose run-off is over: somebody may close them for good."""
    for mailbox in selectors.run_off_over(selectors.every_mailbox(), now):
        yield _about(
            mailbox, CLOSING, "has had its 35 days of run-off and can be closed for good.", since=mailbox.run_off_ends_at
        )


def backlog(now: datetime) -> Iterator[Condition]:
    """Inboxes that fill up. MESH lists 500 at once: behind a full page of unconsumed ones nothing is seen by older clients."""
    for mailbox in _worked(now).filter(waiting_count__gte=BACKLOG_WARNING):
        critical = mailbox.waiting_count >= BACKLOG_CRITICAL
        more = f"{BACKLOG_CRITICAL if critical else BACKLOG_WARNING} or more"
        yield _about(
            mailbox,
            BACKLOG,
            f"has {more} messages waiting in MESH.",
            level=1 + critical,
            severity=Severity.CRITICAL if critical else Severity.WARNING,
        )


def clock(now: datetime) -> Iterator[Condition]:
    """One server has one clock: the mailbox of each team that was polled last knows best."""
    latest: dict[Any, Mailbox] = {}
    for mailbox in _worked(now).filter(clock_skew_seconds__isnull=False, last_polled_at__isnull=False):
        known = latest.get(mailbox.team_id)
        if known is None or mailbox.last_polled_at > known.last_polled_at:
            latest[mailbox.team_id] = mailbox
    for mailbox in latest.values():
        if health.Standing(mailbox, now).clock_warning:
            yield Condition(
                kind=CLOCK,
                key="clock",
                subject="This server’s clock",
                sentence="and the clock of MESH differ by more than 5 minutes.",
                team=mailbox.team,
                **selectors.link_to(mailbox),
            )


def folders(now: datetime) -> Iterator[Condition]:
    """Watched folders that cannot be worked: away, read-only, on a full disk."""
    for folder in WatchedFolder.objects.exclude(problem_code="").select_related("mailbox__team").defer("mailbox__password"):
        sentence = "has a watched folder that cannot be worked, so nothing in it is sent."
        yield _about(folder.mailbox, FOLDER, sentence, since=folder.problem_since)


def outlets(now: datetime) -> Iterator[Condition]:
    """Consumers that messages cannot be handed on to: a folder at once, a webhook after a while."""
    rows = Outlet.objects.filter(enabled=True).exclude(problem_code="").select_related("mailbox__team")
    for outlet in rows.defer("secret", "mailbox__password"):
        folder = outlet.channel == Channel.FOLDER
        if folder or outlet.problem_since is None or outlet.problem_since <= now - UNREACHABLE_FOR:
            sentence = f"cannot hand messages on to its {'folder' if folder else 'webhook'}. They wait in the portal."
            yield replace(_about(outlet.mailbox, OUTLET, sentence, since=outlet.problem_since), key=str(outlet.pk))


def _about(mailbox: Mailbox, kind: str, sentence: str, **fields: Any) -> Condition:
    values = {"subject": str(mailbox), "team": mailbox.team, **selectors.link_to(mailbox), **fields}
    return Condition(kind=kind, key=str(mailbox.pk), sentence=sentence, **values)


_DESK = "If it stays so, ring the National Service Desk on 0300 303 5035."
KINDS = (
    Kind(
        REFUSED,
        "Mailbox cannot be worked",
        "mailbox cannot be worked",
        "mailboxes cannot be worked",
        Severity.CRITICAL,
        "The mailbox’s page says what stands in the way and what to do. The portal goes on trying.",
    ),
    Kind(
        UNREACHABLE,
        "MESH out of reach",
        "mailbox cannot reach MESH",
        "mailboxes cannot reach MESH",
        Severity.CRITICAL,
        f"Look at the network first. The portal goes on trying, and messages are safe in MESH for 5 days. {_DESK}",
    ),
    Kind(
        POLL_OVERDUE,
        "Poll overdue",
        "mailbox is polled late",
        "mailboxes are polled late",
        Severity.WARNING,
        "Look at the workers: one that is silent or behind polls late.",
    ),
    Kind(
        HANDSHAKE_OVERDUE,
        "Handshake overdue",
        "mailbox has not signed in for a day",
        "mailboxes have not signed in for a day",
        Severity.WARNING,
        "MESH takes a mailbox that does not sign in every day for one that is not used. Look at the mailbox’s page.",
    ),
    Kind(
        PAUSED,
        "Mailbox paused for long",
        "mailbox is paused",
        "mailboxes are paused",
        Severity.WARNING,
        "Messages that nobody collects leave MESH after 5 days. Take it up again, or make sure that another client does.",
    ),
    Kind(
        CLOSING,
        "Run-off is over",
        "mailbox can be closed for good",
        "mailboxes can be closed for good",
        Severity.INFO,
        "Close it for good in its settings, or keep it open. Its history stays either way.",
        Role.MANAGER,
    ),
    Kind(
        BACKLOG,
        "Inbox fills up",
        "inbox fills up",
        "inboxes fill up",
        Severity.WARNING,
        "Look for a workflow that nobody collects. Beyond 500 messages some clients no longer see the newest.",
    ),
    Kind(
        CLOCK,
        "Clock wrong",
        "clock is wrong",
        "clocks are wrong",
        Severity.WARNING,
        "Ask whoever runs the portal to set the clock (NTP). MESH refuses sign-ins when the two are more than 2 hours apart.",
        Role.MANAGER,
    ),
    Kind(
        FOLDER,
        "Watched folder cannot be worked",
        "mailbox has a folder that cannot be worked",
        "mailboxes have folders that cannot be worked",
        Severity.CRITICAL,
        "The mailbox’s page says what stands in the way. Nothing is lost: the portal goes on trying.",
    ),
    Kind(
        OUTLET,
        "Messages cannot be handed on",
        "mailbox cannot hand messages on",
        "mailboxes cannot hand messages on",
        Severity.CRITICAL,
        "The mailbox’s page says what stands in the way. Nothing is lost: the portal goes on trying.",
    ),
)
RULES = (
    Rule("mailbox problems", (REFUSED, UNREACHABLE), problems),
    Rule("lateness", (POLL_OVERDUE, HANDSHAKE_OVERDUE), lateness),
    Rule("paused mailboxes", (PAUSED,), paused),
    Rule("run-off", (CLOSING,), closing),
    Rule("backlog", (BACKLOG,), backlog),
    Rule("clock", (CLOCK,), clock),
    Rule("watched folders", (FOLDER,), folders),
    Rule("handing on", (OUTLET,), outlets),
)
