"""The calendar of the next twelve months, and the secret address at which calendar programs fetch it.

| what is wrong with the secret | what happens |
|---|---|
| wrong, ended, replaced, of another form, empty, very long | 404 to every method, and nothing is written |
| used all the time | the same queries each time; one row is written once an hour |
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.http import Http404
from django.test import Client
from django.test.utils import CaptureQueriesContext

from certificates import feed, lapsing
from certificates.models import CalendarAddress, CertificateRequest, ClientIdentity
from mailboxes import rollover
from meshportal.audit.actors import Actor
from meshportal.audit.models import AuditEvent
from meshportal.core.acts import Refused
from tests.conftest import Make
from tests.core.reading_calendars import Component, read, value

pytestmark = pytest.mark.django_db
PAGE = "/t/midshire/certificates/calendar/"
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ACTOR = Actor.command("tests")
MakeIdentity = Callable[..., ClientIdentity]


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def certificate(team: Any) -> MakeIdentity:
    """Makes a certificate that lapses ``days`` from now, or at ``at``."""
    made = 0

    def make(name: str, days: float = 0, *, at: datetime | None = None, **fields: Any) -> ClientIdentity:
        nonlocal made
        made += 1
        ends = at or NOW + timedelta(days=days)
        values = {
            "team": team, "environment": "int", "certificate_pem": "x", "private_key": "PLANTED key", "issuer": "A CA",
            "subject_cn": f"S{made}.X26.api.mesh-client.nhs.uk", "serial": "2", "fingerprint": f"{made:064d}",
            "not_before": NOW - timedelta(days=400), "not_after": ends + timedelta(days=500), "effective_expiry": ends,
        }  # fmt: skip
        return ClientIdentity.objects.create(name=name, **{**values, **fields})

    return make


@pytest.fixture
def identity(certificate: MakeIdentity) -> ClientIdentity:
    """What mailboxes use where a test does not say: one that stands in no calendar."""
    return certificate("lasts for long", 5000)


@pytest.fixture
def manager(signed_in: Any) -> Client:
    found: Client = signed_in("manager")
    return found


def words(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def asked(team: Any, name: str, like: ClientIdentity) -> CertificateRequest:
    local_id, ods_code = like.subject_cn.split(".")[:2]
    return CertificateRequest.objects.create(
        team=team, environment=like.environment, name=name, local_id=local_id, ods_code=ods_code, organisation="Midshire",
        why="expiring", key_size=2048, csr_pem="a request", private_key="PLANTED key",
    )  # fmt: skip


def standing(team: Any) -> dict[str, tuple[str, str]]:
    """By name: the tone of each line, and the word of what takes its place."""
    found = lapsing.calendar(team, NOW)
    return {lapse.identity.name: (lapse.tone, lapse.successor.word) for lapse in (*found.lapsed, *found.coming)}


# --- What lapses when -----------------------------------------------------------------------------------------------------
def test_each_stands_in_its_month_on_london_clocks(team: Any, certificate: MakeIdentity) -> None:
    for name, at in {
        "last of this month": datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC),
        # 30 June in UTC, and half past midnight on 1 July in London.
        "summer": datetime(2027, 6, 30, 23, 30, tzinfo=UTC),
        "last day": datetime(2027, 11, 25, 23, 59, tzinfo=UTC),
        "a day later": datetime(2027, 11, 26, 0, 0, tzinfo=UTC),
        "lapsed and unused": NOW - timedelta(days=1),
    }.items():
        certificate(name, at=at)
    found = lapsing.calendar(team, NOW)
    assert [month.key for month in found.months] == [
        "2026-11", "2026-12", *(f"2027-{number:02d}" for number in range(1, 12))
    ]  # fmt: skip
    assert {month.key: [lapse.identity.name for lapse in month.lapses] for month in found.months if month.lapses} == {
        "2026-11": ["last of this month"],
        "2027-07": ["summer"],
        "2027-11": ["last day"],
    }
    assert (found.later, found.lapsed) == (1, [])


@pytest.mark.parametrize("day", [datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, tzinfo=UTC)])
def test_a_year_from_any_day(team: Any, certificate: MakeIdentity, day: datetime) -> None:
    certificate("within", at=day + timedelta(days=364))
    found = lapsing.calendar(team, day)
    assert len(found.months) == 13
    assert [lapse.identity.name for lapse in found.coming] == ["within"]


def test_what_takes_its_place(team: Any, certificate: MakeIdentity, mailbox: Make) -> None:
    for name, used in (("nothing", True), ("requested", True), ("same name", True), ("rolled", True), ("done", False)):
        old = certificate(name, 40)
        if used:
            mailbox(identity=old, environment="int")
        if name == "requested":
            asked(team, "To come", old)
        if name in ("same name", "done"):
            certificate(f"{name} 2029", 900, subject_cn=old.subject_cn.upper())
        if name == "rolled":
            rollover.begin(actor=ACTOR, team=team, old=old, new=certificate("of another name", 900))
    certificate("unused", 40)
    mailbox(identity=certificate("not yet", 91), environment="int")
    expected = {
        "nothing": ("warn", "None yet"),
        "not yet": ("info", "None yet"),
        "requested": ("info", "Requested"),
        "same name": ("info", "There, not in use everywhere"),
        "rolled": ("info", "There, not in use everywhere"),
        "done": ("quiet", "In place"),
        "unused": ("quiet", "None needed"),
    }
    assert standing(team) == expected
    assert lapsing.calendar(team, NOW).missing == 1


def test_what_is_no_replacement(team: Any, other_team: Any, certificate: MakeIdentity, mailbox: Make) -> None:
    """One that lapses sooner, one of another environment, one of another team; a request that was answered."""
    old = certificate("old", 40)
    mailbox(identity=old, environment="int")
    certificate("sooner", 20, subject_cn=old.subject_cn)
    certificate("elsewhere", 900, subject_cn=old.subject_cn, environment="live")
    certificate("theirs", 900, subject_cn=old.subject_cn, team=other_team)
    rollover.begin(actor=ACTOR, team=team, old=old, new=ClientIdentity.objects.get(name="sooner"))
    assert standing(team)["old"] == ("warn", "None yet")
    assert "theirs" not in standing(team)


def test_a_lapsed_one_stays_while_a_mailbox_depends_on_it(team: Any, certificate: MakeIdentity, mailbox: Make) -> None:
    old = certificate("lapsed", -3)
    certificate("lapsed and let go", -3)
    mailbox(identity=old, environment="int")
    assert standing(team) == {"lapsed": ("bad", "None yet")}


def test_it_takes_as_many_queries_for_many_as_for_few(
    team: Any, certificate: MakeIdentity, mailbox: Make, django_assert_num_queries: Any
) -> None:
    for number in range(30):
        one = certificate(f"number {number}", number + 1)
        mailbox(identity=one, environment="int")
        asked(team, f"request {number}", one)
    with django_assert_num_queries(4):
        assert len(lapsing.calendar(team, NOW).coming) == 30


# --- The page -----------------------------------------------------------------------------------------------------------------
def test_the_page_says_what_lapses_and_who_depends_on_it(
    team: Any, other_team: Any, signed_in: Any, certificate: MakeIdentity, mailbox: Make
) -> None:
    old = certificate("Pathology <2026>", 12)
    boxes = [mailbox(identity=old, environment="int", name=f"Box {number}") for number in range(5)]
    mailbox(identity=old, environment="int", team=other_team, name="Theirs", mailbox_id="RH8HC001")
    page = signed_in("viewer").get(PAGE)
    said = words(page)
    assert "1 certificate lapses. 1 within 90 days, with mailboxes that use it and no replacement." in said
    assert "12 days left" in said and "7 Dec 2026, 12:00 GMT" in said
    assert "Pathology &lt;2026&gt;" in said and "Theirs" not in said
    html = page.content.decode()
    assert 'href="#month-2026-12"' in html and 'id="month-2026-12"' in html
    assert f'href="/t/midshire/mailboxes/{boxes[0].pk}/"' in html
    assert f"?certificate={old.pk}" in html and "All 5" in said
    assert "/certificates/export/" in html
    assert "Request a new one" not in said and "Make an address" not in said
    assert "Request a new one" in words(signed_in("manager").get(PAGE))
    assert 'href="/t/midshire/certificates/calendar/"' in signed_in("operator").get("/t/midshire/certificates/").content.decode()


def test_an_empty_calendar(signed_in: Any) -> None:
    assert "Nothing lapses." in words(signed_in("viewer").get(PAGE))


# --- The secret address ----------------------------------------------------------------------------------------------------
def made(browser: Client, standing: str = "") -> str:
    """The path of a new address, as its page shows it."""
    answer = browser.post(f"{PAGE}address/", {"standing": standing})
    assert answer.status_code == 200, answer
    assert "no-store" in answer["Cache-Control"]
    found = re.search(r"http://testserver(/calendar/[A-Za-z0-9_-]{43}/certificates\.ics)<", answer.content.decode())
    assert found is not None
    return found[1]


def events(path: str) -> dict[str, Component]:
    answer = Client().get(path)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/calendar; charset=utf-8"
    assert answer["Cache-Control"] == "private"
    assert not answer.cookies
    return {value(one, "UID"): one for one in read(answer.content.decode()).inside if one.kind == "VEVENT"}


def test_the_feed_has_one_event_for_each_expiry_with_reminders(
    team: Any, other_team: Any, manager: Client, certificate: MakeIdentity, mailbox: Make, settings: Any
) -> None:
    settings.PUBLIC_URL = ""
    path = made(manager)
    settings.PUBLIC_URL = "https://portal.example"
    old = certificate("Pathology; 2026, “live”", 40)
    for number in range(12):
        mailbox(identity=old, environment="int", name=f"Box {number:02d}")
    unused = certificate("unused", 50)
    certificate("theirs", 40, team=other_team)
    certificate("much later", 500)
    found = events(path)
    assert set(found) == {f"certificate-{old.pk}@meshportal", f"certificate-{unused.pk}@meshportal"}
    event = found[f"certificate-{old.pk}@meshportal"]
    assert value(event, "DTSTART") == f"{old.lapses_at:%Y%m%dT%H%M%SZ}"
    assert value(event, "SUMMARY") == "Certificate “Pathology; 2026, “live”” lapses (Integration)"
    days = [90, 60, 30, 14, 7, 6, 5, 4, 3, 2, 1]
    assert [value(alarm, "TRIGGER") for alarm in event.inside] == [f"-P{number}D" for number in days]
    assert found[f"certificate-{unused.pk}@meshportal"].inside == []
    description = value(event, "DESCRIPTION")
    assert "It can be used until 4 Jan 2027, 12:00 GMT." in description
    assert "Box 00 (X26HC001), " in description and "and 2 more" in description
    assert "Replacement: none yet" in description
    assert value(event, "URL") == f"https://portal.example/t/midshire/certificates/{old.pk}/"
    # The same event when it is fetched again, and when the certificate is called otherwise.
    ClientIdentity.objects.filter(pk=old.pk).update(name="Renamed")
    assert set(events(path)) == set(found)
    asked(team, "To come", old)
    assert "Replacement: requested on 25 Nov 2026" in value(events(path)[f"certificate-{old.pk}@meshportal"], "DESCRIPTION")
    assert Client().head(path).status_code == 200


def test_nothing_secret_is_in_the_feed(manager: Client, certificate: MakeIdentity, mailbox: Make) -> None:
    mailbox(identity=certificate("one", 40), environment="int", password="PLANTED password")
    content = Client().get(made(manager)).content
    assert b"VEVENT" in content
    assert b"PLANTED" not in content


def test_only_the_hash_of_the_secret_is_kept(manager: Client, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    path = made(manager)
    secret = path.split("/")[2]
    row = CalendarAddress.objects.get()
    assert row.token_hash == hashlib.sha256(secret.encode()).hexdigest()
    assert row.made_by == "Manager Person"
    pages = [manager.get(PAGE), manager.get("/t/midshire/audit/"), manager.get(PAGE)]
    assert all(secret not in page.content.decode() for page in pages)
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            assert secret not in str(cursor.fetchall()), table
    assert secret not in caplog.text


def test_a_failing_fetch_does_not_log_the_secret(manager: Client, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    from meshportal.logs import redact

    path = made(manager)
    line = redact(None, "error", {"event": f"Internal Server Error: {path}", "positional_args": (path,)})
    assert path.split("/")[2] not in str(line)


def test_an_address_is_made_replaced_and_ended_by_a_manager(team: Any, manager: Client, certificate: MakeIdentity) -> None:
    first = made(manager)
    assert events(first) == {}
    assert "by Manager Person" in words(manager.get(PAGE))
    second = made(manager, standing=str(CalendarAddress.objects.get().pk))
    assert Client().get(first).status_code == 404
    assert events(second) == {}
    # A page that was reloaded, or a button that another person pressed meanwhile, replaces nothing.
    for stale in ("", "00000000-0000-4000-8000-000000000000"):
        assert manager.post(f"{PAGE}address/", {"standing": stale}).status_code == 302
        assert manager.post(f"{PAGE}address/end/", {"standing": stale}).status_code == 302
    assert "Somebody else changed the address meanwhile" in words(manager.get(PAGE))
    assert events(second) == {}
    answer = manager.post(f"{PAGE}address/end/", {"standing": str(CalendarAddress.objects.get().pk)}, follow=True)
    assert "The address is ended" in words(answer)
    assert Client().get(second).status_code == 404
    assert not CalendarAddress.objects.exists()
    actions = AuditEvent.objects.filter(action__startswith="calendar_address").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["calendar_address.made", "calendar_address.replaced", "calendar_address.ended"]
    said = words(manager.get("/t/midshire/audit/"))
    for sentence in ("made the calendar address of Midshire Hospitals", "ended the calendar address"):
        assert sentence in said


def test_only_a_manager_has_the_say(signed_in: Any, team: Any) -> None:
    for role in ("viewer", "operator", "auditor"):
        browser = signed_in(role)
        assert browser.post(f"{PAGE}address/", {"standing": ""}).status_code == 404
        assert browser.post(f"{PAGE}address/end/", {"standing": ""}).status_code == 404
        assert "A manager of your team can make one" in words(browser.get(PAGE))
    assert not CalendarAddress.objects.exists()


@pytest.mark.parametrize(
    "secret", ["x", "A" * 43, "A" * 42, "A" * 44, "a" * 5000, "%00" * 43, "é" * 43, "..%2f" * 9, "A" * 42 + "%0a"]
)
def test_a_wrong_secret_is_404(manager: Client, secret: str) -> None:
    path = made(manager)
    wrong = path.replace(path.split("/")[2], secret)
    for browser in (Client(), manager):
        for method in ("get", "head", "post", "put", "delete", "options"):
            assert getattr(browser, method)(wrong).status_code == 404, method
    assert CalendarAddress.objects.get().fetched_at is None
    with pytest.raises(Http404):
        feed.team_or_404("")


def test_only_reading_is_allowed(manager: Client) -> None:
    path = made(manager)
    for method in ("post", "put", "delete", "patch"):
        assert getattr(Client(enforce_csrf_checks=True), method)(path).status_code in (403, 405), method
    assert CalendarAddress.objects.count() == 1


def test_many_fetches_write_once_an_hour(manager: Client, certificate: MakeIdentity) -> None:
    path = made(manager)
    for number in range(10):
        certificate(f"number {number}", number + 1)
    writes = 0
    with time_machine.travel(NOW, tick=False) as clock:
        for _ in range(13):
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert Client().get(path).status_code == 200
            writes += sum(query["sql"].startswith(("UPDATE", "INSERT", "DELETE")) for query in queries)
            assert len(queries) <= 6
            clock.shift(timedelta(minutes=10))
    assert writes == 3
    assert CalendarAddress.objects.get().fetched_at == NOW + timedelta(hours=2)


@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_one_address_remains(team: Any) -> None:
    secrets: list[str] = []
    refused: list[str] = []
    begin = threading.Barrier(4)

    def make() -> None:
        begin.wait(timeout=10)
        try:
            secrets.append(feed.make_address(actor=ACTOR, team=team, standing=""))
        except Refused as refusal:
            refused.append(str(refusal))
        finally:
            connection.close()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert (len(secrets), len(refused)) == (1, 3)
    assert feed.team_or_404(secrets[0]) == team
    assert AuditEvent.objects.filter(action="calendar_address.made").count() == 1
