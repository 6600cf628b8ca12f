"""What a message's page says about handing it on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django import forms
from django.utils import timezone

from messages.forms import HandOnForm
from messages.models import Handed, HandOver

_TONES = {Handed.PENDING.value: "busy", Handed.DONE.value: "good", Handed.FAILED.value: "bad"}


@dataclass(frozen=True)
class Told:
    """One way out of the mailbox, and how the message fared there. ``next_try`` is None where none is coming."""

    channel: str
    label: str
    state: str
    tone: str
    row: HandOver
    next_try: datetime | None
    form: forms.BaseForm | None

    @property
    def moving(self) -> bool:
        """Whether it is on its way, and nothing stands in it."""
        return self.row.state == Handed.PENDING and not self.row.problem_code


def told(rows: Sequence[HandOver], *, may_act: bool, given: forms.BaseForm | None = None) -> list[Told]:
    """``rows`` in words. ``given``, a form with errors, comes back where it belongs."""
    return [_told(row, may_act=may_act, given=given) for row in rows]


def _told(row: HandOver, *, may_act: bool, given: forms.BaseForm | None) -> Told:
    channel = row.outlet.channel
    tone, next_try = _TONES[row.state], None
    if row.state == Handed.PENDING:
        next_try = max(row.due_at, row.outlet.resume_at, timezone.now())
        tone = "warn" if row.problem_code else tone
    form: forms.BaseForm | None = None
    if may_act and row.state != Handed.PENDING and row.outlet.enabled:
        mine = isinstance(given, HandOnForm) and given.channel == channel
        form = given if mine else HandOnForm(channel=channel)
    return Told(channel, row.outlet.get_channel_display(), row.get_state_display(), tone, row, next_try, form)
