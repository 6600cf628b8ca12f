"""Sign-in: recorded, held back after failures, ended after an idle time."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from meshportal.accounts import sessions
from meshportal.audit.models import AuditEvent

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def sign_in(client: Client, email: str, password: str) -> Any:
    return client.post("/sign-in/", {"username": email, "password": password})


def test_signing_in_and_out_is_recorded(client: Client, member: Any) -> None:
    user = member("viewer")
    assert sign_in(client, user.email.upper(), PASSWORD).status_code == 302
    assert client.post("/sign-out/").status_code == 302
    actions = list(AuditEvent.objects.order_by("id").values_list("action", "actor_id"))
    assert actions == [("session.signed_in", str(user.pk)), ("session.signed_out", str(user.pk))]


def test_signing_out_is_a_post(client: Client, member: Any) -> None:
    client.force_login(member("viewer"))
    assert client.get("/sign-out/").status_code == 405
    assert "_auth_user_id" in client.session


def test_a_wrong_password_and_an_unknown_person_look_the_same(client: Client, member: Any) -> None:
    user = member("viewer")
    wrong = sign_in(client, user.email, "wrong").content.decode()
    unknown = sign_in(client, "nobody@example.org", "wrong").content.decode()
    sentence = "The email address or the password is not right"
    assert sentence in wrong
    assert sentence in unknown


def test_a_password_is_never_kept(client: Client, member: Any) -> None:
    sign_in(client, member("viewer").email, "PLANTED-PASSWORD")
    event = AuditEvent.objects.get()
    assert "PLANTED" not in repr(event.__dict__)


def test_too_many_failures_hold_back_even_the_right_password(client: Client, member: Any) -> None:
    user = member("viewer")
    for _ in range(sessions.MAX_PER_PERSON):
        sign_in(client, user.email, "wrong")
    answer = sign_in(client, user.email, PASSWORD)
    assert answer.status_code == 200
    assert "Wait 10 minutes" in answer.content.decode()
    assert AuditEvent.objects.filter(action="session.sign_in_failed").count() == sessions.MAX_PER_PERSON


def test_nobody_keeps_another_person_out_from_somewhere_else(client: Client, member: Any) -> None:
    user = member("viewer")
    for _ in range(sessions.MAX_PER_PERSON):
        sessions.record_failure(email=user.email, address="203.0.113.9")
    assert sign_in(client, user.email, PASSWORD).status_code == 302
    for _ in range(sessions.MAX_PER_EMAIL):
        sessions.record_failure(email=user.email, address="203.0.113.9")
    assert sessions.too_many_failures(email=user.email, address="127.0.0.1")


def test_signing_out_says_so(client: Client, member: Any) -> None:
    client.force_login(member("viewer"))
    answer = client.post("/sign-out/", follow=True)
    assert "You are signed out." in answer.content.decode()


def test_an_idle_session_ends(client: Client, member: Any, settings: Any, team: Any) -> None:
    client.force_login(member("viewer"))
    address = f"/t/{team.slug}/mailboxes/"
    assert client.get(address).status_code == 200
    session = client.session
    session["seen"] = int(time.time()) - settings.SESSION_IDLE_SECONDS - 1
    session.save()
    answer = client.get(address)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/sign-in/")


def test_a_page_that_refreshes_itself_keeps_no_session_alive(client: Client, member: Any, team: Any) -> None:
    client.force_login(member("viewer"))
    address = f"/t/{team.slug}/mailboxes/"
    client.get(address)
    session = client.session
    session["seen"] = then = int(time.time()) - 600
    session.save()
    client.get(address, headers={"X-Portal-Refresh": "1"})
    assert client.session["seen"] == then
    client.get(address)
    assert client.session["seen"] > then


def test_the_hard_limit_ends_a_busy_session(client: Client, member: Any, settings: Any, team: Any) -> None:
    client.force_login(member("viewer"))
    client.get(f"/t/{team.slug}/mailboxes/")
    session = client.session
    session["began"] = int(time.time()) - settings.SESSION_HARD_SECONDS - 1
    session.save()
    assert client.get(f"/t/{team.slug}/mailboxes/").status_code == 302


def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(rf: Any, settings: Any) -> None:
    request = rf.get("/", headers={"X-Forwarded-For": "1.2.3.4, 10.0.0.1"}, REMOTE_ADDR="10.0.0.9")
    assert sessions.client_address(request) == "10.0.0.9"
    settings.TRUSTED_PROXY_COUNT = 1
    assert sessions.client_address(request) == "10.0.0.1"


@pytest.mark.django_db
def test_a_look_alike_of_an_address_is_another_address(member: Any) -> None:
    """PostgreSQL takes a dotless i for an i when it compares without case; each would have tries of its own."""
    from meshportal.accounts.models import User

    member("viewer", email="admin@example.org")
    assert User.objects.get_by_natural_key("ADMIN@example.org").email == "admin@example.org"
    with pytest.raises(User.DoesNotExist):
        User.objects.get_by_natural_key("adm\u0131n@example.org")


@pytest.mark.django_db
@pytest.mark.parametrize("ends", ["idle", "gone"])
def test_a_fragment_without_a_session_leads_back_to_the_page_around_it(
    client: Client, member: Any, settings: Any, team: Any, mailbox: Any, ends: str
) -> None:
    """A mailbox's page fetches its inbox: whoever signs in again wants the mailbox's page, not the inbox alone."""
    box = mailbox()
    around = f"/t/{team.slug}/mailboxes/{box.pk}/?from=here"
    fragment = f"/t/{team.slug}/mailboxes/{box.pk}/inbox/"

    def asked(current: str) -> Any:
        if ends == "idle":
            client.force_login(member("viewer", email=f"{len(current)}@midshire.example"))
            session = client.session
            session["seen"] = int(time.time()) - settings.SESSION_IDLE_SECONDS - 1
            session.save()
        return client.get(fragment, headers={"HX-Request": "true", "HX-Target": "rows", "HX-Current-URL": current})

    answer = asked(f"http://testserver{around}")
    assert answer.status_code == 200
    assert answer["HX-Redirect"] == f"/sign-in/?next={quote(around)}"
    # The header is the browser's to write: another site is no page to go back to.
    for elsewhere in ("https://evil.example/x", "nonsense", ""):
        assert asked(elsewhere)["HX-Redirect"] == f"/sign-in/?next={quote(fragment)}"
