"""The doctor over many mailboxes: each gets its answer, a death costs a try, those that failed are examined again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from certificates.models import ClientIdentity
from mailboxes import bulk_standing, doctor, examining
from mailboxes.models import Examination, ExaminationRow, Mailbox
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from messages.selectors import workflows_received
from tests.conftest import Make
from tests.double import Double
from tests.imports.conftest import PASSWORD, examined
from tests.receive.conftest import ACTOR

pytestmark = pytest.mark.django_db


@pytest.fixture
def boxes(double: Double, mailbox: Make, real_identity: ClientIdentity) -> list[Mailbox]:
    names = [f"X26EX{number:03d}" for number in range(4)]
    for name in names:
        double.add_mailbox(name)
    return [mailbox(mailbox_id=name, name=name, identity=real_identity) for name in names]


@pytest.fixture
def examination(team: Any, boxes: list[Mailbox]) -> Examination:
    return examining.begin(actor=ACTOR, team=team, environment="sandbox", mailboxes=[box.pk for box in boxes])


def findings(examination: Examination) -> dict[str, str]:
    return dict(examination.rows.order_by("mailbox__mailbox_id").values_list("mailbox__mailbox_id", "finding"))


def test_each_gets_its_answer_and_those_that_failed_another_one(
    examination: Examination, boxes: list[Mailbox], double: Double
) -> None:
    double.update_mailbox(boxes[1].mailbox_id, password=f"{PASSWORD}-there")
    Mailbox.objects.filter(pk=boxes[2].pk).update(identity=None)
    before = bulk_standing.progress(examination)
    assert (before.word, before.done, before.total, before.idle, before.spoken) == ("Under way", 0, 4, False, "0% checked")
    with pytest.raises(Refused, match="right now"):
        examining.retry(actor=ACTOR, examination=examination)
    assert examined() == 4
    assert findings(examination) == {"X26EX000": "good", "X26EX001": "bad", "X26EX002": "bad", "X26EX003": "good"}
    rows = {row.mailbox.mailbox_id: row for row in bulk_standing.rows_of(examination)}
    assert list(rows)[:2] == ["X26EX001", "X26EX002"]
    assert rows["X26EX001"].found.startswith("The connection fails at “Sign-in”:")
    assert "has no client certificate" in rows["X26EX002"].found
    assert rows["X26EX001"].remedy
    assert PASSWORD not in "".join(row.found + row.remedy for row in rows.values())
    after = bulk_standing.progress(examination)
    assert (after.word, after.sentence) == ("Some do not connect", "2 mailboxes connect, 2 mailboxes do not.")
    with pytest.raises(Refused, match="a moment ago"):
        examining.retry(actor=ACTOR, examination=examination)
    Examination.objects.update(asked_at=timezone.now() - examining.GAP)
    double.update_mailbox(boxes[1].mailbox_id, password="password")
    assert examining.retry(actor=ACTOR, examination=examination) == 2
    assert examined() == 2
    assert findings(examination)["X26EX001"] == "good"
    assert bulk_standing.progress(examination).failed == 1
    # Nobody who was well was called a second time.
    assert sum(one.mailbox == boxes[0].mailbox_id for one in double.recorder.records()) <= 3
    events = AuditEvent.objects.filter(action__startswith="examination").order_by("id")
    assert [(event.action, event.after) for event in events] == [
        ("examination.begun", {"mailboxes": 4}),
        ("examination.retried", {"mailboxes": 2}),
    ]


def test_all_connect_and_nothing_is_to_be_done_again(examination: Examination) -> None:
    examined()
    assert bulk_standing.progress(examination).spoken == "All connect: 4 mailboxes connect."
    Examination.objects.update(asked_at=timezone.now() - examining.GAP)
    with pytest.raises(Refused, match="No mailbox failed"):
        examining.retry(actor=ACTOR, examination=examination)


def test_a_worker_that_dies_is_followed_by_another_three_times(examination: Examination, boxes: list[Mailbox]) -> None:
    first = examining.claim_due()
    assert first is not None
    row: ExaminationRow = first
    for tries in (2, 3, 4):
        ExaminationRow.objects.exclude(pk=row.pk).update(due_at=timezone.now() + timedelta(hours=1))
        ExaminationRow.objects.filter(pk=row.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        claimed = examining.claim_due()
        assert claimed is not None
        assert (claimed.pk, claimed.tries) == (row.pk, tries)
        row = claimed
    examining.work(row, workflows_received)
    row.refresh_from_db()
    assert (row.finding, row.lease_token) == ("bad", None)
    assert "stopped each time" in row.found
    # The first one, were it still alive, writes nothing any more.
    examining.work(first, workflows_received)
    row.refresh_from_db()
    assert "stopped each time" in row.found


def test_what_cannot_be_unsealed_and_a_doctor_that_breaks_are_told(
    examination: Examination, boxes: list[Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE mailboxes_mailbox SET password = %s", [b"nothing that a key opens"])
    row = examining.claim_due()
    assert row is not None
    examining.work(row, workflows_received)
    row.refresh_from_db()
    assert (row.finding, "MESHPORTAL_KEYS" in row.remedy) == ("bad", True)

    def breaks(*_args: Any, **_more: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(doctor, "examine", breaks)
    assert examined() == 3
    assert {one.found for one in examination.rows.exclude(pk=row.pk)} == {
        "Something unforeseen went wrong when this mailbox was examined."
    }


def test_nobody_takes_it_up(examination: Examination) -> None:
    ExaminationRow.objects.update(due_at=timezone.now() - timedelta(minutes=2))
    assert bulk_standing.progress(examination).idle
    row = examining.claim_due()
    assert row is not None
    assert not bulk_standing.progress(examination).idle


@pytest.mark.django_db(transaction=True)
def test_several_threads_work_it(examination: Examination) -> None:
    assert examining.run_due(workflows_received) == 4
    assert set(findings(examination).values()) == {"good"}
