"""The connection doctor's page: it comes in pieces, each step as soon as it ends, and needs no script for that."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils import timezone

from mailboxes import doctor, selectors, services
from mailboxes.models import Mailbox
from meshportal.accounts import scoping
from meshportal.web.pages import TeamPage
from messages.selectors import workflows_received


class Doctor(TeamPage):
    """Why does this mailbox not connect? GET says what is checked, POST checks it."""

    capability = "mailbox.poll"
    template_name = "mailboxes/doctor.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.render(**self._facts(self._mailbox()))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        mailbox = self._mailbox()
        services.note_check(actor=self.actor, mailbox=mailbox)
        workflows = workflows_received(mailbox)
        # Where the pieces go; nothing that people wrote can hold it.
        place = secrets.token_hex(16)
        whole = render_to_string(self.template_name, self.context(place=place, **self._facts(mailbox)), self.request)
        response = StreamingHttpResponse(self._pieces(mailbox, workflows, whole.split(place)))
        # What stands in front of the portal is not to collect the pieces.
        response["X-Accel-Buffering"] = "no"
        return response

    def _mailbox(self) -> Mailbox:
        return scoping.get_or_404(selectors.mailboxes_of(self.team), self.team, pk=self.kwargs["pk"])

    @staticmethod
    def _facts(mailbox: Mailbox) -> dict[str, Any]:
        return {"mailbox": mailbox, "environment": mailbox.environment, "steps": doctor.STEPS.values()}

    def _pieces(self, mailbox: Mailbox, workflows: list[str], around: list[str]) -> Iterator[str]:
        began = timezone.now()
        before, between, after = around
        yield before
        results = []
        for result in doctor.examine(mailbox, workflows=workflows):
            results.append(result)
            yield render_to_string("mailboxes/_doctor_step.html", {"result": result})
        yield between
        state, sentence = doctor.verdict(results)
        facts = {
            "tone": {"warn": "warn", "bad": "bad"}.get(state, "good"),
            "sentence": sentence,
            "remedy": next((one.remedy for one in results if one.state == doctor.State.BAD), ""),
            "report": doctor.as_text(mailbox, results, began=began),
        }
        yield render_to_string("mailboxes/_doctor_outcome.html", facts)
        yield after
