"""A switch to TPP and one away from it, that nobody tells the portal of, with traffic on four workflows.

The real services send to, receive from and ask the strict double; people act through the pages. The case opens at the first
tell-tale report; what is at risk is exactly what the double says nobody collected; what was held, and what is sent again,
arrives at the new mailbox exactly once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mailboxes.models import Mailbox, Organisation, SwitchCase
from mailboxes.switches import alerts, cases
from mailboxes.switches.states import CaseState
from meshportal.accounts.models import User
from meshportal.audit.actors import Actor
from messages import acks, bulk_work, dispatch, registry, risk, send, track
from messages import alerts as messages_alerts
from messages.models import Message, Outgoing
from messages.states import State
from tests.double import Double
from tests.receive.conftest import BOX, Poll
from tests.send.conftest import make_due
from tests.switches.conftest import PRACTICE

pytestmark = [pytest.mark.django_db, pytest.mark.simulation]

FLOWS = ("TOC_FHIR_IP_DISCH", "PATH_MEDRPT_V3", "GPFED_CONSULT_REPORT", "GPCONNECT_SEND_DOCUMENT")
NEIGHBOUR = "A81001"
Put = Callable[..., Message]


class World:
    """A practice, its neighbour, the old and the new mailbox, and everything that was written for the practice."""

    def __init__(self, double: Double, box: Mailbox, put: Put, *, old: str, new: str, codes: bool) -> None:
        self.double, self.box, self._put = double, box, put
        self.old, self.new, self.codes = old, new, codes
        self.written: list[bytes] = []
        double.add_mailbox(old, ods_code=PRACTICE, workflows=FLOWS)

    def write(self, times: int = 1, *, to: str = "") -> list[Message]:
        """Letters for the practice, on every workflow, to the address that everybody knows, or to another one."""
        rows = []
        for _ in range(times):
            for flow in FLOWS:
                body = f"letter {len(self.written)} of {flow}".encode()
                self.written.append(body)
                code = {"ods_code": PRACTICE} if self.codes else {}
                rows.append(self._put(body, recipient=to or self.old, workflow_id=flow, **code))
        return rows

    def write_neighbour(self) -> Message:
        """A letter for another practice with the same mailbox."""
        return self._put(b"for the neighbour", recipient=self.old, workflow_id=FLOWS[0], ods_code=NEIGHBOUR)

    def work(self) -> None:
        """The sender and the tracker, until nothing is due that is not merely to be looked at again."""
        Outgoing.objects.filter(due_at__isnull=False, message__state__in=["queued", "uploading"]).update(due_at=timezone.now())
        while (claimed := send.claim_due()) is not None:
            dispatch.work(claimed)

    def look(self) -> None:
        """One look at every sent message whose end is not known."""
        make_due()
        for _ in range(Outgoing.objects.filter(due_at__isnull=False).count()):
            claimed = track.claim_due()
            if claimed is None:
                return
            dispatch.work(claimed)

    def collect(self, mailbox_id: str, times: int | None = None) -> None:
        """The client of a practice's mailbox collects what waits."""
        state = self.double.state
        with state.lock:
            for one in list(state.mailboxes[mailbox_id].inbox.values())[:times]:
                state.acknowledge(state.messages[one.message_id])

    def acknowledge(self, mailbox_id: str) -> None:
        """The practice's system acknowledges what it got."""
        for row in Message.objects.filter(recipient_mailbox=mailbox_id, state=State.COLLECTED):
            self.double.put(BOX, b"taken", sender=mailbox_id, workflow_id=f"{row.workflow_id}_ACK", local_id=row.local_id)

    def bodies(self, mailbox_id: str, *, collected: bool | None = None) -> Counter[bytes]:
        """What MESH took for a mailbox: all, or by whether a client collected it."""
        found = [one for one in self.double.sent_by(BOX) if one.recipient == mailbox_id]
        if collected is not None:
            found = [one for one in found if (one.acknowledged_at is not None) is collected]
        return Counter(self.double.content(one.message_id) for one in found)


def press(person: Client, case: SwitchCase, route: str, **given: str) -> str:
    """What the banner says after somebody pressed a button of the case's page."""
    answer = person.post(reverse(f"switches:{route}", kwargs={"team": case.team.slug, "pk": case.pk}), given, follow=True)
    assert answer.status_code == 200
    case.refresh_from_db()
    return str(answer.content.decode()).partition('notification-banner__heading">')[2].partition("</p>")[0]


def signed_in(actor: Actor) -> Client:
    browser = Client()
    browser.force_login(User.objects.get(pk=actor.id))
    return browser


