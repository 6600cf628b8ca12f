"""Walks every URL of the site as a stranger, as a member of another team and as each role.

What is not expressly allowed is 404, or the sign-in page for somebody who is not signed in, and changes nothing. A new
URL is walked without being added here; a new URL argument, or a new page without a sign-in, must be added by hand.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.apps import apps
from django.core import serializers
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from meshportal.accounts import policies
from meshportal.accounts.models import Role
from meshportal.core import payloads
from tests.conftest import Make, MakeMember

pytestmark = [pytest.mark.tenancy, pytest.mark.django_db]

# Pages that need no sign-in, and what they answer to it.
PUBLIC = {"livez": 200, "readyz": 200, "healthz": 503, "sign-in": 200}
# Pages of a person rather than of a team: signed in is enough.
PERSONAL = {"home", "sign-out"}
# Pages for programs that cannot sign in: whoever knows the secret part of the address may read, and nobody else.
BY_SECRET = {"certificates-feed"}


@dataclass(frozen=True)
class Route:
    """One URL pattern of the site."""

    name: str
    arguments: tuple[str, ...]
    view: Any

    @property
    def capability(self) -> str:
        """What its page declares."""
        return str(getattr(self.view, "capability", ""))

    def url(self, **given: Any) -> str:
        return reverse(self.name, kwargs={argument: given[argument] for argument in self.arguments})


def routes() -> list[Route]:
    """Every URL pattern, whatever includes it."""

    def walk(resolver: URLResolver, space: str, arguments: tuple[str, ...]) -> Iterator[Route]:
        for entry in resolver.url_patterns:
            found = (*arguments, *entry.pattern.converters)
            if isinstance(entry, URLPattern):
                view = getattr(entry.callback, "view_class", entry.callback)
                yield Route(f"{space}{entry.name}", found, view)
            else:
                inner = f"{space}{entry.namespace}:" if entry.namespace else space
                yield from walk(entry, inner, found)

    return list(walk(get_resolver(), "", ()))


ROUTES = routes()
TEAM_ROUTES = [route for route in ROUTES if "team" in route.arguments]
SECRET_ROUTES = [route for route in ROUTES if route.name in BY_SECRET]


@pytest.fixture
def world(team: Any, other_team: Any, mailbox: Make, message: Make, member: MakeMember) -> dict[str, Any]:
    """A mailbox and messages of ``team``, in every state that an act needs, and another team with its own."""
    from certificates.models import ClientIdentity
    from mailboxes.models import Outlet
    from messages import registry
    from messages.models import HandOver

    box = mailbox()
    theirs = mailbox(team=other_team, mailbox_id="RH8HC001")
    stored = message(mailbox=box, body=b"a letter", subject="PLANTED-SUBJECT")
    outlet = Outlet.objects.create(team=team, mailbox=box, channel="folder", enabled=True)
    HandOver.objects.create(team=team, message=stored, outlet=outlet, state="failed", problem="The share is away.")
    quarantined = message(mailbox=box, state="quarantined")
    queued = message(mailbox=box, state="queued", body=b"a letter to go", subject="PLANTED-SUBJECT")
    uncertain = message(mailbox=box, state="uncertain", body=b"a letter gone", subject="PLANTED-SUBJECT")
    returned = message(mailbox=box, state="returned", body=b"a letter that came back", subject="PLANTED-SUBJECT")
    message(mailbox=theirs, body=b"their letter")
    written_down(other_team, "G81086", theirs.mailbox_id)
    begun(other_team, message(mailbox=theirs, state="returned", body=b"their letter that came back"))
    alert, channel = warned(team, box.name)
    warned(other_team, theirs.mailbox_id)
    return {
        "alert": alert,
        "channel": channel,
        "team": team,
        "mailbox": box,
        "stored": stored,
        "quarantined": quarantined,
        "queued": queued,
        "uncertain": uncertain,
        "returned": returned,
        "workflow": registry.known(team.pk, "TOC_FHIR_IP_DISCH"),
        "composed": composed(box),
        "resend": begun(team, returned),
        "identity": ClientIdentity.objects.get(team=team, name="Midshire 2026"),
        "asked": asked(team),
        "roll_over": rolling(box),
        "onboarding": onboarded(team),
        "imports": [filed(team, 1), filed(team, 2, apply=True)],
        "their_import": filed(other_team, 3),
        "entry": written_down(team, "G81086", "YGM24HC001"),
        "case": switching(team, box),
        "client": brought(team, "X26CLIENT1"),
        "their_client": brought(other_team, "RH8HC001C"),
    }


def onboarded(team: Any) -> Any:
    """A mailbox on its way into use, with the answers of its first step."""
    from mailboxes import onboarding
    from meshportal.audit.actors import Actor

    answers = {"ods_code": "X26", "organisation_name": "Midshire", "organisation_type": "trust", "environment": "sandbox"}
    return onboarding.begin(actor=Actor.command("test"), team=team, purpose="Pathology", **answers)


def written_down(team: Any, code: str, mailbox_id: str) -> Any:
    """An entry of the address book whose mailbox MESH does not answer any more, and what was answered."""
    from django.utils import timezone

    from mailboxes.addresses import answers, services
    from mailboxes.models import AddressPair
    from meshportal.audit.actors import Actor

    entry = services.add(
        actor=Actor.command("test"), team=team, environment="sandbox", ods_code=code, workflow_id="TOC_FHIR_IP_DISCH",
        mailbox_id=mailbox_id,
    )  # fmt: skip
    now, results = timezone.now(), [{"id": "X26HC099", "name": "New"}]
    AddressPair.objects.filter(pk=entry.pair_id).update(asked_at=now, answered_at=now, results=results)
    answers.keep(AddressPair.objects.get(pk=entry.pair_id), results, now)
    return entry


def switching(team: Any, box: Any) -> Any:
    """A frozen switch of a practice that holds a message."""
    from mailboxes.models import CaseAddress, Organisation, SwitchCase
    from meshportal.audit.actors import Actor
    from messages import outbox

    practice = Organisation.objects.create(ods_code="G81087", name="Example Surgery")
    values = {"environment": box.environment, "organisation": practice, "came_from": "confirmed", "state": "frozen"}
    case = SwitchCase.objects.create(team=team, **values)
    CaseAddress.objects.create(case=case, workflow_id="TEST", old_mailbox="G81087GP1")
    draft = outbox.Draft(recipient="G81087GP1", workflow_id="TEST", subject="PLANTED-SUBJECT")
    assert outbox.put(actor=Actor.command("test"), mailbox=box, draft=draft, body=[b"held"]).state == "on_hold"
    return case


def rolling(box: Any) -> Any:
    """A roll-over of ``box`` whose test passed."""
    from certificates.models import ClientIdentity
    from mailboxes import rollover
    from meshportal.audit.actors import Actor

    old = box.identity
    fields = {field.attname: getattr(old, field.attname) for field in ClientIdentity._meta.fields}
    new = ClientIdentity.objects.create(**{**fields, "id": uuid.uuid4(), "name": "Midshire 2029", "fingerprint": "1" * 64})
    made = rollover.begin(actor=Actor.command("test"), team=box.team, old=old, new=new)
    made.rows.update(test="passed")
    return made


def filed(team: Any, number: int, *, apply: bool = False) -> Any:
    """A file of one mailbox, looked at or carried out too."""
    from mailboxes import importing
    from meshportal.audit.actors import Actor

    head = "mailbox_id,environment,ods_code,name,password"
    data = f"{head}\nX26CSV{number},sandbox,X26,PLANTED of {team.slug},PLANTED-password".encode()
    made = importing.prepare(actor=Actor.command("test"), team=team, data=data, file_name=f"{team.slug}.csv")
    if apply:
        importing.apply(actor=Actor.command("test"), imported=made, digest=made.digest)
        made.refresh_from_db()
    return made


def brought(team: Any, mailbox_id: str) -> Any:
    """The files of a MESH client that wait."""
    from datetime import timedelta

    from django.utils import timezone

    from mailboxes.models import ClientImport
    from meshportal.audit.actors import Actor

    box = {"line": 2, "mailbox_id": mailbox_id, "kind": "add", "typed": True, "interface_root": ""}
    now = timezone.now()
    return ClientImport.objects.create(
        team=team,
        environment="sandbox",
        held={"passphrase": "PLANTED"},
        boxes=[box],
        certificate={"name": team.name, "subject": mailbox_id, "known": False, "until": now.isoformat(), "ods_code": "X26"},
        expires_at=now + timedelta(hours=1),
        **ClientImport.asked_by_actor(Actor.command("test")),
    )


def asked(team: Any) -> Any:
    """A request for a certificate that has not come."""
    from certificates.models import CertificateRequest

    return CertificateRequest.objects.create(
        team=team, environment="int", name="To come", local_id="X26HC001", ods_code="X26", organisation="Midshire", why="new",
        key_size=2048, csr_pem="a request", private_key="PLANTED key",
    )  # fmt: skip


def composed(box: Any) -> Any:
    """A message that waits for its last word, with its file."""
    from messages.models import Composed

    kept = payloads.write(f"composed/{box.pk}", [b"a letter that is not sent yet"])
    facts = {"storage_key": kept.key, "sha256": kept.sha256, "size": kept.size, "stored_size": kept.stored_size}
    given = {"recipient": "YGM24HC001", "known": "traffic", "workflow_id": "TEST", "subject": "PLANTED-SUBJECT", **facts}
    return Composed.objects.create(team=box.team, mailbox=box, made_by="somebody", author="other", **given)


def begun(team: Any, row: Any) -> Any:
    """A bulk resend that waits for its worker."""
    from meshportal.audit.actors import Actor
    from messages import bulk, registry, selectors
    from messages.states import Direction

    workflow = registry.known(team.pk, row.workflow_id)
    registry.change(actor=Actor.command("test"), workflow=workflow, resend_policy="allowed")
    rows = selectors.listed(team, Direction.OUT).filter(state="returned")
    digest = bulk.plan(team, rows).digest
    return bulk.start(
        actor=Actor.command("test"), team=team, rows=rows, digest=digest, reason="because", filters=[("State", "Returned")]
    )


def warned(team: Any, name: str) -> tuple[Any, Any]:
    """An alert, and a channel that is told of it."""
    from meshportal.audit.actors import Actor
    from meshportal.notify import channels, registry, services

    kind = registry.kinds()[0].name
    condition = registry.Condition(kind=kind, key="one", subject=name, sentence="is not well.", team=team)
    alert = services.raise_alert(actor=Actor.system("tests"), condition=condition)
    config = {"url": "https://hook.example/PLANTED-SUBJECT", "secret": "a secret of the tests"}
    channel = channels.add(actor=Actor.command("test"), team=team, name=f"Channel of {name}", transport="webhook", config=config)
    return alert, channel


def targets(route: Route, world: dict[str, Any]) -> list[str]:
    """The addresses of ``route`` for objects of the team that are there."""
    if "pk" not in route.arguments:
        return [route.url(team=world["team"].slug)]
    of_messages = ["stored", "quarantined", "queued", "uncertain", "returned"]
    kinds = {"mailboxes": ["mailbox"], "messages": of_messages, "certificates": ["identity"]}
    if route.name.startswith(("console:alert", "console:channel")):
        name = "alert" if route.name.startswith("console:alert") else "channel"
        return [route.url(team=world["team"].slug, pk=world[name].pk)]
    if route.name.startswith("addresses:"):
        return [route.url(team=world["team"].slug, pk=world["entry"].pk)]
    of_mailbox = route.name in ("messages:inbox", "messages:mailbox-outbox", "messages:doctor", "messages:mailbox-workflows")
    if route.name == "messages:workflow":
        return [route.url(team=world["team"].slug, pk=world["workflow"].pk)]
    if route.name.startswith("switches:") or route.name == "messages:switch":
        return [route.url(team=world["team"].slug, pk=world["case"].pk)]
    if route.name.startswith("messages:composed"):
        return [route.url(team=world["team"].slug, pk=world["composed"].pk)]
    if route.name in ("mailboxes:roll-over-start", "mailboxes:replaced"):
        return [route.url(team=world["team"].slug, pk=world["identity"].pk)]
    if route.name.startswith("mailboxes:imported"):
        return [route.url(team=world["team"].slug, pk=one.pk) for one in world["imports"]]
    if route.name.startswith("mailboxes:client-imported"):
        return [route.url(team=world["team"].slug, pk=world["client"].pk)]
    if route.name.startswith("mailboxes:examination"):
        return [route.url(team=world["team"].slug, pk=world["imports"][1].examination_id)]
    if route.name.startswith("mailboxes:roll-over"):
        return [route.url(team=world["team"].slug, pk=world["roll_over"].pk)]
    if route.name.startswith("mailboxes:onboarding"):
        return [route.url(team=world["team"].slug, pk=world["onboarding"].pk)]
    if route.name.startswith("certificates:requested"):
        return [route.url(team=world["team"].slug, pk=world["asked"].pk)]
    if route.name.startswith("messages:bulk-resend"):
        return [route.url(team=world["team"].slug, pk=world["resend"].pk)]
    names = ["mailbox"] if of_mailbox else kinds[route.name.partition(":")[0]]
    return [route.url(team=world["team"].slug, pk=world[name].pk) for name in names]


def snapshot() -> str:
    """Every row of every table but sessions and the audit's own record of failed sign-ins."""
    rows = {}
    for model in apps.get_models():
        if model._meta.label != "sessions.Session":
            rows[model._meta.label] = serializers.serialize("json", model._base_manager.order_by("pk"))
    return json.dumps(rows, sort_keys=True)


