"""Setting up channels, and bringing messages to real receivers that answer, refuse, stall, lead astray or never end."""

from __future__ import annotations

import email
import email.policy
import json
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils import timezone

from meshportal.audit.models import AuditEvent
from meshportal.core import outbound
from meshportal.core.acts import Refused
from meshportal.demo.pki import Pki, create_pki
from meshportal.notify import channels, deadman, deliver, services
from meshportal.notify.models import Attempt, Channel, Delivery, Subscription
from meshportal.notify.transports import Failed, web
from meshportal.notify.transports.webhook import signature
from tests.notify import receivers
from tests.notify.conftest import ACTOR, PERSON

pytestmark = pytest.mark.django_db
SECRET = "PLANTED-a-long-secret"


@pytest.fixture(scope="module")
def pki() -> Pki:
    return create_pki([])


@pytest.fixture
def receiver(pki: Pki, tmp_path: Path, settings: Any) -> Iterator[receivers.Web]:
    """An HTTPS receiver that the settings allow."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(pki.authority.certificate_pem)
    settings.NOTIFY_CA_FILE = str(ca)
    settings.NOTIFY_TIMEOUT = 1
    allow_loopback(settings)
    with receivers.web(pki, tmp_path) as found:
        yield found


def allow_loopback(settings: Any) -> None:
    import ipaddress

    settings.NOTIFY_NETWORKS = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")]


@pytest.fixture
def post(mail_server: receivers.Mail) -> receivers.Mail:
    return mail_server


@pytest.fixture
def mail_server(settings: Any) -> Iterator[receivers.Mail]:
    with receivers.mail() as found:
        # Django's test runner puts mails into a list.
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", found.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.DEFAULT_FROM_EMAIL = "meshportal@midshire.example"
        settings.NOTIFY_TIMEOUT = 2
        yield found


@pytest.fixture
def put(team: Any) -> Callable[..., Delivery]:
    """Queues a message to a new channel."""

    def make(transport: str, **config: Any) -> Delivery:
        channel = channels.add(actor=PERSON, team=team, name=transport, transport=transport, config=config)
        return channels.send_test(actor=PERSON, channel=channel)

    return make


def content(**fields: Any) -> dict[str, Any]:
    block = {
        "why": "new",
        "lead": "New",
        "kind": "k",
        "heading": "300 things <broke> & *more*",
        "number": 300,
        "lines": [{"words": "Clinic [1](x) <b>", "url": "https://portal.example/t/x/"}],
        "more": 290,
        "advice": "Mend it.",
    }
    return {
        "team": "Midshire",
        "title": "300 things",
        "tone": "bad",
        "blocks": [block],
        "url": "https://portal.example/",
        **fields,
    }


def again(delivery: Delivery) -> Delivery:
    """The next try, as if its time had come."""
    Delivery.objects.filter(pk=delivery.pk).update(due_at=timezone.now())
    deliver.run_due()
    delivery.refresh_from_db()
    return delivery


# --- Web -----------------------------------------------------------------------------------------------------------------
def test_a_signed_webhook_arrives_once(receiver: receivers.Web, put: Any) -> None:
    delivery = put("webhook", url=receiver.url, secret=SECRET)
    assert deliver.run_due() == 1
    assert deliver.run_due() == 0
    [post] = receiver.posts
    delivery.refresh_from_db()
    assert (delivery.status, delivery.tries, delivery.lease_token) == ("sent", 1, None)
    said = json.loads(post.body)
    assert (said["id"], said["title"], said["team"]) == (str(delivery.pk), "Test of this channel", "Midshire Hospitals")
    assert post.headers["x-meshportal-delivery"] == str(delivery.pk)
    assert post.headers["x-meshportal-signature"] == f"v1={signature(SECRET, post.headers['x-meshportal-timestamp'], post.body)}"


@pytest.mark.faults
@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (400, "dead", "refused the message (400)"),
        (404, "dead", "refused the message (404)"),
        (301, "dead", "redirect (301)"),
        (307, "dead", "redirect (307)"),
        (429, "waiting", "cannot take it now (429)"),
        (500, "waiting", "cannot take it now (500)"),
        ("hang", "waiting", "No answer came in time"),
    ],
)
def test_each_answer_has_its_consequence(answer: Any, status: str, words: str, receiver: receivers.Web, put: Any) -> None:
    receiver.answers = [answer, 200]
    receiver.headers = {"Location": f"https://127.0.0.1:{receiver.port}/elsewhere", "Retry-After": "90"}
    delivery = put("webhook", url=receiver.url, secret=SECRET)
    deliver.run_due()
    delivery.refresh_from_db()
    assert delivery.status == status
    assert words in delivery.problem
    assert "PLANTED" not in delivery.problem and "localhost" not in delivery.problem
    assert [post.path for post in receiver.posts] == ["/hook/PLANTED-IN-URL"], "never followed"
    channel = Channel.objects.get()
    assert (channel.failing_since is not None) == (status == "dead")
    assert channel.problem == delivery.problem
    if status == "waiting":
        wait = delivery.due_at - timezone.now()
        asked = timedelta(seconds=90) if answer in (429, 500) else timedelta(seconds=30)
        assert asked * 0.9 < wait < asked * 1.3
        assert again(delivery).status == "sent"
        assert len({post.headers["x-meshportal-delivery"] for post in receiver.posts}) == 1
        assert Channel.objects.get().problem == ""


@pytest.mark.faults
def test_an_answer_of_a_gigabyte_is_not_read(receiver: receivers.Web, put: Any) -> None:
    receiver.answers = ["gigabyte"]
    delivery = put("webhook", url=receiver.url, secret=SECRET)
    tracemalloc.start()
    deliver.run_due()
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    delivery.refresh_from_db()
    assert delivery.status == "sent"
    assert peak < 20_000_000
    assert receiver.sent < 50_000_000


@pytest.mark.faults
def test_private_addresses_are_called_only_where_the_setting_says_so(receiver: receivers.Web, put: Any, settings: Any) -> None:
    settings.NOTIFY_NETWORKS = []
    for number, host in enumerate(("localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254")):
        with pytest.raises(Failed, match="private network") as refused:
            web.post(f"https://{host}:{receiver.port}/{number}", b"")
        assert refused.value.for_good
    assert receiver.posts == []
    allow_loopback(settings)
    web.post(receiver.url, b"")
    assert len(receiver.posts) == 1


def test_what_the_receiver_asks_for_is_bounded() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    waits = {}
    for text in ("5", "999999999999", "Tue, 24 Nov 2026 12:01:00 GMT", "Tue, 24 Nov 2026 11:00:00 GMT", "soon", "-5", "", "٣"):
        with pytest.raises(Failed) as failed:
            web.judge(outbound.Answer(429, text), now)
        waits[text] = failed.value.wait
    assert list(waits.values()) == [
        timedelta(seconds=5),
        timedelta(hours=6),
        timedelta(minutes=1),
        None,
        None,
        None,
        None,
        None,
    ]


@pytest.mark.faults
def test_it_is_tried_ever_more_rarely_and_given_up_after_a_day(receiver: receivers.Web, put: Any) -> None:
    receiver.answers = [500]
    delivery = put("webhook", url=receiver.url, secret=SECRET)
    waits = []
    for _ in range(9):
        again(delivery)
        waits.append((delivery.due_at - timezone.now()).total_seconds())
    assert all(30 * 2**number * 0.9 < wait < 30 * 2**number * 1.3 for number, wait in enumerate(waits[:7]))
    assert max(waits) < 3600 * 1.25
    Delivery.objects.update(created_at=timezone.now() - timedelta(hours=24))
    assert again(delivery).status == "dead"
    assert Channel.objects.get().failing_since is not None
    assert again(delivery).tries == 10, "given up is given up"
    assert list(Attempt.objects.order_by("id").values_list("outcome", flat=True)) == ["failed"] * 9 + ["refused"]


def test_teams_gets_a_card_and_slack_its_blocks(receiver: receivers.Web, put: Any) -> None:
    for transport in ("teams", "slack"):
        delivery = put(transport, url=receiver.url)
        Delivery.objects.filter(pk=delivery.pk).update(content=content())
    deliver.run_due()
    by_kind = {("attachments" in json.loads(post.body)): json.loads(post.body) for post in receiver.posts}
    card = by_kind[True]["attachments"][0]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card["content"]["actions"][0]["url"] == "https://portal.example/"
    texts = [part["text"] for part in card["content"]["body"]]
    assert r"[Clinic \[1\]\(x\) \<b\>](https://portal.example/t/x/)" in texts
    assert "and 290 more" in texts
    slack = json.dumps(by_kind[False])
    assert "300 things &lt;broke&gt; &amp; *more*" in slack
    assert "<https://portal.example/t/x/|Clinic [1](x) &lt;b&gt;>" in slack


def test_a_card_that_would_be_too_large_is_shortened(receiver: receivers.Web, put: Any) -> None:
    delivery = put("teams", url=receiver.url)
    many = content(blocks=[content()["blocks"][0] | {"lines": [{"words": "w" * 200, "url": ""}] * 10}] * 30)
    Delivery.objects.filter(pk=delivery.pk).update(content=many)
    deliver.run_due()
    assert len(receiver.posts[0].body) < 28_000


# --- Mail ----------------------------------------------------------------------------------------------------------------
def test_a_mail_says_it_twice_and_to_everybody(post: receivers.Mail, put: Any) -> None:
    delivery = put("email", to=["a@midshire.example", "b@midshire.example", "a@midshire.example"])
    Delivery.objects.filter(pk=delivery.pk).update(content=content())
    deliver.run_due()
    [(to, raw)] = post.mails
    assert to == ["a@midshire.example", "b@midshire.example"]
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["Subject"] == "[meshportal] 300 things"
    assert mail["Message-ID"] == f"<{delivery.pk}@midshire.example>"
    plain, html = (part.get_content() for part in mail.iter_parts())
    assert "New: 300 things <broke> & *more*" in plain
    assert "https://portal.example/t/x/" in plain
    assert "New: 300 things &lt;broke&gt; &amp; *more*" in html
    assert "and 290 more" in html


@pytest.mark.faults
@pytest.mark.parametrize(
    ("reply", "status"), [("451 later", "waiting"), ("554 spam", "dead"), ("250 taken", "sent"), ("421 closing", "waiting")]
)
def test_what_the_mail_server_says_counts(reply: str, status: str, post: receivers.Mail, put: Any) -> None:
    post.replies = [reply, "250 taken"]
    delivery = put("email", to=["a@midshire.example"])
    deliver.run_due()
    delivery.refresh_from_db()
    assert delivery.status == status
    if status == "waiting":
        assert again(delivery).status == "sent"
        assert len(post.mails) == 1


@pytest.mark.faults
def test_addresses_that_are_refused(post: receivers.Mail, put: Any) -> None:
    post.refused = {"gone@midshire.example": "550 no such user"}
    delivery = put("email", to=["gone@midshire.example"])
    deliver.run_due()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.problem) == ("dead", "The mail server refused every address of this channel.")


@pytest.mark.faults
def test_no_mail_server_or_none_that_answers(post: receivers.Mail, put: Any, settings: Any) -> None:
    delivery = put("email", to=["a@midshire.example"])
    settings.EMAIL_PORT = receivers.closed_port()
    assert "Nothing answers" in again(delivery).problem
    settings.EMAIL_HOST = ""
    assert "MESHPORTAL_EMAIL_HOST" in again(delivery).problem
    assert delivery.status == "waiting"


# --- Keeping on --------------------------------------------------------------------------------------------------------------
def test_one_message_under_another_workers_lease_is_left_to_it(receiver: receivers.Web, put: Any) -> None:
    delivery = put("webhook", url=receiver.url, secret=SECRET)
    later = timezone.now() + timedelta(minutes=1)
    Delivery.objects.update(lease_token="0" * 32, lease_until=later)
    assert deliver.run_due() == 0
    Delivery.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert deliver.run_due() == 1
    delivery.refresh_from_db()
    assert delivery.status == "sent"


def test_a_key_that_is_lost_delays_and_stops_no_other(receiver: receivers.Web, put: Any) -> None:
    bad, good = put("teams", url=receiver.url), put("slack", url=receiver.url)
    with connection.cursor() as cursor:
        key = bad.channel_id if connection.vendor == "postgresql" else bad.channel_id.hex
        cursor.execute("UPDATE notify_channel SET config = %s WHERE id = %s", [b"not a token", key])
    assert deliver.run_due() == 2
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.status, good.status) == ("waiting", "sent")
    assert "cannot be opened" in bad.problem


def test_a_way_out_that_breaks_gives_its_message_back(receiver: receivers.Web, put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = put("webhook", url=receiver.url, secret=SECRET)
    monkeypatch.setattr("meshportal.notify.transports.webhook.signature", lambda *args: 1 / 0)
    deliver.run_due()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.lease_token, delivery.problem) == (
        "waiting",
        None,
        "The portal itself failed on this message.",
    )


def test_the_deadmans_call(receiver: receivers.Web, settings: Any) -> None:
    assert not deadman.run_due()
    settings.DEADMAN_URL = receiver.url
    assert [deadman.run_due() for _ in range(3)] == [True, False, False]
    assert len(receiver.posts) == 1


# --- Setting up --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("transport", "config", "field"),
    [
        ("email", {}, "to"),
        ("email", {"to": ["nobody"]}, "to"),
        ("email", {"to": ["a@b.example\nBcc: c@d.example"]}, "to"),
        ("email", {"to": [f"a{n}@b.example" for n in range(21)]}, "to"),
        ("teams", {"url": "http://teams.example/"}, "url"),
        ("slack", {"url": "https://user:word@slack.example/"}, "url"),
        ("slack", {"url": "nonsense"}, "url"),
        ("webhook", {"url": "https://hook.example/", "secret": "short"}, "secret"),
        ("pigeon", {"url": "https://hook.example/"}, "transport"),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(transport: str, config: Any, field: str, team: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        channels.add(actor=PERSON, team=team, name="x", transport=transport, config=config)
    assert list(refused.value.message_dict) == [field]
    assert not Channel.objects.exists() and not AuditEvent.objects.exists()


def test_a_channel_from_its_beginning_to_its_end(team: Any, put: Any) -> None:
    channel = channels.add(
        actor=PERSON,
        team=team,
        name="Office",
        transport="webhook",
        config={"url": "https://hook.example/PLANTED-PATH", "secret": SECRET},
    )
    assert (channel.hint, [str(one) for one in channel.subscriptions.all()]) == ("hook.example", ["every kind from Warning"])
    with pytest.raises(ValidationError):
        channels.add(actor=PERSON, team=team, name="Office", transport="email", config={"to": ["a@b.example"]})
    channels.change(actor=PERSON, channel=channel, name="Desk", escalation=True)
    channels.change(actor=PERSON, channel=channel, config={"url": "https://other.example/", "secret": SECRET})
    channel.refresh_from_db()
    assert (channel.name, channel.hint, channel.config["url"]) == ("Desk", "other.example", "https://other.example/")
    with pytest.raises(ValidationError, match="both ends"):
        channels.change(actor=PERSON, channel=channel, quiet_from=datetime(2026, 1, 1, 20).time())  # noqa: DTZ001
    one = channels.subscribe(actor=PERSON, channel=channel, kind="portal.worker_silent", severity=30)
    channels.subscribe(actor=PERSON, channel=channel, kind="portal.worker_silent", severity=20)
    assert Subscription.objects.count() == 2
    channels.unsubscribe(actor=PERSON, subscription=one)
    with pytest.raises(ValidationError):
        channels.subscribe(actor=PERSON, channel=channel, kind="no.such", severity=30)
    channels.send_test(actor=PERSON, channel=channel)
    with pytest.raises(Refused, match="on its way"):
        channels.send_test(actor=PERSON, channel=channel)
    channels.remove(actor=PERSON, channel=channel)
    assert not Channel.objects.exists() and not Delivery.objects.exists()
    trail = str(list(AuditEvent.objects.values()))
    assert "PLANTED" not in trail and "hook.example" not in trail
    assert [event.action for event in AuditEvent.objects.order_by("id")] == [
        "channel.added",
        "channel.changed",
        "channel.changed",
        "channel.subscribed",
        "channel.subscribed",
        "channel.unsubscribed",
        "channel.tested",
        "channel.removed",
    ]


def test_addresses_and_secrets_lie_sealed(team: Any, put: Any) -> None:
    put("webhook", url="https://hook.example/PLANTED-PATH", secret=SECRET)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM notify_channel")
        row = b"".join(
            bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for value in cursor.fetchone()
        )
    assert b"PLANTED" not in row


def test_a_failing_channel_is_an_alert_that_goes_when_it_works(receiver: receivers.Web, put: Any) -> None:
    from meshportal.notify import rules, upkeep
    from meshportal.notify.models import Alert

    receiver.answers = [410, 200]
    put("webhook", url=receiver.url, secret=SECRET)
    deliver.run_due()
    upkeep.keep_true([rules.CHANNEL], rules.channels(timezone.now()), timezone.now())
    assert Alert.objects.get().open
    channels.send_test(actor=PERSON, channel=Channel.objects.get())
    deliver.run_due()
    upkeep.keep_true([rules.CHANNEL], rules.channels(timezone.now()), timezone.now())
    assert not Alert.objects.get().open
    assert services.OVER_ALREADY
    assert ACTOR.kind == "system"
