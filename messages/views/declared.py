"""The workflows of one mailbox: what it may send and receive, and what is seen in its traffic."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from mailboxes import declared
from mailboxes.forms import WORKFLOW_ID, WorkflowsForm
from mailboxes.models import Mailbox
from meshportal.accounts import policies, scoping
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import FormPage
from messages import selectors, words
from messages.declared import lines


class MailboxWorkflows(FormPage):
    """Whoever may see messages reads it, a manager declares. ``?declare=seen`` puts what was seen into the form."""

    capability = "message.view"
    template_name = "messages/mailbox_workflows.html"
    form_class = WorkflowsForm

    @cached_property
    def mailbox(self) -> Mailbox:
        return scoping.get_or_404(selectors.mailboxes(self.team), self.team, pk=self.kwargs["pk"])

    @cached_property
    def may_declare(self) -> bool:
        return policies.can(self.request.membership, "mailbox.manage")

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _ = self.mailbox
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _ = self.mailbox
        if not self.may_declare:
            raise Http404
        return super().post(request, *args, **kwargs)

    def form_kwargs(self) -> dict[str, Any]:
        rows = declared.of(self.mailbox)
        sends, receives = [row.workflow_id for row in rows if row.may_send], [row.workflow_id for row in rows if row.may_receive]
        if self.request.GET.get("declare") == "seen":
            # What the form would refuse is left to a person: anybody can send a workflow ID that is none.
            found = [line for line in lines(self.mailbox, rows) if WORKFLOW_ID.fullmatch(line.workflow_id)]
            sends += [line.workflow_id for line in found if line.sent_at and not line.may_send]
            receives += [line.workflow_id for line in found if line.received_at and not line.may_receive]
        kept = {"sends": "\n".join(sends), "receives": "\n".join(receives), "seen": declared.mark(rows)}
        return {"initial": kept}

    def context(self, **extra: Any) -> dict[str, Any]:
        found = lines(self.mailbox)
        return super().context(
            mailbox=self.mailbox,
            rows=[(line, words.plain(line.workflow_id)) for line in found],
            undeclared=sum(line.undeclared for line in found),
            may_declare=self.may_declare,
            proposed=self.request.GET.get("declare") == "seen",
            environment=self.mailbox.environment,
            environment_meaning=ENVIRONMENTS[self.mailbox.environment].meaning,
            **extra,
        )

    def save(self, form: Any) -> bool:
        given = form.cleaned_data
        return declared.declare(
            actor=self.actor, mailbox=self.mailbox, sends=given["sends"], receives=given["receives"], seen=given["seen"]
        )

    def success_url(self, saved: bool) -> str:
        self.flash("The workflows are declared." if saved else "Nothing was different, so nothing was changed.")
        return reverse("messages:mailbox-workflows", kwargs={"team": self.team.slug, "pk": self.mailbox.pk})
