"""What a harness does with the folders of a running MESH client; each call runs in a short-lived process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db.models import Count


def watch_client(*, mailbox_id: str, home: str, die_at: int | None = None) -> dict[str, Any]:
    """One look, in a process that dies at step ``die_at``; the number of steps, and what was logged."""
    from mailboxes.models import Mailbox
    from messages.client import watching
    from tests.fleet.dying import Steps

    mailbox = Mailbox.objects.defer("password").get(mailbox_id=mailbox_id)
    steps = Steps(die_at)
    steps.install()
    said: list[str] = []
    tally = watching.look(mailbox, Path(home), said.append)
    return {"steps": steps.taken, "logged": tally.logged, "said": len(said)}


def client_history(*, mailbox_id: str) -> dict[str, Any]:
    """What stands of a client: messages and their steps by local ID, and how many records."""
    from messages.models import ClientRecord, Message

    rows = Message.objects.filter(mailbox__mailbox_id=mailbox_id).values_list("local_id").annotate(Count("events"))
    return {
        "messages": Message.objects.filter(mailbox__mailbox_id=mailbox_id).count(),
        "steps": dict(rows),
        "records": ClientRecord.objects.filter(mailbox__mailbox_id=mailbox_id).count(),
        "without": ClientRecord.objects.filter(mailbox__mailbox_id=mailbox_id, message=None, problem="").count(),
    }


def forget_clients(*, prefix: str) -> None:
    """Takes away what a test brought in, for the tests after it."""
    from mailboxes.models import ClientImport, ClientMailbox, Examination, ExaminationRow, Mailbox

    boxes = Mailbox.objects.filter(mailbox_id__startswith=prefix)
    ExaminationRow.objects.filter(mailbox__in=boxes).delete()
    ClientImport.objects.all().delete()
    Examination.objects.filter(rows=None).delete()
    ClientMailbox.objects.filter(mailbox__in=boxes).delete()
    for box in boxes:
        box.outlets.all().delete()
        if hasattr(box, "watched_folder"):
            box.watched_folder.delete()
        box.delete()
