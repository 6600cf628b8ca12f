"""The audit chain: append-only, verifiable, complete (promise P10)."""

from __future__ import annotations

import threading
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction

from meshportal.audit import services
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent

ACTOR = Actor.system("test")


def add(number: int = 1) -> list[AuditEvent]:
    return [
        services.record(actor=ACTOR, action="test.done", target=("thing", str(n), f"thing {n}"), after={"n": n, "é": "ü"})
        for n in range(number)
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("statement", ["UPDATE audit_auditevent SET reason = 'x'", "DELETE FROM audit_auditevent"])
def test_the_database_refuses_to_rewrite_history(statement: str) -> None:
    add(2)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEvent.objects.count() == 2


@pytest.mark.django_db
def test_the_orm_cannot_rewrite_history_either() -> None:
    [event] = add()
    event.reason = "changed"
    with pytest.raises(DatabaseError), transaction.atomic():
        event.save()
    with pytest.raises(DatabaseError), transaction.atomic():
        event.delete()


def lift_triggers() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("DROP TRIGGER audit_auditevent_append_only ON audit_auditevent")
        else:
            cursor.execute("DROP TRIGGER audit_auditevent_no_update")
            cursor.execute("DROP TRIGGER audit_auditevent_no_delete")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE audit_auditevent SET reason = 'nicer' WHERE target_id = '2'",
        "UPDATE audit_auditevent SET actor_label = 'somebody else' WHERE target_id = '2'",
        "DELETE FROM audit_auditevent WHERE target_id = '2'",
    ],
)
def test_whoever_goes_round_the_triggers_is_found_out(tamper: str) -> None:
    add(5)
    assert services.verify() == services.ChainState(checked=5, broken=None)
    lift_triggers()
    with connection.cursor() as cursor:
        cursor.execute(tamper)
    state = services.verify()
    assert state.checked == 2
    assert state.broken is not None
    with pytest.raises(CommandError, match="does not fit"):
        call_command("verify_audit", stdout=StringIO())


@pytest.mark.django_db
def test_the_command_says_when_all_is_well() -> None:
    add(3)
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert out.getvalue().strip() == "3 events, every one in its place."


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_make_one_chain() -> None:
    def write() -> None:
        try:
            add(10)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert services.verify() == services.ChainState(checked=40, broken=None)


@pytest.mark.django_db
def test_an_act_that_fails_leaves_no_row_that_says_it_was_done(team: Any) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        services.record(actor=ACTOR, action="test.done", target=team, team=team)
        raise RuntimeError
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db
def test_a_fraction_is_refused_since_a_database_may_give_it_back_in_another_form(team: Any) -> None:
    with pytest.raises(TypeError, match="whole numbers"):
        services.record(actor=ACTOR, action="test.done", target=team, team=team, after={"list": [{"n": 1e16}]})
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db
def test_neither_truncate_nor_replace_gets_behind_the_triggers(team: Any) -> None:
    services.record(actor=ACTOR, action="test.done", target=team, team=team)
    statement = (
        "TRUNCATE audit_auditevent"
        if connection.vendor == "postgresql"
        else "REPLACE INTO audit_auditevent SELECT * FROM audit_auditevent"
    )
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert services.verify().broken is None
    assert AuditEvent.objects.count() == 1