@pytest.mark.parametrize("direction", ["to_tpp", "from_tpp"])
def test_a_switch_that_nobody_told_of(
    direction: str, double: Double, box: Mailbox, put: Put, poll: Poll, manager: Actor, operator: Actor, settings: Any
) -> None:
    settings.TRACK_PER_MAILBOX = 10_000
    to_tpp = direction == "to_tpp"
    old, new = ("G81086GP1", "TPPHC001") if to_tpp else ("TPPHC001", "G81086GP1")
    # Whoever writes to a shared mailbox says whose the letter is.
    world = World(double, box, put, old=old, new=new, codes=not to_tpp)
    for flow in FLOWS:
        registry.change(actor=operator, workflow=registry.known(box.team_id, flow), resend_policy="allowed")
    one, two = signed_in(operator), signed_in(manager)

    # Ordinary days: three quarters are collected, the rest waits in the old inbox when the practice moves.
    world.write(4)
    world.work()
    world.collect(old, 12)
    world.look()
    assert Message.objects.filter(state=State.COLLECTED).count() == 12
    assert not SwitchCase.objects.exists()

    # The switch. Nobody tells the portal; letters go on to the old address.
    double.add_mailbox(new, ods_code=PRACTICE, workflows=FLOWS)
    double.update_mailbox(old, workflows=[], **({"active": False} if to_tpp else {"ods_code": "TPP"}))
    gone = world.write(2)
    neighbour = None if to_tpp else world.write_neighbour()
    world.work()
    if not to_tpp:
        # TPP's mailbox lives on, for others; it no longer takes this practice's letters.
        first = next(row for row in Message.objects.filter(pk__in=[row.pk for row in gone]))
        double.put(BOX, report={"code": "12", "description": "Unregistered", "linked_message_id": first.mesh_id, "event": "SEND"})
    assert not SwitchCase.objects.exists()
    poll(box)
    case = SwitchCase.objects.get()
    assert case.state == CaseState.SUSPECTED
    assert case.evidence.filter(score__gte=100).exists()
    assert [condition.key for condition in alerts.suspected(timezone.now())] == [str(case.pk)]
    if not to_tpp:
        assert case.ods_code == PRACTICE

    # What is at risk, compared with the double's own record, both ways.
    at_risk = set(Message.objects.filter(risk.at_risk(case)).values_list("mesh_id", flat=True))
    theirs = {
        found.message_id
        for found in double.sent_by(BOX)
        if found.recipient == old and found.acknowledged_at is None and double.content(found.message_id) in world.written
    }
    assert at_risk == theirs
    assert len(at_risk) == 12

    # People confirm it and freeze it; the letters of the next days are held, the neighbour's are not.
    assert "confirmed now" in press(one, case, "move", to="confirmed", reason="rang the practice", ods_code=PRACTICE)
    cases.change(actor=operator, case=case, direction=direction, go_live=timezone.now().date())
    case = SwitchCase.objects.select_related("organisation", "team").get()
    assert case.ods_code == PRACTICE
    for address in case.addresses.all():
        cases.set_address(
            actor=operator, case=case, workflow_id=address.workflow_id, old_mailbox=old, new_mailbox=new, old_shared=not to_tpp
        )
    assert "frozen now" in press(one, case, "move", to="frozen")
    before = len(double.sent_by(BOX))
    held = world.write(2)
    if neighbour is not None:
        assert world.write_neighbour().state == State.QUEUED
        before += 1
    world.work()
    assert len(double.sent_by(BOX)) == before
    assert {row.state for row in held} == {State.ON_HOLD}
    assert [told.key for told in messages_alerts.held(timezone.now() + timedelta(hours=25))] == [str(case.pk)]
    for address in case.addresses.filter(new_mailbox=""):
        cases.set_address(
            actor=operator, case=case, workflow_id=address.workflow_id, old_mailbox=old, new_mailbox=new, old_shared=not to_tpp
        )
    assert set(case.addresses.values_list("workflow_id", flat=True)) == set(FLOWS)

    # MESH is asked when it is switched. What was at risk is sent again by the list's own gesture, and held with the rest.
    assert "switched now" in press(one, case, "move", to="switched")
    query = f"?risk={case.pk}"
    resend_all = reverse("messages:resend-filtered", kwargs={"team": case.team.slug}) + query
    digest = one.get(resend_all).content.decode().partition('name="digest" value="')[2].partition('"')[0]
    one.post(resend_all, {"digest": digest, "reason": "the practice moved", "confirm": "on"})
    while (gesture := bulk_work.claim_due()) is not None:
        bulk_work.work(gesture)
    world.work()
    restore = one.get(reverse("messages:restore-file", kwargs={"team": case.team.slug}) + query)
    assert b"Message ID" in b"".join(restore.streaming_content)  # type: ignore[attr-defined]

    assert "Somebody else must agree" in press(one, case, "release-ask", to="new", reason="TPP is live")
    assert "You asked for this release yourself" in press(one, case, "release-agree")
    assert "released" in press(two, case, "release-agree")
    world.work()

    # Exactly once, and nothing lost: what was collected at the old one, and all the rest at the new one.
    arrived = world.bodies(new)
    assert set(arrived.values()) == {1}
    waiting = {one.message_id: one for one in double.sent_by(BOX) if one.recipient == old and one.status == "accepted"}
    left = {key for key in waiting if double.content(key) in set(world.written) - set(arrived)}
    everything = set(world.bodies(old, collected=True)) | set(arrived) | {double.content(key) for key in left}
    assert set(world.written) <= everything
    # What still lies in the old inbox stays on the list of what is at risk; the rest is off it.
    assert set(Message.objects.filter(risk.at_risk(case)).values_list("mesh_id", flat=True)) == left
    for row in held:
        row.refresh_from_db()
        assert row.recipient_mailbox == new
    assert not Message.objects.filter(state=State.ON_HOLD).exists()

    # Whoever knows the new address now is not held up. It proves itself, and closes after five quiet days, not before.
    assert "proving now" in press(one, case, "move", to="proving")
    world.write(2 if not to_tpp else 0, to=new)
    world.work()
    world.collect(new)
    world.look()
    # Collected is not enough where the practice's system acknowledges.
    assert "0 of 3" in press(one, case, "move", to="closed")
    world.acknowledge(new)
    poll(box)
    acks.work_due()
    assert "Five days without" in press(one, case, "move", to="closed")
    with time_machine.travel(timezone.now() + timedelta(days=6), tick=True):
        one, two = signed_in(operator), signed_in(manager)
        page = press(one, case, "move", to="closed")
    assert "closed now" in page
    report = one.get(reverse("switches:report", kwargs={"team": case.team.slug, "pk": case.pk})).content.decode()
    assert "agreed by" in report.lower()
    assert Organisation.objects.filter(ods_code=PRACTICE).count() == 1