POSTED = {"why": "delivery", "reason": "because", "confirm": "on", "decision": "again"}


def denied(browser: Client, url: str) -> None:
    """404 to every method, page or fragment, and nothing changed."""
    before = snapshot()
    for headers in ({}, {"HX-Request": "true"}):
        answers = {
            "get": browser.get(url, headers=headers),
            "head": browser.head(url, headers=headers),
            "post": browser.post(url, POSTED, headers=headers),
            "put": browser.put(url, headers=headers),
            "delete": browser.delete(url, headers=headers),
        }
        assert {method: answer.status_code for method, answer in answers.items()} == dict.fromkeys(answers, 404), url
        assert b"PLANTED" not in answers["get"].content
    assert snapshot() == before


def test_every_route_is_a_team_page_or_known_to_be_none() -> None:
    outside = {route.name for route in ROUTES if "team" not in route.arguments}
    assert outside == set(PUBLIC) | PERSONAL | BY_SECRET
    for route in [*TEAM_ROUTES, *SECRET_ROUTES]:
        assert route.capability in policies.EVERY_CAPABILITY, route.name
    assert len(TEAM_ROUTES) > 10


@pytest.mark.parametrize("route", TEAM_ROUTES, ids=lambda route: route.name)
def test_a_stranger_is_sent_to_sign_in_and_changes_nothing(route: Route, world: dict[str, Any]) -> None:
    browser = Client()
    for url in targets(route, world):
        before = snapshot()
        for send in (browser.get, browser.post, browser.put, browser.delete, browser.head):
            answer = send(url)
            assert answer.status_code == 302, (route.name, send.__name__)
            assert answer["Location"].startswith(reverse("sign-in"))
        assert snapshot() == before


