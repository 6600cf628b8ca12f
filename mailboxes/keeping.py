"""Keeping what somebody uploaded, sealed, until it is applied, discarded, or expires.

| what happens | what stands |
|---|---|
| the process dies at any instant | what was uploaded, sealed, until it expires; or its end, and nothing of it |
| two people apply it, or one twice | the second is told that it is done |
| nobody applies it for two hours, or somebody discards it | what was uploaded is gone |
| it cannot be opened with the portal's keys | a sentence: upload it again |
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.utils import timezone

from mailboxes.models.kept import KeptUpload
from meshportal.audit import context
from meshportal.audit import services as audit
from meshportal.audit.actors import Actor
from meshportal.core.acts import Refused
from meshportal.core.crypto import CannotUnseal

KEPT_FOR = timedelta(hours=2)
DONE = "This file was imported already, or it was discarded."
EXPIRED = "This file was uploaded more than two hours ago and is not kept any longer. Upload it again."
UNREADABLE = "What was uploaded cannot be opened with the portal’s keys. Upload the file again."

Upload = TypeVar("Upload", bound=KeptUpload)


def beginning(*, actor: Actor, file_name: str) -> dict[str, Any]:
    """The fields of an upload that begins to wait."""
    return {
        "file_name": "".join(character for character in file_name if character.isprintable())[:150],
        "expires_at": timezone.now() + KEPT_FOR,
        **KeptUpload.asked_by_actor(actor),
    }


def held(upload: Upload, *, expired_too: bool = False) -> Upload:
    """The upload, its row locked, without what is sealed. Raises Refused when it came to its end, or expired."""
    model = type(upload)
    row = model._default_manager.select_for_update(of=("self",)).select_related("team").defer(model.SEALED).get(pk=upload.pk)
    if row.ended_at is not None:
        raise Refused(DONE)
    if row.expires_at <= timezone.now() and not expired_too:
        raise Refused(EXPIRED)
    return row


def opened(row: KeptUpload) -> Any:
    """What is sealed in ``row``. Raises Refused."""
    model = type(row)
    try:
        return model._default_manager.values_list(model.SEALED, flat=True).get(pk=row.pk)
    except CannotUnseal:
        raise Refused(UNREADABLE) from None


def end(row: KeptUpload, **changes: Any) -> None:
    """Takes away what is sealed, for good. In the transaction that holds the row."""
    model, now = type(row), timezone.now()
    model._default_manager.filter(pk=row.pk).update(**{model.SEALED: None}, ended_at=now, updated_at=now, **changes)


def discard(*, actor: Actor, upload: KeptUpload) -> None:
    """Takes away what was uploaded. Raises Refused when it has come to its end already."""
    with transaction.atomic(), context.request(upload.request_id):
        row = held(upload, expired_too=True)
        audit.record(actor=actor, action=row.DISCARDED, target=row, team=row.team)
        end(row)


def sweep(*models: type[KeptUpload]) -> int:
    """Takes away what expired; gives how many uploads there were."""
    number = 0
    for model in models:
        expired = model._default_manager.filter(ended_at__isnull=True, expires_at__lte=timezone.now())
        for upload in expired.defer(model.SEALED):
            try:
                discard(actor=Actor.system("sweep"), upload=upload)
            except Refused:
                continue
            number += 1
    return number
