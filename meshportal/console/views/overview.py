"""The overview: what needs a person now?"""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from mailboxes import health
from mailboxes import selectors as mailboxes
from meshportal.celery import QUEUES
from meshportal.console import attention, selectors
from meshportal.core.heartbeats import queue_health
from meshportal.web.pages import TeamPage


class Overview(TeamPage):
    """The first page of a team. It refreshes by itself, since silence must show too."""

    capability = "mailbox.view"
    template_name = "console/overview.html"
    fragments = ("overview",)
    http_method_names = ["get", "head", "options"]

    def context(self, **extra: Any) -> dict[str, Any]:
        now = timezone.now()
        counts = mailboxes.standing_counts(self.team, now)
        total = sum(counts.values())
        queues = queue_health(QUEUES, now)
        lines = attention.lines(self.team, queues, now)
        first_run = selectors.first_run(self.team, any_mailbox=total > 0)
        return super().context(
            # A team without a mailbox has nothing that could be silent yet: its first steps say what to do.
            lines=lines[: attention.MOST_LINES] if total else [],
            more_lines=len(lines) > attention.MOST_LINES,
            total=total,
            environment=mailboxes.only_environment(self.team),
            worked=total - counts[health.PAUSED] - counts[health.NEW],
            paused=counts[health.PAUSED],
            new=counts[health.NEW],
            polled_within=selectors.polled_within(self.team, now),
            health_counts=selectors.health_counts(self.team, counts),
            certificates=selectors.certificates_due(self.team, attention.certificates_in_use(self.team), now),
            queues=queues,
            first_run=first_run,
            meanings=health.meanings(),
            **extra,
        )