@pytest.mark.parametrize("route", TEAM_ROUTES, ids=lambda route: route.name)
def test_a_member_of_another_team_finds_nothing(route: Route, world: dict[str, Any], other_team: Any, signed_in: Any) -> None:
    browser = signed_in("manager", team=other_team)
    for url in targets(route, world):
        denied(browser, url)
        # Nor through the door of their own team, where a button answers that it is one to whoever asks.
        if "pk" in route.arguments:
            before = snapshot()
            own_door = url.replace(f"/t/{world['team'].slug}/", f"/t/{other_team.slug}/")
            for method in {"get", "head", "post"} & set(route.view.http_method_names):
                assert getattr(browser, method)(own_door, POSTED).status_code == 404, (method, own_door)
            assert snapshot() == before


@pytest.mark.parametrize("route", TEAM_ROUTES, ids=lambda route: route.name)
def test_somebody_without_a_team_and_somebody_who_was_stopped_find_nothing(
    route: Route, world: dict[str, Any], member: MakeMember
) -> None:
    from meshportal.accounts.models import User

    alone, stopped = Client(), Client()
    alone.force_login(User.objects.create_user("alone@example.org", full_name="Alone"))
    person = member("manager")
    stopped.force_login(person)
    User.objects.filter(pk=person.pk).update(is_active=False)
    for url in targets(route, world):
        denied(alone, url)
        assert stopped.get(url).status_code == 302


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("route", TEAM_ROUTES, ids=lambda route: route.name)
def test_each_role_may_do_what_the_table_says_and_nothing_else(
    route: Route, role: str, world: dict[str, Any], signed_in: Any
) -> None:
    browser = signed_in(role)
    for url in targets(route, world):
        if not policies.allows(role, route.capability):
            denied(browser, url)
            continue
        answer = browser.get(url)
        expected = 405 if "get" not in route.view.http_method_names else 200
        assert answer.status_code == expected, (route.name, role, url)
        if answer.streaming:
            # Ends it. Closing another one would close the database under the next request.
            answer.close()
        # Whatever it was asked, no page writes the subject: it can name a patient.
        if not answer.streaming:
            assert b"PLANTED-SUBJECT" not in answer.content


