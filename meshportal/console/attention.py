"""What needs a person now: one line per problem, each with the act that follows from it.

Problems that have one cause are one line: a wrong shared key stops every mailbox of an environment, and three hundred
lines would hide the two that differ.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.db.models import Count, Min, Q, QuerySet
from django.db.models.functions import Coalesce
from django.urls import reverse

from certificates.life import CERTIFICATE_WARNING
from certificates.models import ClientIdentity
from mailboxes import health, selectors
from mailboxes.models import Mailbox, Mode, WatchedFolder
from meshportal.accounts.models import Team
from meshportal.accounts.scoping import in_team
from meshportal.console import handed_on, switches
from meshportal.console.line import Line
from meshportal.core.heartbeats import QueueHealth
from meshportal.notify.rules import silence_words
from messages import selectors as messages
from messages import trouble
from messages.filters import ACKS_REJECTED
from messages.models import Message, MessageType
from messages.states import State
from messages.trouble import CAME_BACK

# More mailboxes than this with one cause become one line.
ONE_BY_ONE = 3
MOST_LINES = 100


def lines(team: Team, queues: Sequence[QueueHealth], now: datetime) -> list[Line]:
    """Everything of ``team`` that needs a person, oldest first; no more than :data:`MOST_LINES` and one."""
    found = [
        *_workers(queues, now),
        *_mailboxes(team, now),
        *_paused(team, now),
        *_folders(team, now),
        *_documents(team, now),
        *handed_on.lines(team, now),
        *switches.lines(team, now),
        *_certificates(team, now),
        *_quarantined(team, now),
        *_sent(team, now),
        *_reports(team, now),
        *_rejected(team, now),
    ]
    return sorted(found, key=lambda line: line.since)[: MOST_LINES + 1]


def _workers(queues: Sequence[QueueHealth], now: datetime) -> Iterator[Line]:
    silent = [queue for queue in queues if not queue.ok]
    if not silent:
        return
    seen = [queue.seen_at for queue in silent if queue.seen_at is not None]
    if len(silent) == len(queues):
        subject, sentence = "Workers", "are silent on every queue: no mailbox is polled, and no message is sent."
        advice = "Ask whoever runs the portal to look at the scheduler first, then at the workers."
    else:
        subject, sentence = silence_words(silent, all_of_them=False)
        advice = f"Ask whoever runs the portal to start the worker of {'this queue' if len(silent) == 1 else 'each queue'}."
    yield Line(
        tone="bad",
        subject=subject,
        sentence=sentence,
        advice=f"{advice} Messages are safe in MESH for 5 days.",
        since=min(seen, default=now),
        url="#workers",
        act="See the workers",
        moment_words="Silent since" if seen else "Never seen yet",
        moment=min(seen, default=None),
    )


def _mailboxes(team: Team, now: datetime) -> Iterator[Line]:
    rows = selectors.with_standing(selectors.mailboxes_of(team), now).exclude(mode=Mode.PAUSED)
    in_need = list(rows.filter(standing__in=health.NEEDS_A_PERSON))
    problems: dict[tuple[str, str, str], list[Mailbox]] = defaultdict(list)
    late = []
    for mailbox in in_need:
        if selectors.said_by_its_certificate(mailbox, now):
            continue  # The line of the certificate says it, once for all its mailboxes.
        if mailbox.problem_code:
            problems[mailbox.problem_code, mailbox.problem, mailbox.problem_advice].append(mailbox)
        else:
            late.append(mailbox)
    for (_code, problem, advice), group in problems.items():
        yield from _problem(team, group, problem, advice, now)
    yield from _late(team, late)
    yield from _clock(team, rows, now)


def _problem(team: Team, group: list[Mailbox], problem: str, advice: str, now: datetime) -> Iterator[Line]:
    sets = [[mailbox] for mailbox in group] if len(group) <= ONE_BY_ONE else [group]
    for found in sets:
        since = min(mailbox.problem_since or now for mailbox in found)
        url, act = _page(team, found[0]) if len(found) == 1 else _listed(team, len(found), state=health.PROBLEM)
        yield Line("bad", _named(found), problem, advice, since, url, act, moment=since)


def _late(team: Team, group: list[Mailbox]) -> Iterator[Line]:
    advice = "Look at the workers below: a worker that is silent or behind polls late."
    sets = [[mailbox] for mailbox in group] if len(group) <= ONE_BY_ONE else [group]
    for found in sets:
        since = min(mailbox.last_polled_at or mailbox.created_at for mailbox in found)
        url, act = _page(team, found[0]) if len(found) == 1 else _listed(team, len(found), state=health.LATE)
        sentence = "is polled late." if len(found) == 1 else "are polled late."
        yield Line("warn", _named(found), sentence, advice, since, url, act, "Not polled since", since)


def _clock(team: Team, rows: Iterable[Mailbox], now: datetime) -> Iterator[Line]:
    # One server has one clock: the mailbox that was polled last knows best.
    known = [mailbox for mailbox in rows if mailbox.clock_skew_seconds is not None and mailbox.last_polled_at is not None]
    if not known:
        return
    latest = max(known, key=lambda mailbox: mailbox.last_polled_at or now)
    warning = health.Standing(latest, now).clock_warning
    if warning:
        advice = "Ask whoever runs the portal to set it (NTP). MESH refuses sign-ins when the two are more than 2 hours apart."
        url, act = _page(team, latest)
        yield Line("warn", "Clock:", warning, advice, now, url, act, "Seen", latest.last_polled_at)


def _certificates(team: Team, now: datetime) -> Iterator[Line]:
    for identity, number in certificates_in_use(team):
        if identity.lapses_at - now > CERTIFICATE_WARNING:
            return
        expired = identity.lapses_at <= now
        depending = "1 mailbox depends" if number == 1 else f"{number:,} mailboxes depend"
        stopped = "1 mailbox is" if number == 1 else f"{number:,} mailboxes are"
        url, act = _listed(team, number, certificate=str(identity.pk))
        yield Line(
            tone="bad" if expired else "warn",
            subject=f"Certificate “{identity.name}”",
            sentence=f"has expired: {stopped} not polled." if expired else f"expires soon; {depending} on it.",
            advice="Request a new certificate, add it, and choose it for each mailbox that uses this one.",
            since=identity.lapses_at if expired else identity.lapses_at - CERTIFICATE_WARNING,
            url=url,
            act=act,
            moment_words="Expired" if expired else "Expires",
            moment=identity.lapses_at,
        )


def certificates_in_use(team: Team) -> list[tuple[ClientIdentity, int]]:
    """The certificates that mailboxes of ``team`` are worked with, the one that lapses first at the front; and for how many."""
    rows = (
        in_team(ClientIdentity, team)
        .only("pk", "name", "environment", "not_before", "not_after", "effective_expiry")
        .annotate(number=Count("mailboxes", filter=~Q(mailboxes__mode=Mode.PAUSED)))
        .filter(number__gt=0)
        .order_by(Coalesce("effective_expiry", "not_after"), "pk")
    )
    return [(identity, identity.number) for identity in rows]


def _quarantined(team: Team, now: datetime) -> Iterator[Line]:
    for row in trouble.quarantined(_messages(team)):
        number, leaves = row["number"], row["oldest"] + Message.INBOX_LIFE
        inbox = reverse("messages:inbox", kwargs={"team": team.slug, "pk": row["mailbox_id"]})
        left = leaves <= now
        one = number == 1
        yield Line(
            tone="bad",
            subject=f"{row['mailbox__name']} ({row['mailbox__mailbox_id']})",
            sentence=f"has {number:,} message{'' if one else 's'} that could not be stored.",
            advice="Open it to see why, then retry it." if one else "Open them to see why, then retry each.",
            since=row["oldest"],
            url=f"{inbox}?{urlencode({'state': State.QUARANTINED.value})}",
            act="See the message" if one else "See the messages",
            moment_words="The oldest left the MESH inbox" if left else "The oldest leaves the MESH inbox",
            moment=leaves,
        )


@dataclass(frozen=True)
class _Trouble:
    """How sent messages in one state are told: ``has 2 messages …``, what to do, and what the link is called."""

    tone: str
    sentence: str
    advice: str
    act: str
    moment_words: str


_SENT: dict[str, _Trouble] = {
    State.UNCERTAIN: _Trouble(
        "warn",
        "of which nobody knows whether MESH accepted {it}.",
        "The portal does not send {it} again by itself. Find out from the recipient, then decide.",
        "Decide",
        "The first was queued",
    ),
    State.RETURNED: _Trouble(
        "bad",
        "that came back: the recipient does not have {it}.",
        "See why MESH returned {it}, and what to do about it.",
        "See what was returned",
        "The first was returned",
    ),
    State.EXPIRED: _Trouble(
        "bad",
        "that nobody collected within 5 days.",
        "Ask the recipient why. The service desk can put {it} back until 30 days after the sending.",
        "See what was not collected",
        "The first was found uncollected",
    ),
    State.REFUSED: _Trouble(
        "bad",
        "that MESH did not take.",
        "See why, and send {it} again when the cause is mended.",
        "See what was refused",
        "The first was refused",
    ),
}


def _sent(team: Team, now: datetime) -> Iterator[Line]:
    for row in trouble.sent(_messages(team), now):
        told, number = _SENT[row["state"]], row["number"]
        one = number == 1
        it = "it" if one else "them"
        since = row["queued"] if row["state"] == State.UNCERTAIN else row["moved"]
        outbox = reverse("messages:mailbox-outbox", kwargs={"team": team.slug, "pk": row["mailbox_id"]})
        yield Line(
            tone=told.tone,
            subject=f"{row['mailbox__name']} ({row['mailbox__mailbox_id']})",
            sentence=f"sent {number:,} message{'' if one else 's'} {told.sentence.format(it=it)}",
            advice=told.advice.format(it=it),
            since=since,
            url=f"{outbox}?{urlencode({'state': str(row['state'])})}",
            act=told.act,
            moment_words=told.moment_words.replace("The first", "It") if one else told.moment_words,
            moment=since,
        )


def _reports(team: Team, now: datetime) -> Iterator[Line]:
    """A letter that did not reach its recipient is the worst that can happen here, and the report is its only notice."""
    rows = trouble.unexplained_reports(Message.objects.all(), now)
    one = "has a non-delivery report: a message that was sent did not reach its recipient."
    many = "has {number} non-delivery reports: messages that were sent did not reach their recipients."
    advice = "The report says why and what to do. It stands here for 7 days."
    yield from _received(team, rows, (one, many), advice, kind=MessageType.REPORT, what="report")


def _rejected(team: Team, now: datetime) -> Iterator[Line]:
    """The recipient's system said no: the letter came and was not taken, and nobody else tells the sender."""
    rows = trouble.rejected(Message.objects.all(), now)
    one = "has an acknowledgement in which the recipient’s system rejects a message."
    many = "has {number} acknowledgements in which recipients’ systems reject messages."
    advice = "See why, and reach the recipient another way if it matters. It stands here for 7 days."
    yield from _received(team, rows, (one, many), advice, kind=ACKS_REJECTED, what="acknowledgement")


