"""Walks every URL of the site as a stranger, as a member of another team and as each role.

What is not expressly allowed is 404, or the sign-in page for somebody who is not signed in, and changes nothing. A new
URL is walked without being added here; a new URL argument, or a new page without a sign-in, must be added by hand.
"""

from __future__ import annotations

import json
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
from tests.conftest import MakeMember

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
