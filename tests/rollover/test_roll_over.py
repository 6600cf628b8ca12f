"""Rolling over to a new certificate against the strict double: test, switch, undo, and every way to break off."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections as databases
from django.utils import timezone

from certificates.models import ClientIdentity
from mailboxes import handshakes, polling, roll_over_standing, rollover, services
from mailboxes.models import Mailbox, Mode, RollOver, RollOverRow
from meshportal.audit import context
from meshportal.audit import services as audit
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from meshportal.mesh import MeshClient
from messages import shard
from tests.conftest import Make
from tests.double import Double, faults
from tests.receive.conftest import ACTOR, Poll
from tests.rollover.conftest import NEW, Tested

pytestmark = pytest.mark.django_db


def said(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def uses(boxes: list[Mailbox]) -> list[str]:
    """The name of the certificate of each mailbox."""
    return [str(Mailbox.objects.get(pk=box.pk).identity.name) for box in boxes]  # type: ignore[union-attr]


def results(roll: RollOver) -> Counter[str]:
    return Counter(roll.rows.values_list("test", flat=True))


def standing(roll: RollOver) -> roll_over_standing.Standing:
    return roll_over_standing.standing(RollOver.objects.get(pk=roll.pk), timezone.now())


# --- The way through --------------------------------------------------------------------------------------------------
def test_test_switch_watch_retire(roll: RollOver, boxes: list[Mailbox], double: Double, tested: Tested, poll: Poll) -> None:
    tested()
    assert results(roll) == {"passed": 4}
    seen = double.recorder.records()
    # One handshake for each mailbox, with the new certificate, and nothing else.
    assert sorted((one.route, one.mailbox) for one in seen) == [("handshake", box.mailbox_id) for box in boxes]
    assert uses(boxes) == ["Midshire"] * 4
    assert not Mailbox.objects.filter(last_handshake_at__isnull=False).exists()
    with context.request("gesture"):
        moved = rollover.switch(actor=ACTOR, roll_over=roll)
    assert (moved.done, moved.left) == (4, ())
    assert uses(boxes) == ["Next"] * 4
    events = AuditEvent.objects.filter(request_id="gesture")
    assert Counter(events.values_list("action", flat=True)) == {"mailbox.changed": 4, "roll_over.switched": 1}
    assert (standing(roll).can_retire, standing(roll).unproven) == (False, 4)
    for box in boxes[:3]:
        box.refresh_from_db()
        assert poll(box).problem is None
    assert (standing(roll).can_retire, standing(roll).unproven) == (False, 1)
    boxes[3].refresh_from_db()
    poll(boxes[3])
    assert standing(roll).can_retire
    assert "can be retired" in standing(roll).sentence


def test_a_handshake_before_the_switch_proves_nothing(
    roll: RollOver, boxes: list[Mailbox], tested: Tested, poll: Poll, double: Double
) -> None:
    for box in boxes:
        poll(box)
    tested()
    rollover.switch(actor=ACTOR, roll_over=roll)
    assert (standing(roll).counts["in_use"], standing(roll).can_retire) == (0, False)


def test_a_failed_test_is_named_and_left_out(roll: RollOver, boxes: list[Mailbox], double: Double, tested: Tested) -> None:
    double.update_mailbox(boxes[0].mailbox_id, password="another")
    tested()
    assert results(roll) == {"passed": 3, "failed": 1}
    moved = rollover.switch(actor=ACTOR, roll_over=roll)
    assert moved.done == 3
    assert [name for name, _ in moved.left] == [str(boxes[0])]
    assert "password" in moved.left[0][1]
    assert uses(boxes) == ["Midshire", "Next", "Next", "Next"]
    assert not standing(roll).can_retire
    double.update_mailbox(boxes[0].mailbox_id, password="password")
    tested()
    # Those that are switched are not greeted again by a test.
    assert sum(1 for one in double.recorder.records() if one.mailbox == boxes[1].mailbox_id) == 1
    assert rollover.switch(actor=ACTOR, roll_over=roll).done == 1
    assert uses(boxes) == ["Next"] * 4


def test_ticked_ones_only(roll: RollOver, boxes: list[Mailbox], tested: Tested) -> None:
    tested()
    assert rollover.switch(actor=ACTOR, roll_over=roll, only={boxes[1].pk}).done == 1
    assert uses(boxes) == ["Midshire", "Next", "Midshire", "Midshire"]


def test_undo_gives_back_what_was_switched_here(
    roll: RollOver, boxes: list[Mailbox], tested: Tested, real_identity: ClientIdentity, new: ClientIdentity, poll: Poll
) -> None:
    services.change_mailbox(actor=ACTOR, mailbox=boxes[0], identity=new)
    tested()
    rollover.switch(actor=ACTOR, roll_over=roll, only={boxes[1].pk, boxes[2].pk})
    assert rollover.undo(actor=ACTOR, roll_over=roll).done == 2
    # What somebody gave the new certificate by hand keeps it.
    assert uses(boxes) == ["Next", "Midshire", "Midshire", "Midshire"]
    with pytest.raises(Refused, match="nothing to undo"):
        rollover.undo(actor=ACTOR, roll_over=roll)
    boxes[1].refresh_from_db()
    assert poll(boxes[1]).problem is None
    assert rollover.switch(actor=ACTOR, roll_over=roll).done == 3


# --- What may go wrong ------------------------------------------------------------------------------------------------
def test_refusals(roll: RollOver, boxes: list[Mailbox], tested: Tested, new: ClientIdentity, real_identity: Any) -> None:
    with pytest.raises(Refused, match="It was not tested"):
        rollover.switch(actor=ACTOR, roll_over=roll)
    rollover.ask_test(actor=ACTOR, roll_over=roll)
    with pytest.raises(Refused, match="being tested right now"):
        rollover.ask_test(actor=ACTOR, roll_over=roll)
    while row := handshakes.claim_due():
        handshakes.work(row)
    with pytest.raises(Refused, match="a moment ago"):
        rollover.ask_test(actor=ACTOR, roll_over=roll)
    ends = new.not_after
    past = timezone.now() - timedelta(minutes=1)
    ClientIdentity.objects.filter(pk=new.pk).update(effective_expiry=past)
    for act in (rollover.ask_test, rollover.switch):
        with pytest.raises(Refused, match="expired"):
            act(actor=ACTOR, roll_over=roll)
    ClientIdentity.objects.filter(pk=new.pk).update(effective_expiry=ends)
    rollover.switch(actor=ACTOR, roll_over=roll)
    with pytest.raises(Refused, match="None of them uses the old"):
        rollover.switch(actor=ACTOR, roll_over=roll)
    ClientIdentity.objects.filter(pk=real_identity.pk).update(effective_expiry=past)
    with pytest.raises(Refused, match="expired"):
        rollover.undo(actor=ACTOR, roll_over=roll)
    assert uses(boxes) == ["Next"] * 4


def test_only_two_of_one_team_and_environment(team: Any, other_team: Any, new: Any, real_identity: Any, roll: RollOver) -> None:
    assert rollover.begin(actor=ACTOR, team=team, old=real_identity, new=new) == roll
    assert AuditEvent.objects.filter(action="roll_over.begun").count() == 1
    for fields in ({"team": other_team}, {"environment": "int"}):
        ClientIdentity.objects.filter(pk=new.pk).update(**fields)
        with pytest.raises(ValidationError, match="same environment"):
            rollover.begin(actor=ACTOR, team=team, old=real_identity, new=ClientIdentity.objects.get(pk=new.pk))
        ClientIdentity.objects.filter(pk=new.pk).update(team=team, environment="sandbox")
    with pytest.raises(ValidationError, match="same environment"):
        rollover.begin(actor=ACTOR, team=team, old=new, new=new)


def test_a_mailbox_that_another_team_has_is_not_touched(
    team: Any, other_team: Any, new: Any, real_identity: Any, boxes: list[Mailbox], mailbox: Make, tested: Tested, roll: RollOver
) -> None:
    theirs = mailbox(team=other_team, mailbox_id="RH8HC001", identity=real_identity)
    tested()
    assert rollover.switch(actor=ACTOR, roll_over=roll, only={theirs.pk, boxes[0].pk}).done == 1
    theirs.refresh_from_db()
    assert theirs.identity_id == real_identity.pk


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("act", ["switch", "undo"])
def test_dying_in_the_middle_leaves_every_mailbox_as_it_was(
    act: str, at: int, roll: RollOver, boxes: list[Mailbox], tested: Tested, monkeypatch: pytest.MonkeyPatch, poll: Poll
) -> None:
    """Each of the four mailboxes' audit events, and the gesture's, in turn."""
    tested()
    if act == "undo":
        rollover.switch(actor=ACTOR, roll_over=roll)
    before, events = uses(boxes), AuditEvent.objects.count()
    real, calls = audit.record, []

    def dies(**fields: Any) -> Any:
        calls.append(fields["action"])
        if len(calls) == at:
            raise RuntimeError("killed")
        return real(**fields)

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", dies)
        with pytest.raises(RuntimeError, match="killed"):
            getattr(rollover, act)(actor=ACTOR, roll_over=roll)
    assert uses(boxes) == before
    assert AuditEvent.objects.count() == events
    for box in boxes:
        box.refresh_from_db()
        assert poll(box).problem is None
    assert getattr(rollover, act)(actor=ACTOR, roll_over=roll).done == 4


def test_a_worker_that_dies_in_a_test_is_followed_by_another(
    roll: RollOver, boxes: list[Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    rollover.ask_test(actor=ACTOR, roll_over=roll)
    row = handshakes.claim_due()
    assert row is not None
    again: RollOverRow = row
    for _ in range(3):
        # The lease of the one that died runs out.
        RollOverRow.objects.filter(pk=row.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        claimed = handshakes.claim_due()
        assert claimed is not None
        assert claimed.pk == row.pk
        again = claimed
    assert again.tries == 4
    handshakes.work(again)
    again.refresh_from_db()
    assert (again.test, again.lease_token) == ("failed", None)
    assert "stopped each time" in again.why_not
    # The first one, were it still alive, writes nothing any more.
    handshakes.work(row)
    again.refresh_from_db()
    assert again.test == "failed"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (faults.hang(30), "did not answer in time"),
        (faults.refuse_tls("alert"), "refused|dropped"),
        (faults.refuse_tls("after_handshake"), "refused|dropped|broke off"),
    ],
)
def test_what_mesh_does_wrong_is_a_sentence(
    roll: RollOver, boxes: list[Mailbox], double: Double, tested: Tested, fault: Any, words: str
) -> None:
    # An alert comes before the server knows whose certificate it is.
    match = {"alert": {}, "after_handshake": {"certificate": f"{NEW}.X26.api.mesh-client.nhs.uk"}}.get(
        fault.get("how"), {"mailbox": boxes[0].mailbox_id}
    )
    double.faults.add(match=match, action=fault, times=None)
    began = time.monotonic()
    tested()
    assert time.monotonic() - began < 25
    failed = roll.rows.filter(test="failed")
    assert failed.count() == (1 if "mailbox" in match else 4)
    for row in failed:
        assert re.search(words, row.why_not)
        assert row.advice
    assert uses(boxes) == ["Midshire"] * 4


def test_a_running_turn_ends_and_the_next_uses_the_new_one(
    roll: RollOver, boxes: list[Mailbox], double: Double, tested: Tested, poll: Poll, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested()
    double.put_many(boxes[0].mailbox_id, 3)
    real = MeshClient.handshake
    done: list[bool] = []

    def greet(client: MeshClient) -> Any:
        answer = real(client)
        if not done:
            done.append(True)
            rollover.switch(actor=ACTOR, roll_over=roll)
        return answer

    monkeypatch.setattr(MeshClient, "handshake", greet)
    tally = poll(boxes[0])
    assert (tally.problem, tally.acknowledged) == (None, 0)
    assert standing(roll).counts["in_use"] == 0
    assert poll(boxes[0]).acknowledged == 3
    assert standing(roll).counts["in_use"] == 1


@pytest.mark.simulation
@pytest.mark.django_db(transaction=True)
def test_two_hundred_while_polls_run(
    team: Any, double: Double, mailbox: Make, real_identity: Any, new: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.MESH_READ_TIMEOUT = settings.MESH_CONNECT_TIMEOUT = 20
    for number in range(200):
        double.add_mailbox(f"X26TW{number:03d}")
        mailbox(mailbox_id=f"X26TW{number:03d}", identity=real_identity, poll_interval_seconds=2)
    problems: list[Any] = []
    finished: list[str] = []
    real = polling.finish

    def finish(box: Mailbox, **facts: Any) -> bool:
        finished.append(box.mailbox_id)
        if facts["problem"] is not None:
            problems.append((box.mailbox_id, facts["problem"]))
        return real(box, **facts)

    monkeypatch.setattr(polling, "finish", finish)
    stop = threading.Event()

    def polls() -> None:
        try:
            while not stop.is_set():
                shard.pool(threads=3, slow_threads=1, seconds=1).run()
        finally:
            databases.close_all()

    thread = threading.Thread(target=polls)
    thread.start()
    try:
        roll = rollover.begin(actor=ACTOR, team=team, old=real_identity, new=new)
        rollover.ask_test(actor=ACTOR, roll_over=roll)
        handshakes.run_due()
        assert results(roll) == {"passed": 200}
        before = len(finished)
        assert before, "no poll ran meanwhile"
        assert rollover.switch(actor=ACTOR, roll_over=roll).done == 200
        until = time.monotonic() + 90
        while not standing(roll).can_retire and time.monotonic() < until:
            time.sleep(1)
        assert standing(roll).can_retire, standing(roll).sentence
    finally:
        stop.set()
        thread.join()
    assert problems == []
    assert len(finished) > before + 199
    assert not Mailbox.objects.exclude(problem_code="").exists()
    assert not Mailbox.objects.exclude(identity=new).exists()


# --- The pages --------------------------------------------------------------------------------------------------------
def test_the_pages(signed_in: Any, boxes: list[Mailbox], real_identity: Any, new: Any, double: Double, poll: Poll) -> None:
    manager = signed_in("manager")
    start = f"/t/midshire/mailboxes/roll-over-to/{new.pk}/"
    assert start in manager.get(f"/t/midshire/certificates/{new.pk}/").content.decode()
    assert "Midshire, used by 4 mailboxes" in said(manager.get(start))
    assert manager.post(start, {"old": str(new.pk)}).status_code == 422
    assert manager.post(start, {}).status_code == 422
    url = manager.post(start, {"old": str(real_identity.pk)})["Location"]
    assert manager.post(start, {"old": str(real_identity.pk)})["Location"] == url
    double.update_mailbox(boxes[0].mailbox_id, password="another")
    assert "one handshake each" in said(manager.post(f"{url}test/", follow=True))
    page = said(manager.get(url))
    assert "0 of 4 tested" in page
    assert "Switch all" not in page
    assert "being tested right now" in said(manager.post(f"{url}test/", follow=True))
    while row := handshakes.claim_due():
        handshakes.work(row)
    page = said(manager.get(url))
    assert "Switch all that passed (3)" in page
    assert "MESH refused the sign-in of this mailbox" in page
    assert "No mailbox is ticked" in said(manager.post(f"{url}switch/", {"mailbox": ["x", ""]}, follow=True))
    one = said(manager.post(f"{url}switch/", {"mailbox": [str(boxes[1].pk), str(boxes[0].pk)]}, follow=True))
    assert "1 mailbox switched to “Next”" in one
    assert "1 mailbox left as before. Pathology results 1 (X26RO000): MESH refused" in one
    assert "2 mailboxes switched" in said(manager.post(f"{url}switch/", {"all": "on"}, follow=True))
    audit_page = said(manager.get("/t/midshire/audit/"))
    assert "for 2 mailboxes" in audit_page
    Mailbox.objects.filter(pk=boxes[2].pk).update(mode=Mode.PAUSED)
    boxes[1].refresh_from_db()
    poll(boxes[1])
    page = said(manager.get(url))
    assert "New, in use" in page
    assert "New, paused" in page
    assert "Not yet: that takes a handshake" in page
    assert "3 mailboxes back on “Midshire”" in said(manager.post(f"{url}undo/", follow=True))
    assert uses(boxes) == ["Midshire"] * 4
    viewer = signed_in("viewer")
    assert viewer.get(url).status_code == 200
    assert "Test the new one" not in said(viewer.get(url))
    for address in (start, f"{url}test/", f"{url}switch/", f"{url}undo/"):
        assert viewer.post(address).status_code == 404
    assert viewer.get(url, headers={"HX-Request": "true", "HX-Target": "rows"}).status_code == 200
    assert manager.get(f"{start}").content.decode().count(url) == 1


# --- What the old certificate's page says -------------------------------------------------------------------------------
def test_the_old_certificate_says_when_it_can_be_retired(
    roll: RollOver, boxes: list[Mailbox], double: Double, tested: Tested, poll: Poll, signed_in: Any, new: ClientIdentity
) -> None:
    browser = signed_in("viewer")
    page, address = (f"/t/midshire/{where}/{roll.old_id}/" for where in ("certificates", "mailboxes/replaced"))

    def fragment() -> str:
        return said(browser.get(address, headers={"HX-Request": "true", "HX-Target": "replaced"}))

    assert f'hx-get="{address}"' in browser.get(page).content.decode()
    assert "Still needed 4 mailboxes still use it." in fragment()
    tested()
    rollover.switch(actor=ACTOR, roll_over=roll, only={box.pk for box in boxes[1:]})
    assert "1 mailbox still uses it. 3 mailboxes switched, with the first handshake still to come." in fragment()
    rollover.switch(actor=ACTOR, roll_over=roll)
    assert "Not to be retired yet" in fragment()
    for box in boxes[:3]:
        assert poll(Mailbox.objects.get(pk=box.pk)).problem is None
    assert "1 mailbox switched, with the first handshake still to come." in fragment()
    poll(Mailbox.objects.get(pk=boxes[3].pk))
    assert "Can be retired" in fragment() and "Roll-over to Next" in fragment()
    # As a page of its own too, and nothing about one that replaced nothing.
    assert "Can be retired" in said(browser.get(address))
    other = address.replace(str(roll.old_id), str(new.pk))
    assert "no roll-over from this certificate" in said(browser.get(other))
    assert said(browser.get(other, headers={"HX-Request": "true"})).strip() == ""
    # Back on the old one, it is needed again.
    rollover.undo(actor=ACTOR, roll_over=roll)
    assert "Still needed 4 mailboxes still use it." in fragment()