def _received(
    team: Team, rows: QuerySet[Message], sentences: tuple[str, str], advice: str, *, kind: str, what: str
) -> Iterator[Line]:
    """A line for each mailbox that received some of ``rows``; it leads to its inbox, filtered by ``kind``."""
    found = (
        rows.filter(mailbox__in=in_team(Mailbox, team)).order_by().values("mailbox_id", "mailbox__name", "mailbox__mailbox_id")
    )
    for row in found.annotate(number=Count("pk"), oldest=Min("seen_at")):
        one = row["number"] == 1
        inbox = reverse("messages:inbox", kwargs={"team": team.slug, "pk": row["mailbox_id"]})
        yield Line(
            tone="bad",
            subject=f"{row['mailbox__name']} ({row['mailbox__mailbox_id']})",
            sentence=sentences[0] if one else sentences[1].format(number=f"{row['number']:,}"),
            advice=advice,
            since=row["oldest"],
            url=f"{inbox}?{urlencode({'type': str(kind)})}",
            act=f"See the {what}{'' if one else 's'}",
            moment_words="Came" if one else "The oldest came",
            moment=row["oldest"],
        )


def _paused(team: Team, now: datetime) -> Iterator[Line]:
    """Paused by a person, and perhaps forgotten: its messages age all the same."""
    for mailbox in selectors.paused_too_long(selectors.mailboxes_of(team), now):
        url, act = _page(team, mailbox)
        advice = "Messages that nobody collects leave MESH after 5 days. Take it up again, or make sure that another client does."
        yield Line("warn", str(mailbox), "is paused.", advice, mailbox.updated_at, url, act, moment=mailbox.updated_at)


