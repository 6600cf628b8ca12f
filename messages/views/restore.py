"""What the National Service Desk needs to put many messages back: a text, and a file with one line for each.

| what is asked | what it gets |
|---|---|
| a filter that makes no sense | the list of sent messages, which says what is wrong with it |
| messages of several environments | a sentence: choose a mailbox; no file |
| nothing that can be restored | a sentence; the file has its header alone |
| a value that a spreadsheet would run as a formula | an apostrophe in front of it |
| more than fit into one file | those that MESH deletes first, and a sentence |
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Coalesce
from django.http.response import HttpResponseBase
from django.utils import timezone

from certificates.models import Environment
from mailboxes.selectors import only_environment
from meshportal.audit import services as audit
from meshportal.core import csvout
from meshportal.web.time import in_london
from messages import ages, words
from messages.models import Message
from messages.views.filtered import FilteredPage

HEADER = (
    "Message ID",
    "From mailbox",
    "To mailbox",
    "Workflow ID",
    "Accepted by MESH (London)",
    "Size in bytes",
    "MESH deletes it (London)",
)
MOST = 10_000
# As many stand in the text itself, for who cannot attach a file.
_NAMED = 50


class _Restorable(FilteredPage, abstract=True):
    def rows(self) -> QuerySet[Message]:
        """Those of the filter that can be restored, the ones that MESH deletes first in front."""
        rows = super().rows().filter(ages.recoverable()).exclude(mesh_id="")
        return rows.order_by(Coalesce("sent_at", "seen_at"), "pk")

    def environments(self) -> list[str]:
        """The environments that they belong to."""
        return sorted(set(self.rows().order_by().values_list("environment", flat=True).distinct()[: len(Environment)]))


class RestorePage(_Restorable):
    """The text, and the way to the file."""

    capability = "message.view"
    template_name = "messages/restore.html"
    http_method_names = ["get", "head", "options"]

    def context(self, **extra: Any) -> dict[str, Any]:
        found = self.environments()
        rows = list(self.rows()[: _NAMED + 1])
        number = self.rows().order_by()[: MOST + 1].count()
        mixed = " and ".join(Environment(name).label.lower() for name in found) if len(found) > 1 else ""
        return super().context(
            number=min(number, MOST),
            capped=number > MOST,
            mixed=mixed,
            request_text=_request(rows, min(number, MOST)) if rows and not mixed else "",
            file_url=self.address("restore-file"),
            environment=found[0] if len(found) == 1 else only_environment(self.team),
            **extra,
        )


class RestoreFile(_Restorable):
    """The file. It is recorded before its first byte."""

    capability = "message.view"
    http_method_names = ["get", "options"]

    def answer(self) -> HttpResponseBase:
        if len(self.environments()) > 1:
            return self.redirect(self.address("restore"))
        audit.record(
            actor=self.actor,
            action="restore_request.exported",
            target=("restore_request", str(self.team.pk), "request to restore messages"),
            team=self.team,
            after={"filters": dict(self.chosen_words()), "messages": self.rows().order_by()[:MOST].count()},
        )
        filename = f"restore-{self.team.slug}-{in_london(timezone.now()):%Y-%m-%d}.csv"
        return csvout.response(filename, HEADER, _cells(self.rows()[:MOST]))


def _cells(rows: QuerySet[Message]) -> Iterator[tuple[object, ...]]:
    for row in rows.iterator(chunk_size=2000):
        yield (
            words.plain(row.mesh_id),
            row.mailbox.mailbox_id,
            words.plain(row.recipient_mailbox),
            words.plain(row.workflow_id),
            in_london(row.sent_at).isoformat(timespec="seconds") if row.sent_at else "",
            row.size,
            in_london(row.deleted_at).isoformat(timespec="seconds"),
        )


def _request(rows: list[Message], number: int) -> str:
    """What to write to the service desk about ``number`` messages, of which ``rows`` are the first."""
    first = rows[0]
    until = words.moment(first.deleted_at)
    if number == 1:
        asked = "Please put this message back into the inbox of its recipient. Nobody collected it within 5 days; MESH deletes it"
    else:
        asked = (
            f"Please put these {number:,} messages back into the inboxes of their recipients. Nobody collected them within 5 "
            "days; MESH deletes the first of them"
        )
    lines = [f"{asked} on {until}.", "", f"Environment: {first.get_environment_display()}"]
    if len(rows) <= _NAMED:
        said = [
            f"{words.plain(row.mesh_id)}, from {row.mailbox.mailbox_id} to {words.plain(row.recipient_mailbox)}" for row in rows
        ]
        lines += ["Message IDs:", *said]
    else:
        lines.append("The file that goes with this has a line for each.")
    return "\n".join(lines)
