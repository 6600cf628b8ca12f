"""Pages of a long inbox: the first and a deep one by keyset, the same deep one by OFFSET, and a search."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

ROWS = 100_000
DEEP = 90_000


def run() -> bool:
    """True when a deep page costs no more than a few times the first one."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from mailboxes.models import Mailbox, Organisation
    from meshportal.accounts.models import Team
    from meshportal.core import pagination
    from messages.models import Message

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
    rows = Message.objects.filter(mailbox=box)
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
    }
    first = times["first page"]
    for name, seconds in times.items():
        print(f"  {name}: {seconds * 1000:.2f} ms, {seconds / first:.1f} times the first page")
    return times["deep page, keyset (as the portal does)"] < 5 * first


def _median(act: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        act()
        return time.perf_counter() - began

    act()
    return statistics.median(once() for _ in range(15))
