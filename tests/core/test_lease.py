"""The lease: one holder at a time, found out before anything is written, free again by itself."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.utils import IntegrityError
from django.utils import timezone

from mailboxes.models import Mailbox
from meshportal.core import lease

MINUTE = timedelta(minutes=1)


@pytest.mark.django_db
def test_a_claimed_row_is_claimed_once(mailbox: Any) -> None:
    mailbox()
    [mine] = lease.claim(Mailbox.objects.all(), limit=5, duration=MINUTE)
    assert lease.claim(Mailbox.objects.all(), limit=5, duration=MINUTE) == []
    assert lease.release(mine, waiting_count=3)
    [again] = lease.claim(Mailbox.objects.all(), limit=5, duration=MINUTE)
    assert again.waiting_count == 3
    assert again.lease_token != mine.lease_token


@pytest.mark.django_db
def test_an_expired_lease_is_free_and_its_holder_finds_out(mailbox: Any) -> None:
    mailbox()
    [first] = lease.claim(Mailbox.objects.all(), limit=1, duration=MINUTE)
    Mailbox.objects.update(lease_until=timezone.now() - MINUTE)
    with pytest.raises(lease.LeaseLost):
        lease.extend(first, MINUTE)
    [second] = lease.claim(Mailbox.objects.all(), limit=1, duration=MINUTE)
    with pytest.raises(lease.LeaseLost), transaction.atomic():
        lease.hold(first)
    assert not lease.release(first, waiting_count=99)
    assert Mailbox.objects.get().waiting_count is None
    with transaction.atomic():
        lease.hold(second)


@pytest.mark.django_db
def test_the_order_of_the_query_and_the_limit_are_kept(mailbox: Any) -> None:
    now = timezone.now()
    boxes = [mailbox(next_poll_at=now - timedelta(minutes=age)) for age in (1, 5, 3)]
    claimed = lease.claim(Mailbox.objects.order_by("next_poll_at"), limit=2, duration=MINUTE)
    assert [row.pk for row in claimed] == [boxes[1].pk, boxes[2].pk]


@pytest.mark.django_db
def test_half_a_lease_is_refused_by_the_database(mailbox: Any) -> None:
    row = mailbox()
    with pytest.raises(IntegrityError), transaction.atomic():
        Mailbox.objects.filter(pk=row.pk).update(lease_until=timezone.now())


@pytest.mark.django_db(transaction=True)
def test_many_claimers_at_once_share_no_row(mailbox: Any) -> None:
    for _ in range(30):
        mailbox()
    taken: list[Any] = []
    lock = threading.Lock()
    start = threading.Barrier(6)

    def claim_all() -> None:
        try:
            start.wait(timeout=10)
            while rows := lease.claim(Mailbox.objects.order_by("pk"), limit=1, duration=MINUTE):
                with lock:
                    taken.extend(row.pk for row in rows)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=claim_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    # On PostgreSQL a claimer may leave while the last rows are being claimed by others; none is ever claimed twice.
    assert len(taken) == len(set(taken)) == 30
