"""The address book: the list with what changed first, one entry with its history, and the acts on it."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from mailboxes.addresses import filters, selectors, services, standing
from mailboxes.addresses.forms import AddForm, ConfirmForm, ReasonForm
from mailboxes.models import AddressEntry
from meshportal.accounts import scoping
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import ActionPage, DetailPage, FormPage, TeamPage


class AddressBook(TeamPage):
    """Who is where, and has anything moved?"""

    capability = "address.view"
    template_name = "addresses/list.html"
    fragments = ("rows",)
    http_method_names = ["get", "head", "options"]
    page_size: ClassVar[int] = 50

    def context(self, **extra: Any) -> dict[str, Any]:
        everything = selectors.entries_of(self.team)
        filter_set = filters.AddressFilters(self.request.GET, queryset=everything, request=self.request)
        pages = Paginator(filter_set.qs, self.page_size)
        page = pages.get_page(self.request.GET.get("page"))
        needing = selectors.in_need(self.team)
        first = standing.standings(needing[: selectors.MOST_FIRST])
        return super().context(
            filter=filter_set,
            count=pages.count,
            any_entry=pages.count > 0 or everything.exists(),
            page=page,
            rows=standing.standings(page.object_list),
            first=first,
            first_count=needing.count() if len(first) == selectors.MOST_FIRST else len(first),
            meanings=standing.meanings(),
            **extra,
        )


class AddressPage(DetailPage):
    """Where does this organisation take this workflow, and since when?"""

    capability = "address.view"
    template_name = "addresses/detail.html"
    fragments = ("standing",)
    context_name = "entry"

    def queryset(self) -> QuerySet[AddressEntry]:
        return selectors.entries_of(self.team)

    def context(self, **extra: Any) -> dict[str, Any]:
        [found] = standing.standings([self.object])
        environment = self.object.pair.environment
        return super().context(
            standing=found,
            runs=selectors.runs_of(self.object),
            changes=selectors.changes_of(self.object),
            listed=selectors.listed(self.object),
            confirm_form=ConfirmForm(results=self.object.pair.results),
            # Both ask for a reason on one page.
            remove_form=ReasonForm(auto_id="remove_%s"),
            meanings=standing.meanings(),
            environment=environment,
            environment_meaning=ENVIRONMENTS[environment].meaning,
            **extra,
        )


class AddAddress(FormPage):
    """Enters an organisation for a workflow by hand."""

    capability = "address.manage"
    template_name = "addresses/add.html"
    form_class = AddForm
    success_message = "It is in the address book. MESH is asked for it now."

    def form_kwargs(self) -> dict[str, Any]:
        return {"environments": selectors.environments_of(self.team)}

    def save(self, form: AddForm) -> AddressEntry:
        return services.add(actor=self.actor, team=self.team, **form.cleaned_data)

    def success_url(self, saved: AddressEntry) -> str:
        return reverse("addresses:detail", kwargs={"team": self.team.slug, "pk": saved.pk})


class _Act(ActionPage, abstract=True):
    entry: AddressEntry

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.entry = scoping.get_or_404(selectors.entries_of(self.team), self.team, pk=self.kwargs["pk"])
        return super().post(request, *args, **kwargs)

    def return_url(self) -> str:
        return reverse("addresses:detail", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})


class CheckNow(_Act):
    """Has MESH asked at once."""

    capability = "address.manage"

    def act(self, form: Any) -> str:
        return services.check_now(actor=self.actor, entry=self.entry)


class Confirm(_Act):
    """A person says which of the mailboxes that MESH names is right."""

    capability = "address.manage"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        entry = scoping.get_or_404(selectors.entries_of(self.team), self.team, pk=self.kwargs["pk"])

        def form(*, data: Any) -> forms.Form:
            return ConfirmForm(data, results=entry.pair.results)

        self.form_class = form  # type: ignore[assignment,misc]
        return super().post(request, *args, **kwargs)

    def act(self, form: ConfirmForm) -> str:
        entry = services.confirm(actor=self.actor, entry=self.entry, **form.cleaned_data)
        return f"{entry.pair.ods_code} takes {entry.pair.workflow_id} at {entry.mailbox_id} from now on, says your address book."


class Remove(_Act):
    """Takes an entry out of the book."""

    capability = "address.manage"
    form_class = ReasonForm
    done = False

    def act(self, form: ReasonForm) -> str:
        services.remove(actor=self.actor, entry=self.entry, reason=form.cleaned_data["reason"])
        self.done = True
        return f"{self.entry} was removed from the address book."

    def return_url(self) -> str:
        return reverse("addresses:list", kwargs={"team": self.team.slug}) if self.done else super().return_url()
