"""What an answer of MESH makes of each entry of the book."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from mailboxes.addresses import answers, changes, services
from mailboxes.models import (
    AddressAnswer,
    AddressChange,
    AddressEntry,
    Mailbox,
)
from mailboxes.models.address import Drift, Source
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from meshportal.mesh import EndpointMatch
from meshportal.notify import sweep
from meshportal.notify.models import Alert
from tests.addresses.conftest import ACTOR, NEW, OLD, OTHER, WORKFLOW, Asked, added, seen, work
from tests.double import Double

pytestmark = pytest.mark.django_db


def open_alerts() -> list[tuple[str, str, int]]:
    rows = Alert.objects.filter(kind=changes.CHANGED, closed_at__isnull=True).order_by("key")
    return [(alert.key, alert.sentence, alert.severity) for alert in rows]


def test_one_answer_fills_an_entry_and_is_kept(team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry = added(team)
    assert work() > 0
    entry = seen(entry)
    assert (entry.mailbox_id, entry.mailbox_name, entry.drift) == (OLD, "Seaside Surgery", Drift.AGREES)
    assert entry.verified_at is not None and entry.source == Source.LOOKUP
    [answer] = AddressAnswer.objects.all()
    assert answer.results == [{"id": OLD, "name": "Seaside Surgery"}]
    asked()
    assert AddressAnswer.objects.count() == 2
    assert not AddressChange.objects.exists()
    assert open_alerts() == []
    # By itself it is asked again in the next night, and not before.
    assert work() == 0
    assert timezone.now() < seen(entry).pair.next_lookup_at <= timezone.now() + timedelta(days=1)  # type: ignore[operator]


def test_answers_cannot_be_altered(team: Any, box: Mailbox, practice: Double) -> None:
    added(team)
    work()
    for act in (lambda: AddressAnswer.objects.update(results=[]), lambda: AddressAnswer.objects.all().delete()):
        with pytest.raises(DatabaseError), transaction.atomic():
            act()


def test_a_move_is_one_alert_for_all_workflows_and_nothing_is_chosen(
    team: Any, box: Mailbox, practice: Double, asked: Asked
) -> None:
    entries = [added(team, workflow=workflow) for workflow in (WORKFLOW, OTHER)]
    asked()
    practice.update_mailbox(OLD, workflows=())
    practice.add_mailbox(NEW, ods_code="G81086", workflows=(WORKFLOW, OTHER))
    asked()
    for entry in entries:
        entry = seen(entry)
        assert (entry.mailbox_id, entry.drift) == (OLD, Drift.CHANGED)
        [change] = AddressChange.objects.filter(entry=entry)
        assert (change.old, change.new, change.kind, change.ended) == (OLD, [NEW], "changed", "")
    [(key, sentence, severity)] = open_alerts()
    assert (key, severity) == ("sandbox:G81086", 30)
    assert sentence == f"had the mailbox {OLD}; MESH answers {NEW} now, for 2 workflows."
    # The same answer again is the same change; the sweep agrees.
    asked()
    sweep.run(timezone.now())
    assert AddressChange.objects.count() == 2
    assert len(open_alerts()) == 1
    # A person confirms one, then the other.
    confirmed = services.confirm(actor=ACTOR, entry=entries[0], mailbox_id=NEW, reason="their notice")
    assert (confirmed.mailbox_id, confirmed.drift) == (NEW, Drift.AGREES)
    assert open_alerts()[0][1].endswith("for one workflow.")
    services.confirm(actor=ACTOR, entry=entries[1], mailbox_id=NEW, reason="their notice")
    assert open_alerts() == []
    assert set(AddressChange.objects.values_list("ended", "reason")) == {("confirmed", "their notice")}
    event = AuditEvent.objects.filter(action="address.confirmed").first()
    assert event is not None
    assert (event.before["mailbox"], event.after["mailbox"], event.reason) == (OLD, NEW, "their notice")
    asked()
    assert open_alerts() == []


def test_the_old_answer_comes_back(team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry = added(team)
    asked()
    practice.update_mailbox(OLD, active=False)
    asked()
    assert seen(entry).drift == Drift.GONE
    assert open_alerts()[0][1] == f"had the mailbox {OLD}; MESH names none any more, for one workflow."
    practice.update_mailbox(OLD, active=True)
    asked()
    assert seen(entry).drift == Drift.AGREES
    assert seen(entry).drift_since is None
    assert list(AddressChange.objects.values_list("kind", "ended")) == [("gone", "returned")]
    assert open_alerts() == []


def test_several_answers_are_shown_and_accepted_by_a_person(team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry = added(team)
    asked()
    practice.add_mailbox(NEW, ods_code="G81086", workflows=(WORKFLOW,))
    asked()
    entry = seen(entry)
    assert (entry.mailbox_id, entry.drift, entry.pair.ids) == (OLD, Drift.SEVERAL, sorted([OLD, NEW]))
    assert [severity for _, _, severity in open_alerts()] == [20]
    with pytest.raises(Refused):
        services.confirm(actor=ACTOR, entry=entry, mailbox_id="YGM24HC001", reason="a guess")
    services.confirm(actor=ACTOR, entry=entry, mailbox_id=OLD, reason="they have two")
    asked()
    assert seen(entry).drift == Drift.AGREES
    assert open_alerts() == []
    # Yet another one is another change.
    practice.add_mailbox("X26HC100", ods_code="G81086", workflows=(WORKFLOW,))
    asked()
    assert seen(entry).drift == Drift.SEVERAL
    assert len(open_alerts()) == 1


def test_a_change_on_top_of_a_change_supersedes_it(team: Any, box: Mailbox, practice: Double, asked: Asked) -> None:
    entry = added(team)
    asked()
    practice.update_mailbox(OLD, active=False)
    asked()
    since = seen(entry).drift_since
    practice.add_mailbox(NEW, ods_code="G81086", workflows=(WORKFLOW,))
    asked()
    assert list(AddressChange.objects.order_by("at").values_list("kind", "ended")) == [("gone", "superseded"), ("changed", "")]
    assert seen(entry).drift_since == since
    assert len(open_alerts()) == 1


@pytest.mark.parametrize(
    ("ours", "source", "verified", "accepted", "ids", "drift"),
    [
        ("", Source.LOOKUP, False, [], ["A"], Drift.AGREES),
        ("", Source.LOOKUP, False, [], [], Drift.UNKNOWN),
        ("", Source.LOOKUP, False, [], ["A", "B"], Drift.UNKNOWN),
        ("A", Source.TYPED, False, [], ["A"], Drift.AGREES),
        ("A", Source.TRAFFIC, False, [], ["A", "B"], Drift.AGREES),
        ("A", Source.TYPED, True, ["A"], ["A", "B"], Drift.SEVERAL),
        ("A", Source.TYPED, True, ["A", "B"], ["A", "B"], Drift.AGREES),
        ("A", Source.TYPED, True, ["A", "B"], ["A", "C"], Drift.SEVERAL),
        ("A", Source.TYPED, True, ["A", "B"], ["B", "C"], Drift.SEVERAL),
        ("A", Source.TYPED, True, ["A", "B"], ["A"], Drift.AGREES),
        ("A", Source.TRAFFIC, False, [], ["B"], Drift.CHANGED),
        ("A", Source.TRAFFIC, True, ["A"], ["B"], Drift.CHANGED),
        ("A", Source.TRAFFIC, False, [], [], Drift.UNKNOWN),
        ("A", Source.TRAFFIC, True, ["A"], [], Drift.GONE),
        ("A", Source.TYPED, False, [], [], Drift.GONE),
    ],
)
def test_the_table_of_answers(ours: str, source: str, verified: bool, accepted: list[str], ids: list[str], drift: str) -> None:
    at = timezone.now() if verified else None
    entry = AddressEntry(mailbox_id=ours, source=source, verified_at=at, accepted=accepted)
    assert answers.judge(entry, ids) == drift


def test_an_answer_is_kept_plain() -> None:
    found = (
        EndpointMatch(mailbox_id="x26hc001", mailbox_name="A\x00\u202e name"),
        EndpointMatch(mailbox_id="X26HC001", mailbox_name="twice"),
        EndpointMatch(mailbox_id="A\nB" + "C" * 200),
        EndpointMatch(mailbox_id="\x00"),
    )
    kept = answers.plain(found)
    assert kept[1] == {"id": "X26HC001", "name": "A   name"} or kept[1]["name"].startswith("A")
    assert [len(one["id"]) for one in kept] == [100, 8]
    assert len(answers.plain(EndpointMatch(mailbox_id=f"X{number}") for number in range(1000))) == 200


def test_three_hundred_practices_on_one_mailbox_are_no_change(team: Any, box: Mailbox, double: Double, asked: Asked) -> None:
    double.add_mailbox("TPP01", ods_code="T0001", name="Shared", workflows=(WORKFLOW,))
    for number in range(30):
        code = f"P{number:05d}"
        double.set_addresses([(code, WORKFLOW, ["TPP01"])])
        services.note_seen(team_id=team.pk, environment="sandbox", ods_code=code, workflow_id=WORKFLOW, mailbox_id="TPP01")
    services.note_seen(team_id=team.pk, environment="sandbox", ods_code="T0001", workflow_id=WORKFLOW, mailbox_id="TPP01")
    asked()
    asked()
    assert set(AddressEntry.objects.values_list("drift", flat=True)) == {"agrees"}
    assert not Alert.objects.exists()
    assert not AddressChange.objects.exists()
