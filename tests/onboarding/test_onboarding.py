"""An onboarding from its first step to a live mailbox, by page; every mistake, and what two people do at once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from certificates.models import CertificateRequest
from mailboxes import alerts, onboarding, onboarding_steps, services, trying
from mailboxes.models import Mailbox, Onboarding
from mailboxes.problems import Problem
from meshportal.accounts.models import User
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused

pytestmark = pytest.mark.django_db
ACTOR = Actor.command("tests")
LIST = "/t/midshire/mailboxes/onboarding/"
SECRET = "PLANTED-mailbox-word"
FIRST = {
    "ods_code": "x26",
    "organisation_name": "Midshire Hospitals",
    "organisation_type": "trust",
    "purpose": "Pathology results",
    "environment": "sandbox",
}
DETAILS = {
    "contact_name": "Ada Admin",
    "contact_email": "ada@midshire.example",
    "contact_phone": "01234 567890",
    "access": "api",
    "sends": "TOC_FHIR_IP_DISCH\nPATH_MEDRPT_V3, TOC_FHIR_IP_DISCH",
    "receives": "TOC_FHIR_IP_DISCH_ACK",
    "file_size": "200 a day, 100 KB each",
}
BOX = {"mailbox_id": "x26hc009", "password": SECRET, "name": "Pathology"}


def said(answer: Any) -> str:
    html = answer.content.decode()
    assert "PLANTED" not in html
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#x27;", "'").replace("&#39;", "'")


@pytest.fixture
def manager(signed_in: Any) -> Client:
    found: Client = signed_in("manager")
    return found


@pytest.fixture
def begun(team: Any) -> Onboarding:
    return onboarding.begin(actor=ACTOR, team=team, **{**FIRST, "ods_code": "X26"})


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> dict[str, Problem | None]:
    """What a handshake comes to. With a real server: tests/browser/test_new_user.py."""
    answers: dict[str, Problem | None] = {"says": None}
    monkeypatch.setattr(trying, "handshake", lambda mailbox, **_: answers["says"])
    return answers


def states(row: Onboarding) -> dict[str, str]:
    fresh = Onboarding.objects.select_related("mailbox__identity", "owner", "deputy", "team").get(pk=row.pk)
    asked = onboarding_steps.request_for(fresh)
    return {step.key: step.state for step in onboarding_steps.steps(fresh, asked=asked)}


def post(browser: Client, row: Onboarding, step: str, **fields: Any) -> Any:
    row.refresh_from_db()
    return browser.post(f"{LIST}{row.pk}/{step}/", {"revision": row.revision, **fields}, follow=True)


def test_from_the_first_step_to_a_live_mailbox(manager: Client, identity: Any, mesh: Any) -> None:
    assert "Onboard a mailbox" in said(manager.get(LIST))
    answer = manager.post(f"{LIST}start/", FIRST, follow=True)
    row = Onboarding.objects.get()
    assert answer.redirect_chain[-1][0] == f"{LIST}{row.pk}/"
    assert "1 of 8 steps are done" in said(answer)
    assert states(row) == {
        "organisation": "done", "details": "todo", "application": "later", "mailbox": "todo", "certificate": "later",
        "connection": "later", "mode": "todo", "people": "todo",
    }  # fmt: skip
    post(manager, row, "details", **DETAILS)
    row.refresh_from_db()
    assert row.sends == "TOC_FHIR_IP_DISCH\nPATH_MEDRPT_V3"
    printed = said(manager.get(f"{LIST}{row.pk}/application/"))
    order = ["Path to Live", "Organisation type", "ODS code X26", "Contact: name", "third party", "NEMS", "API", "Workflow IDs"]
    assert sorted(order, key=printed.index) == order
    assert "TOC_FHIR_IP_DISCH, PATH_MEDRPT_V3" in printed
    today = timezone.localdate()
    post(manager, row, "application", applied_on=today.isoformat())
    assert states(row)["application"] == "waiting"
    assert "NHS England is to answer by" in said(manager.get(LIST))

    post(manager, row, "mailbox", **BOX)
    box = Mailbox.objects.get()
    assert (box.mailbox_id, box.mode, box.password, box.identity) == ("X26HC009", "paused", SECRET, None)
    assert list(alerts.paused(timezone.now() + timedelta(days=9))) == []
    assert states(row)["application"] == "done" and states(row)["certificate"] == "todo"
    post(manager, row, "certificate", identity=str(identity.pk))
    mesh["says"] = Problem("timeout", "MESH did not answer.", "Look at the network.")
    assert "MESH did not answer. Look at the network." in said(post(manager, row, "connection/try"))
    assert states(row)["connection"] == "problem"
    assert "MESH did not answer." in said(manager.get(f"{LIST}{row.pk}/connection/"))
    assert "MESH did not answer." in said(manager.get(LIST))
    mesh["says"] = None
    post(manager, row, "connection/try")
    assert states(row)["connection"] == "done"
    assert "these are to be done first: who takes the messages, owner and deputy" in said(post(manager, row, "live"))
    post(manager, row, "mode", mode="collect")
    answer = post(manager, row, "people", owner=str(User.objects.get().pk))
    assert "Everything is done" in said(answer)
    assert "is live, in collect mode" in said(post(manager, row, "live"))
    box.refresh_from_db()
    assert (box.mode, box.pause_reason) == ("collect", "")
    declared = set(box.declared_workflows.values_list("workflow_id", "may_send", "may_receive"))
    assert declared == {
        ("TOC_FHIR_IP_DISCH", True, False), ("PATH_MEDRPT_V3", True, False), ("TOC_FHIR_IP_DISCH_ACK", False, True),
    }  # fmt: skip
    assert "Ended lately" in said(manager.get(LIST))
    events = list(AuditEvent.objects.order_by("id").values_list("action", flat=True))
    assert events[0] == "onboarding.begun" and events[-1] == "onboarding.went_live"
    whole = repr(list(AuditEvent.objects.values()))
    assert "PLANTED" not in whole and "ada@midshire.example" not in whole and "Ada Admin" not in whole
    assert "saved a step of the" in said(manager.get("/t/midshire/audit/"))


@pytest.mark.parametrize(
    ("step", "fields", "words"),
    [
        ("organisation", {**FIRST, "ods_code": "X 26"}, "3 to 12 capital letters"),
        ("organisation", {**FIRST, "purpose": ""}, "Enter the purpose of the mailbox"),
        ("organisation", {**FIRST, "purpose": "x" * 301}, "at most 300 characters"),
        ("organisation", {**FIRST, "organisation_type": "club"}, "Select a valid choice"),
        ("organisation", {**FIRST, "environment": "moon"}, "Select a valid choice"),
        ("details", {**DETAILS, "contact_email": "ada"}, "valid email address"),
        ("details", {**DETAILS, "sends": "TOC FHIR!"}, "is no workflow ID"),
        ("details", {**DETAILS, "sends": " ".join(f"W{n}" for n in range(51))}, "more than 50"),
        ("details", {**DETAILS, "sends": "", "receives": " "}, "Enter the workflow IDs"),
        ("details", {**DETAILS, "third_party_ods": "?"}, "3 to 12 capital letters"),
        ("details", {**DETAILS, "access": "fax"}, "Select a valid choice"),
        ("application", {"applied_on": ""}, "Enter the day"),
        ("application", {"applied_on": "yesterday"}, "Enter a day, such as"),
        ("application", {"applied_on": "2999-01-01"}, "today at the latest"),
        ("application", {"applied_on": "1999-01-01"}, "today at the latest"),
        ("mailbox", {**BOX, "mailbox_id": "X 1"}, "capital letters and digits"),
        ("mailbox", {**BOX, "password": ""}, "Enter the password of the mailbox"),
        ("mailbox", {**BOX, "password": f" {SECRET}"}, "begins or ends with a space"),
        ("mode", {"mode": "paused"}, "Select a valid choice"),
        ("people", {"owner": "nobody"}, "is not a valid UUID"),
        ("people", {}, "Select the owner"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_kept(
    manager: Client, begun: Onboarding, step: str, fields: dict[str, Any], words: str
) -> None:
    before = list(Onboarding.objects.values())
    answer = manager.post(f"{LIST}{begun.pk}/{step}/", {"revision": 0, **fields})
    assert answer.status_code == 422
    assert words in said(answer)
    assert list(Onboarding.objects.values()) == before
    assert not Mailbox.objects.exists()
    assert AuditEvent.objects.count() == 1


@pytest.mark.parametrize(("step", "fields"), [("details", DETAILS), ("mode", {"mode": "watch"}), ("mailbox", BOX)])
@pytest.mark.parametrize("revision", ["7", "", "x"])
def test_the_second_of_two_people_is_told(
    manager: Client, begun: Onboarding, step: str, fields: dict[str, Any], revision: str
) -> None:
    answer = manager.post(f"{LIST}{begun.pk}/{step}/", {**fields, "revision": revision})
    assert answer.status_code == 422
    assert "Somebody else went on with this onboarding" in said(answer) or revision == "x"
    assert not Mailbox.objects.exists()
    begun.refresh_from_db()
    assert begun.revision == 0


def test_the_owner_is_of_the_team(manager: Client, begun: Onboarding, member: Any, other_team: Any) -> None:
    stranger = member("manager", team=other_team)
    answer = manager.post(f"{LIST}{begun.pk}/people/", {"revision": 0, "owner": str(stranger.pk)})
    assert answer.status_code == 422 and "Choose somebody of this team" in said(answer)
    assert str(stranger.pk) not in manager.get(f"{LIST}{begun.pk}/people/").content.decode()
    with pytest.raises(ValidationError, match="Choose somebody of this team"):
        onboarding.answer(actor=ACTOR, onboarding=begun, revision=0, owner=stranger)


def test_the_answer_that_does_not_come_is_a_problem(begun: Onboarding) -> None:
    Onboarding.objects.filter(pk=begun.pk).update(
        contact_name="A", contact_email="a@b.example", sends="X", applied_on="2026-12-18", moved_at="2026-12-18T10:00Z"
    )
    # Ten working days, with Christmas, Boxing Day's substitute and New Year's Day between.
    for day, state in (("2027-01-06", "waiting"), ("2027-01-07", "problem")):
        with time_machine.travel(f"{day}T12:00Z", tick=False):
            assert states(begun)["application"] == state
    with time_machine.travel("2027-01-11T12:00Z", tick=False):
        [line] = onboarding_steps.open_lines(begun.team)
        assert line.next is not None
        assert line.next.sentence == "The answer was due on Wednesday 6 January 2027, 3 working days ago. Ask what became of it."
        assert line.since.date().isoformat() == "2026-12-18"


def test_a_certificate_that_is_requested_is_waited_for(begun: Onboarding, team: Any) -> None:
    onboarding.add_mailbox(actor=ACTOR, onboarding=begun, revision=0, mailbox_id="X26HC009", password="password", name="P")
    assert states(begun)["certificate"] == "todo"
    CertificateRequest.objects.create(
        team=team, environment="sandbox", name="To come", local_id="X", ods_code="X26", organisation="M", why="new",
        key_size=2048, csr_pem="a request", private_key="a key",
    )  # fmt: skip
    assert states(begun)["certificate"] == "waiting"


def test_a_check_counts_no_more_when_the_settings_changed(begun: Onboarding, identity: Any, mesh: Any) -> None:
    box = onboarding.add_mailbox(actor=ACTOR, onboarding=begun, revision=0, mailbox_id="X26HC009", password="password", name="P")
    onboarding.choose_certificate(actor=ACTOR, onboarding=begun, revision=1, identity=identity)
    onboarding.try_connection(actor=ACTOR, onboarding=begun)
    assert states(begun)["connection"] == "done"
    services.change_mailbox(actor=ACTOR, mailbox=box, password="another")
    assert states(begun)["connection"] == "todo"


def test_the_environment_stays_once_the_mailbox_is_there(begun: Onboarding) -> None:
    onboarding.add_mailbox(actor=ACTOR, onboarding=begun, revision=0, mailbox_id="X26HC009", password="password", name="P")
    with pytest.raises(ValidationError, match="in another environment"):
        onboarding.answer(actor=ACTOR, onboarding=begun, revision=1, environment="int")
    with pytest.raises(ValidationError, match="in the portal already"):
        onboarding.add_mailbox(actor=ACTOR, onboarding=begun, revision=1, mailbox_id="X26HC010", password="password", name="P")


def test_one_that_is_over_is_not_gone_on_with(manager: Client, begun: Onboarding) -> None:
    assert "is stopped" in said(post(manager, begun, "stop"))
    assert "This onboarding is over: it was stopped." in said(post(manager, begun, "stop"))
    assert manager.get(f"{LIST}{begun.pk}/mode/").status_code == 302
    answer = manager.post(f"{LIST}{begun.pk}/mode/", {"revision": 1, "mode": "watch"})
    assert answer.status_code == 422 and "it was stopped" in said(answer)
    with pytest.raises(Refused):
        onboarding.go_live(actor=ACTOR, onboarding=begun)
    assert "Stopped" in said(manager.get(f"{LIST}{begun.pk}/"))


def test_a_mailbox_that_cannot_be_added_leaves_the_step_open(begun: Onboarding, mailbox: Any) -> None:
    mailbox(mailbox_id="X26HC009", name="Ours")
    with pytest.raises(ValidationError, match="Your team has this mailbox already"):
        onboarding.add_mailbox(actor=ACTOR, onboarding=begun, revision=0, mailbox_id="X26HC009", password="password", name="P")
    begun.refresh_from_db()
    assert (begun.mailbox, begun.revision) == (None, 0)


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor"])
def test_others_see_what_it_waits_for_and_can_do_nothing(role: str, signed_in: Any, begun: Onboarding) -> None:
    browser = signed_in(role)
    assert "Pathology results" in said(browser.get(LIST))
    html = browser.get(f"{LIST}{begun.pk}/").content.decode()
    assert "A manager of your team can go on with it." in html and "/details/" not in html
    for tail in ("details/", "mailbox/", "live/", "stop/", "connection/try/"):
        assert browser.post(f"{LIST}{begun.pk}/{tail}", {"revision": 0}).status_code == 404


def test_the_list_costs_few_queries(manager: Client, team: Any, django_assert_max_num_queries: Any) -> None:
    for number in range(12):
        onboarding.begin(actor=ACTOR, team=team, **{**FIRST, "ods_code": "X26", "purpose": f"Use {number}"})
    manager.get(LIST)
    with django_assert_max_num_queries(8):
        manager.get(LIST)