def _folders(team: Team, now: datetime) -> Iterator[Line]:
    problems: dict[tuple[str, str], list[WatchedFolder]] = defaultdict(list)
    for folder in selectors.folders_in_trouble(team):
        problems[folder.problem, folder.problem_advice].append(folder)
    for (problem, advice), group in problems.items():
        # A file server that is away is one problem, however many mailboxes have their folders on it.
        for found in [[folder] for folder in group] if len(group) <= ONE_BY_ONE else [group]:
            since = min(folder.problem_since or now for folder in found)
            if len(found) == 1:
                url, act = _page(team, found[0].mailbox)
            else:
                url, act = reverse("mailboxes:list", kwargs={"team": team.slug}), "See the mailboxes"
            yield Line("bad", _named([folder.mailbox for folder in found]), problem, advice, since, url, act, moment=since)


def _documents(team: Team, now: datetime) -> Iterator[Line]:
    """What was put into a folder and is no message: no other page knows of it."""
    for row in messages.never_queued(team, since=now - CAME_BACK):
        one = row["number"] == 1
        documents = "1 document" if one else f"{row['number']:,} documents"
        yield Line(
            tone="bad",
            subject=f"{row['mailbox__name']} ({row['mailbox__mailbox_id']})",
            sentence=f"has {documents} in FAILED of its folder that {'was' if one else 'were'} not sent.",
            advice=f"The control file beside {'it' if one else 'each'} says why. It stands here for 7 days.",
            since=row["first"],
            url=reverse("mailboxes:detail", kwargs={"team": team.slug, "pk": row["mailbox_id"]}),
            act="Open the mailbox",
            moment_words="It failed" if one else "The first failed",
            moment=row["first"],
        )


def _messages(team: Team) -> QuerySet[Message]:
    return Message.objects.filter(mailbox__in=in_team(Mailbox, team))


def _named(mailboxes: list[Mailbox]) -> str:
    if len(mailboxes) == 1:
        return str(mailboxes[0])
    first = ", ".join(mailbox.name for mailbox in mailboxes[:2])
    return f"{len(mailboxes):,} mailboxes ({first} and {len(mailboxes) - 2:,} more):"


def _page(team: Team, mailbox: Mailbox) -> tuple[str, str]:
    return reverse("mailboxes:detail", kwargs={"team": team.slug, "pk": mailbox.pk}), "Open the mailbox"


def _listed(team: Team, number: int, **filters: str) -> tuple[str, str]:
    address = f"{reverse('mailboxes:list', kwargs={'team': team.slug})}?{urlencode(filters)}"
    return address, "See the mailbox" if number == 1 else "See the mailboxes"
