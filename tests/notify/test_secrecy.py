"""From a message that names a patient to the mail that warns of it: nothing of the patient goes along, and no secret."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from meshportal.audit.models import AuditEvent
from meshportal.demo.pki import create_pki
from meshportal.notify import channels, deliver, planning, sweep
from meshportal.notify.models import Alert, AlertEvent, Attempt, Channel, Delivery
from tests.notify import receivers
from tests.notify.conftest import PERSON
from tests.notify.test_channels import allow_loopback

pytestmark = pytest.mark.django_db
NUMBER = "9434765919"


@pytest.fixture
def receiver(tmp_path: Path, settings: Any) -> Iterator[receivers.Web]:
    pki = create_pki([])
    (tmp_path / "ca.pem").write_bytes(pki.authority.certificate_pem)
    settings.NOTIFY_CA_FILE = str(tmp_path / "ca.pem")
    allow_loopback(settings)
    with receivers.web(pki, tmp_path) as found:
        yield found


def test_no_patient_and_no_secret_in_any_alert_message_or_log(
    team: Any, mailbox: Any, message: Callable[..., Any], receiver: receivers.Web, settings: Any, monkeypatch: Any
) -> None:
    now = timezone.now()
    box = mailbox(name=f"Clinic {NUMBER}", last_polled_at=now, last_handshake_at=now)
    mailbox(name="Refused", problem_code="x", problem=f"MESH said: PLANTED {NUMBER}", problem_advice="PLANTED")
    planted = {
        "subject": f"PLANTED {NUMBER}",
        "local_id": f"PLANTED-{NUMBER}",
        "file_name": f"PLANTED-{NUMBER}.pdf",
        "problem": f"PLANTED {NUMBER}",
        "status_description": f"PLANTED {NUMBER}",
        "workflow_id": "PLANTED",
        "seen_at": now - timedelta(days=4),
    }
    for state in ("quarantined", "listed", "uncertain", "returned", "expired", "refused"):
        message(mailbox=box, state=state, **planted)
    message(mailbox=box, body=b"PLANTED", message_type="REPORT", **planted)
    secret = {"url": receiver.url, "secret": "PLANTED-a-long-secret"}
    with receivers.mail() as post:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", post.port, False
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "", "PLANTED-mail"
        for name, transport, config in (
            ("hook", "webhook", secret),
            ("teams", "teams", secret),
            ("slack", "slack", secret),
            ("mail", "email", {"to": ["a@midshire.example"]}),
        ):
            channels.add(actor=PERSON, team=team, name=name, transport=transport, config=config, digest=True)
        monkeypatch.setattr(planning, "GATHER", timedelta(0))
        settings.NOTIFY_DIGEST_HOUR = 0
        sweep.run(now)
        assert Alert.objects.filter(closed_at__isnull=True).count() >= 8
        planning.run(timezone.now())
        assert Delivery.objects.count() == 8
        assert deliver.run_due() == 8
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}
    assert (len(receiver.posts), len(post.mails)) == (6, 2)
    sent = b"".join(one.body + repr(one.headers).encode() for one in receiver.posts) + b"".join(raw for _to, raw in post.mails)
    kept = "".join(str(list(model.objects.values())) for model in (AlertEvent, Delivery, Attempt, AuditEvent))
    kept += str(list(Channel.objects.values("name", "hint", "problem")))
    assert b"PLANTED" not in sent and "PLANTED" not in kept
    assert NUMBER.encode() not in sent
    assert b"[NHS number hidden]" in sent
    assert "PLANTED" not in str(list(Alert.objects.values()))
