"""Fixtures of the whole suite."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from meshportal.demo.guard import guarded
from meshportal.demo.pki import create_pki
from meshportal.demo.redis_server import RedisServer
from meshportal.demo.sandbox import BUILT_IN_MAILBOXES, Sandbox
from tests import environment, services


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With MESHPORTAL_TEST_ONLY_DATABASE=1 leaves out what no database can change: the second half of ``make test``."""
    if not environment.only_database():
        return
    chosen = [item for item in items if environment.touches_database(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


@pytest.fixture(autouse=True)
def _suite_settings(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """A flush between tests empties append-only tables, which their triggers refuse: it lifts them and puts them back."""
    from django.db import connection
    from django.test import TransactionTestCase

    original = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def on_sqlite(self: TransactionTestCase) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            for name, _sql in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
        original(self)
        with connection.cursor() as cursor:
            for _name, sql in triggers:
                cursor.execute(sql)

    def on_postgresql(self: TransactionTestCase) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = 'replica'")
        original(self)
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = 'origin'")

    chosen = on_sqlite if connection.vendor == "sqlite" else on_postgresql
    TransactionTestCase._fixture_teardown = chosen  # type: ignore[attr-defined]


# --- Servers and programs ---------------------------------------------------------------------------------------------
class Need(Protocol):
    def __call__(self, service: str) -> None: ...


@pytest.fixture(scope="session")
def need() -> Need:
    """``need("redis")`` skips the test, saying what to install, where there is none; continuous integration fails instead.

    Also: postgresql, sandbox, chromium, openssl, keytool.
    """

    def check(service: str) -> None:
        sentence = services.missing(service)
        if sentence is None:
            return
        if services.must_have_all():
            pytest.fail(f"{sentence} ({services.REQUIRE_ALL}=1 does not let this test be skipped.)", pytrace=False)
        pytest.skip(sentence)

    return check


@pytest.fixture(scope="session", autouse=True)
def _no_orphans() -> Iterator[None]:
    """What a test started does not outlive this process, however it ends."""
    with guarded():
        yield


@pytest.fixture(scope="session")
def redis_server(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server for the whole session; whoever uses it chooses keys or a database of their own."""
    need("redis")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def sandbox(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The official MESH sandbox behind mutual TLS, with ``pki``; tests add mailboxes of their own with ``add_mailbox``."""
    need("sandbox")
    pki = create_pki([(mailbox_id, "X26") for mailbox_id in BUILT_IN_MAILBOXES])
    with Sandbox(services.SANDBOX_PYTHON, tmp_path_factory.mktemp("sandbox"), pki) as server:
        yield server


@pytest.fixture(scope="session")
def chromium(need: Need) -> str:
    """The path of the browser."""
    need("chromium")
    return services.chromium() or ""


# --- Rows -------------------------------------------------------------------------------------------------------------
class MakeMember(Protocol):
    def __call__(self, role: str, *, team: Any = None, email: str | None = None) -> Any: ...


class Make(Protocol):
    def __call__(self, **fields: Any) -> Any: ...


@pytest.fixture
def team(db: None) -> Any:
    from meshportal.accounts.models import Team

    return Team.objects.create(name="Midshire Hospitals", slug="midshire")


@pytest.fixture
def other_team(db: None) -> Any:
    from meshportal.accounts.models import Team

    return Team.objects.create(name="Otherton Federation", slug="otherton")


@pytest.fixture
def member(team: Any) -> MakeMember:
    """Makes a signed-up person with a role in ``team`` (or in another one)."""
    from meshportal.accounts.models import Membership, User

    default_team = team

    def make(role: str, *, team: Any = None, email: str | None = None) -> Any:
        chosen = team or default_team
        user = User.objects.create_user(
            email or f"{role}@{chosen.slug}.example", "correct horse battery", full_name=f"{role.title()} Person"
        )
        Membership.objects.create(user=user, team=chosen, role=role)
        return user

    return make


@pytest.fixture
def signed_in(client: Any, member: MakeMember) -> Any:
    """Makes a Django test client signed in with a role: ``signed_in("viewer")``."""
    from django.test import Client

    def make(role: str, *, team: Any = None) -> Client:
        browser = Client()
        browser.force_login(member(role, team=team))
        return browser

    return make


@pytest.fixture
def identity(team: Any) -> Any:
    from certificates.models import ClientIdentity

    return ClientIdentity.objects.create(
        team=team,
        name="Midshire 2026",
        environment="sandbox",
        certificate_pem="not a real certificate",
        private_key="not a real key",
        subject_cn="X26HC001.X26.api.mesh-client.nhs.uk",
        issuer="Test CA",
        serial="1",
        fingerprint="0" * 64,
        not_before=datetime.now(UTC) - timedelta(days=1),
        not_after=datetime.now(UTC) + timedelta(days=365),
    )


@pytest.fixture
def mailbox(team: Any, identity: Any) -> Make:
    """Makes a mailbox; any field can be given."""
    from mailboxes.models import Mailbox, Organisation

    count = 0

    def make(**fields: Any) -> Mailbox:
        nonlocal count
        count += 1
        organisation, _ = Organisation.objects.get_or_create(
            ods_code=fields.pop("ods_code", "X26"), defaults={"name": "Midshire Hospitals NHS Trust"}
        )
        chosen = fields.setdefault("team", team)
        fields.setdefault("identity", identity if chosen == team else None)
        defaults = {
            "environment": "sandbox",
            "mailbox_id": f"X26HC{count:03d}",
            "name": f"Pathology results {count}",
            "organisation": organisation,
            "password": "password",
            "mode": "collect",
            "poll_interval_seconds": 300,
        }
        return Mailbox.objects.create(**{**defaults, **fields})

    return make


@pytest.fixture
def message(mailbox: Make) -> Make:
    """Makes a message; any field can be given. ``body`` keeps a payload, and makes a received one stored.

    It is a sent one where its ``state`` is, or with ``direction="out"``; fields of its sending go into ``outgoing``.
    """
    from django.utils import timezone

    from meshportal.core import payloads
    from messages.models import Message, Outgoing, Payload
    from messages.receive import storage_key
    from messages.states import OUT

    count = 0
    default_mailbox: list[Any] = []

    def make(*, body: bytes | None = None, outgoing: dict[str, Any] | None = None, **fields: Any) -> Message:
        nonlocal count
        count += 1
        if "mailbox" not in fields:
            if not default_mailbox:
                default_mailbox.append(mailbox())
            fields["mailbox"] = default_mailbox[0]
        box = fields["mailbox"]
        now = timezone.now()
        held = body is not None
        if fields.get("state") in OUT or fields.get("direction") == "out":
            return send(body, outgoing or {}, box, fields)
        defaults = {
            "team": box.team,
            "environment": box.environment,
            "direction": "in",
            "mesh_id": f"20261124{count:012d}_ABCDEF",
            "state": "acknowledged" if held else "listed",
            "sender": "YGM24HC001",
            "recipient_mailbox": box.mailbox_id,
            "workflow_id": "TOC_FHIR_IP_DISCH",
            "seen_at": now,
            "stored_at": now if held else None,
            "acknowledged_at": now if held else None,
            "size": len(body) if body is not None else None,
        }
        values = {**defaults, **fields}
        if values["state"] in ("stored", "acknowledged") and values["stored_at"] is None:
            values["stored_at"] = now
        if values["state"] == "acknowledged" and values["acknowledged_at"] is None:
            values["acknowledged_at"] = now
        return kept(Message.objects.create(**values), body)

    def send(body: bytes | None, outgoing: dict[str, Any], box: Any, fields: dict[str, Any]) -> Message:
        state = fields.get("state", "accepted")
        unknown = state in ("queued", "sending", "uncertain", "refused", "cancelled", "confirmed")
        defaults = {
            "team": box.team,
            "environment": box.environment,
            "direction": "out",
            "state": state,
            "mesh_id": "" if unknown else f"20261124{count:012d}_FEDCBA",
            "local_id": f"MP{count:032X}",
            "sender": box.mailbox_id,
            "recipient_mailbox": "YGM24HC001",
            "workflow_id": "TOC_FHIR_IP_DISCH",
            "seen_at": timezone.now(),
            "sent_at": None if unknown else timezone.now(),
            "size": len(body) if body is not None else 1000,
        }
        row = kept(Message.objects.create(**{**defaults, **fields}), body)
        values = {"chunk_size": 20_000_000, "own_local_id": True, "requested_by": "command send", **outgoing}
        Outgoing.objects.create(message=row, **values)
        return row

    def kept(row: Message, body: bytes | None) -> Message:
        if body is not None:
            stored = payloads.write(storage_key(row), [body])
            Payload.objects.create(
                message=row, storage_key=stored.key, sha256=stored.sha256, size=stored.size, stored_size=stored.stored_size
            )
        return row

    return make
