"""The workflow registry: what the team knows of each workflow, and a manager's word on it."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.functional import cached_property

from meshportal.accounts import policies, scoping
from meshportal.web.pages import FormPage, TeamPage
from messages import registry, words
from messages.forms import WorkflowForm
from messages.models import Workflow

# MESH knows some 400 workflows in all; a longer list would not be read.
MOST = 500


class WorkflowList(TeamPage):
    """Every workflow of the team, the unknown ones first."""

    capability = "message.view"
    template_name = "messages/workflows.html"
    http_method_names = ["get", "head", "options"]

    def context(self, **extra: Any) -> dict[str, Any]:
        found = list(registry.of(self.team)[: MOST + 1])
        rows = [(workflow, words.plain(workflow.workflow_id)) for workflow in found[:MOST]]
        unknown = sum(not workflow.name for workflow, _ in rows)
        return super().context(rows=rows, more=len(found) > MOST, unknown=unknown, **extra)


class WorkflowPage(FormPage):
    """One workflow: whoever may see messages reads it, a manager changes it."""

    capability = "message.view"
    template_name = "messages/workflow.html"
    form_class = WorkflowForm
    success_message = "The workflow is reviewed. Its rule holds from now on."

    @cached_property
    def workflow(self) -> Workflow:
        """The workflow of the address; Http404 when this team has none such."""
        return scoping.get_or_404(Workflow, self.team, pk=self.kwargs["pk"])

    @property
    def may_change(self) -> bool:
        """Whether this member may say something of it."""
        return policies.can(self.request.membership, "workflow.manage")

    def form_kwargs(self) -> dict[str, Any]:
        return {"initial": {name: getattr(self.workflow, name) for name in registry.FIELDS}}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not self.may_change:
            raise Http404
        return super().post(request, *args, **kwargs)

    def save(self, form: Any) -> Workflow:
        return registry.change(actor=self.actor, workflow=self.workflow, **form.cleaned_data)

    def success_url(self, saved: Any) -> str:
        return reverse("messages:workflows", kwargs={"team": self.team.slug})

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(
            workflow=self.workflow, workflow_id=words.plain(self.workflow.workflow_id), may_change=self.may_change, **extra
        )