@pytest.mark.parametrize("route", [route for route in TEAM_ROUTES if "pk" in route.arguments], ids=lambda route: route.name)
def test_a_wrong_id_looks_like_a_forbidden_one(route: Route, world: dict[str, Any], signed_in: Any) -> None:
    browser = signed_in("manager")
    slug = world["team"].slug
    unknown = route.url(team=slug, pk="00000000-0000-4000-8000-000000000000")
    if "get" in route.view.http_method_names:
        assert browser.get(unknown).status_code == 404
    assert browser.post(unknown, POSTED).status_code in ({404} if "post" in route.view.http_method_names else {404, 405})
    assert browser.get(unknown.replace(f"/t/{slug}/", "/t/nobody/")).status_code == 404


def secret_of(team: Any, route: Route) -> str:
    """The secret part of an address of ``team``."""
    from certificates import feed
    from meshportal.audit.actors import Actor

    makers = {"certificates-feed": feed.make_address}
    return makers[route.name](actor=Actor.command("test"), team=team, standing="")


@pytest.mark.parametrize("route", SECRET_ROUTES, ids=lambda route: route.name)
def test_a_secret_opens_its_own_team_and_nothing_without_it(
    route: Route, world: dict[str, Any], other_team: Any, signed_in: Any
) -> None:
    ours, theirs = secret_of(world["team"], route), secret_of(other_team, route)
    stranger = Client()
    for secret, team, other in ((ours, world["team"], other_team), (theirs, other_team, world["team"])):
        answer = stranger.get(route.url(secret=secret))
        assert answer.status_code == 200
        assert team.name in answer.content.decode()
        for hidden in (other.name, "PLANTED", world["stored"].mesh_id):
            assert hidden not in answer.content.decode()
        assert "private" in answer["Cache-Control"]
    assert "RH8HC001" not in stranger.get(route.url(secret=ours)).content.decode()
    # A wrong one is unknown to everybody; a right one changes nothing, whoever has it.
    for browser in (stranger, signed_in("manager"), signed_in("manager", team=other_team)):
        for wrong in ("nobody", ours[:-1], ours[::-1], f"{ours}a", world["team"].slug, str(world["team"].pk)):
            denied(browser, route.url(secret=wrong))
        before = snapshot()
        for method in ("post", "put", "delete", "patch"):
            assert getattr(browser, method)(route.url(secret=ours)).status_code == 405, method
        assert snapshot() == before


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_pages_name_nobody(name: str, world: dict[str, Any]) -> None:
    answer = Client().get(reverse(name))
    assert answer.status_code == PUBLIC[name]
    for secret in (world["team"].name, world["mailbox"].mailbox_id, world["stored"].mesh_id):
        assert secret.encode() not in answer.content


def test_a_role_that_ends_takes_effect_at_once(world: dict[str, Any], signed_in: Any) -> None:
    from meshportal.accounts.models import Membership

    browser = signed_in("manager")
    url = reverse("mailboxes:list", kwargs={"team": world["team"].slug})
    assert browser.get(url).status_code == 200
    Membership.objects.all().delete()
    assert browser.get(url).status_code == 404


def test_other_peoples_rows_stand_in_no_page(world: dict[str, Any], other_team: Any, signed_in: Any) -> None:
    browser = signed_in("manager")
    for route in TEAM_ROUTES:
        if "get" not in route.view.http_method_names:
            continue
        for url in targets(route, world):
            answer = browser.get(url)
            content = b"".join(answer.streaming_content) if answer.streaming else answer.content
            assert b"RH8HC001" not in content, url
            assert other_team.name.encode() not in content, url
