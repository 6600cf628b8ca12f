"""Pages of a long history: the first and a deep one by keyset, the same deep one by OFFSET, a search, and the tabs' counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count
from django.http import QueryDict

ROWS = 100_000
DEEP = 90_000
# The tabs are asked for at every refresh: they may cost as much as a page, not more than that.
TABS_SECONDS = 0.1


def run() -> bool:
    """True when a deep page costs no more than a few times the first one, and the tabs are quick."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from mailboxes.models import Mailbox, Organisation
    from meshportal.accounts.models import Team
    from meshportal.core import pagination
    from messages import selectors
    from messages.models import Message
    from messages.states import Direction

    print(f"pages: an inbox of {ROWS:,} messages, 50 a page")
    team = Team.objects.create(name="Bench", slug="bench")
    organisation = Organisation.objects.create(ods_code="X26")
    box = Mailbox.objects.create(
        team=team,
        environment="sandbox",
        mailbox_id="X26HC001",
        name="Bench",
        organisation=organisation,
        password="x",
    )
    start = datetime(2026, 1, 1, tzinfo=UTC)
    Message.objects.bulk_create(
        [
            Message(
                team=team,
                mailbox=box,
                environment="sandbox",
                direction="in",
                mesh_id=f"{number:020d}_ABCDEF",
                state="listed",
                file_name=f"letter-{number}.txt",
                seen_at=start + timedelta(seconds=number),
            )
            for number in range(ROWS)
        ],
        batch_size=1000,
    )
    rows = selectors.listed(team).filter(mailbox=box)
    older = rows.order_by("-seen_at", "-pk")[DEEP : DEEP + 1].get()
    cursor = pagination._encode("older", older.seen_at, older.pk)

    def by_offset() -> list[Any]:
        return list(rows.order_by("-seen_at", "-pk")[DEEP : DEEP + 51])

    times = {
        "first page": _median(lambda: pagination.page(rows, field="seen_at")),
        "deep page, keyset (as the portal does)": _median(lambda: pagination.page(rows, field="seen_at", cursor=cursor)),
        "deep page, OFFSET": _median(by_offset),
        "count, capped": _median(lambda: pagination.capped_count(rows)),
        "count, whole": _median(rows.count),
        "search, rare text": _median(lambda: list(rows.filter(search__contains="LETTER-77777.")[:50])),
        "tabs, received": _median(lambda: _tabs(team, Direction.IN)),
    }
    _send(team, box, start)
    times |= {
        f"with {ROWS:,} sent ones: first page of them": _median(
            lambda: pagination.page(selectors.listed(team, Direction.OUT), field="seen_at")
        ),
        "page of a rare state": _median(
            lambda: pagination.page(selectors.listed(team, Direction.OUT).filter(state="uncertain"), field="seen_at")
        ),
        "tabs, sent": _median(lambda: _tabs(team, Direction.OUT)),
        "tabs, received, beside them": _median(lambda: _tabs(team, Direction.IN)),
        "tabs, sent, of one mailbox": _median(lambda: _tabs(team, Direction.OUT, box)),
        "counts, whole, by state": _median(lambda: list(selectors.counted(team).values("state").annotate(number=Count("pk")))),
    }
    first = times["first page"]
    for name, seconds in times.items():
        print(f"  {name}: {seconds * 1000:.2f} ms, {seconds / first:.1f} times the first page")
    quick = max(seconds for name, seconds in times.items() if name.startswith("tabs")) < TABS_SECONDS
    return times["deep page, keyset (as the portal does)"] < 5 * first and quick


def _tabs(team: Any, direction: Any, box: Any = None) -> object:
    from messages import selectors
    from messages.views.tabs import tabs

    return tabs(selectors.counted(team, box), "/", QueryDict(), direction)


def _send(team: Any, box: Any, start: datetime) -> None:
    """Sent messages as a year leaves them: nearly all collected, a few in each other state."""
    from messages.models import Message

    now = datetime.now(UTC)
    states = {3: "returned", 50: "expired", 70: "refused", 333: "uncertain", 334: "queued"}
    Message.objects.bulk_create(
        [
            Message(
                team=team,
                mailbox=box,
                environment="sandbox",
                direction="out",
                mesh_id=f"{number:020d}_FEDCBA",
                state=states.get(number % 1000, "accepted" if number > ROWS * 0.95 else "collected"),
                status_code="14",
                seen_at=start + timedelta(seconds=number),
                sent_at=now - timedelta(minutes=(ROWS - number) * 6),
            )
            for number in range(ROWS)
        ],
        batch_size=1000,
    )


def _median(act: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        act()
        return time.perf_counter() - began

    act()
    return statistics.median(once() for _ in range(15))
