"""What a harness does with files of mailboxes; each call runs in a short-lived process of its own."""

from __future__ import annotations

from typing import Any

from django.db.models import Count

from tests.fleet.operations import ACTOR

HEAD = ("mailbox_id", "environment", "ods_code", "name", "password", "certificate", "poll_seconds")


def sheet(names: list[str], *, password: str = "password") -> bytes:
    """A file that adds these mailboxes of the team ``fleet``."""
    rows = [",".join([name, "sandbox", "X26", f"Ward {name}", password, "fleet", "3600"]) for name in names]
    return "\n".join([",".join(HEAD), *rows]).encode()


def upload_sheet(*, email: str, names: list[str], password: str = "password") -> dict[str, Any]:
    """A person uploads a file and looks at what it would do: where that stands, what it says, and its digest."""
    import re

    from django.core.files.uploadedfile import SimpleUploadedFile

    from tests.fleet.sending import browser_of

    browser = browser_of(email)
    file = SimpleUploadedFile("boxes.csv", sheet(names, password=password), "text/csv")
    answer = browser.post("/t/fleet/mailboxes/import/", {"file": file}, secure=True)
    assert answer.status_code == 302, answer.content.decode()
    page = browser.get(answer["Location"], secure=True).content.decode()
    digest = re.search(r'name="digest" value="([0-9a-f]+)"', page)
    assert digest is not None, page
    return {"page": answer["Location"], "digest": digest[1], "says": page}


def import_sheet(*, email: str, page: str, digest: str) -> str:
    """The person imports it; where it led."""
    from tests.fleet.sending import browser_of

    answer = browser_of(email).post(page, {"digest": digest, "reason": "onboarding"}, secure=True)
    assert answer.status_code == 302, answer.content.decode()
    return str(answer["Location"])


def prepare_import(*, names: list[str]) -> str:
    """The dry run of a file; the id of what is kept."""
    from mailboxes import importing
    from meshportal.accounts.models import Team

    made = importing.prepare(actor=ACTOR, team=Team.objects.get(slug="fleet"), data=sheet(names))
    return str(made.pk)


def apply_import(*, pk: str, die_at: int | None = None) -> int:
    """Imports it, in a process that dies at step ``die_at``; gives the number of steps."""
    from mailboxes import importing
    from mailboxes.models import MailboxImport
    from tests.fleet.dying import Steps

    imported = MailboxImport.objects.defer("rows").get(pk=pk)
    steps = Steps(die_at)
    steps.install()
    importing.apply(actor=ACTOR, imported=imported, digest=imported.digest)
    return steps.taken


def import_state(*, pk: str, names: list[str]) -> dict[str, Any]:
    """What stands of an import: its mailboxes, the rows of their examination, its audit events, and whether it waits."""
    from mailboxes.models import ExaminationRow, Mailbox, MailboxImport
    from meshportal.audit.models import AuditEvent

    imported = MailboxImport.objects.defer("rows").get(pk=pk)
    events = AuditEvent.objects.filter(request_id=imported.request_id).exclude(action="mailbox_import.prepared")
    return {
        "mailboxes": Mailbox.objects.filter(mailbox_id__in=names).count(),
        "examined": ExaminationRow.objects.filter(mailbox__mailbox_id__in=names).count(),
        "events": events.count(),
        "waits": imported.ended_at is None and MailboxImport.objects.filter(pk=pk, rows__isnull=False).exists(),
    }


def imported_mailboxes() -> dict[str, int]:
    """How many mailboxes there are, and how many rows of examinations, audit events of them, and imports that ended."""
    from mailboxes.models import ExaminationRow, Mailbox, MailboxImport
    from meshportal.audit.models import AuditEvent

    return {
        "mailboxes": Mailbox.objects.count(),
        "examined": ExaminationRow.objects.count(),
        "added": AuditEvent.objects.filter(action="mailbox.added").count(),
        "applied": MailboxImport.objects.filter(applied_at__isnull=False).count(),
    }


def findings() -> dict[str, int]:
    """How many rows of all examinations are in each state."""
    from mailboxes.models import ExaminationRow

    return dict(ExaminationRow.objects.values_list("finding").annotate(Count("pk")))


def tries() -> dict[str, int]:
    """How often rows of examinations were tried: how many times at most, and how many more than once."""
    from mailboxes.models import ExaminationRow

    rows = list(ExaminationRow.objects.values_list("tries", flat=True))
    return {"most": max(rows), "more_than_once": sum(one > 1 for one in rows)}


def audit_holds() -> bool:
    """Whether the chain is whole."""
    from meshportal.audit import services as audit

    return audit.verify().broken is None


def run_examinations() -> int:
    """What a worker does when the bell rings."""
    from mailboxes import examining
    from messages.selectors import workflows_received

    return examining.run_due(workflows_received)


def ask_again_now() -> None:
    """As if the last examination had been asked for a while ago."""
    from datetime import timedelta

    from django.db.models import F

    from mailboxes.models import Examination

    Examination.objects.update(asked_at=F("asked_at") - timedelta(minutes=1))


def forget_imported(*, prefix: str) -> None:
    """Takes away what a test imported, for the tests after it."""
    from mailboxes.models import Examination, ExaminationRow, Mailbox, MailboxImport

    ExaminationRow.objects.filter(mailbox__mailbox_id__startswith=prefix).delete()
    MailboxImport.objects.all().delete()
    Examination.objects.filter(rows=None).delete()
    Mailbox.objects.filter(mailbox_id__startswith=prefix).delete()
