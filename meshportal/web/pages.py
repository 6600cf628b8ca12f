"""The page classes. Closed by default: a class that does not say which capability it needs cannot be created.

A stranger, a member without the capability and a wrong address look the same: 404 (promise P8). One address serves the
page and its fragments: the fragment is a named partial inside the page's template.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import messages as flash
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View
from django_filters import FilterSet
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails

from meshportal.accounts import policies, scoping
from meshportal.accounts.models import Membership, Team, TeamOwned, User
from meshportal.audit.actors import Actor
from meshportal.core import pagination
from meshportal.core.acts import Refused
from meshportal.web import fragments


class TeamRequest(HttpRequest):
    """A request inside a team, as :class:`TeamPage` hands it to its methods."""

    user: User
    htmx: HtmxDetails
    membership: Membership
    team: Team


class TeamPage(View):
    """Base of every screen of a team: who may see it, in which template, whole or as a fragment.

    ``capability``: required, one of :data:`meshportal.accounts.policies.EVERY_CAPABILITY`; a class without it raises
    ImproperlyConfigured when it is created. A base class for further pages says ``abstract=True`` and cannot be served.
    ``fragments``: names of partials in ``template_name``; each is also the id of the element that it fills.
    """

    capability: ClassVar[str] = ""
    abstract: ClassVar[bool] = True
    template_name: ClassVar[str] = ""
    fragments: ClassVar[Sequence[str]] = ()
    http_method_names = ["get", "post", "head", "options"]
    request: TeamRequest

    def __init_subclass__(cls, *, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.abstract = abstract
        if not abstract:
            _check_declared(cls)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if self.abstract:
            raise ImproperlyConfigured(f"{type(self).__qualname__} is a base class and cannot be served.")
        if not request.user.is_authenticated:
            return fragments.to_sign_in(request)
        membership = scoping.membership_or_404(request.user, kwargs.get("team", ""))
        if not policies.can(membership, self.capability):
            raise Http404
        self.request.membership = membership
        self.request.team = membership.team
        return super().dispatch(request, *args, **kwargs)

    @property
    def team(self) -> Team:
        """The team in the address."""
        return self.request.team

    @property
    def actor(self) -> Actor:
        """Who acts, for services and the audit."""
        return Actor.user(self.request.user)

    def context(self, **extra: Any) -> dict[str, Any]:
        """What the template gets, besides ``team``, ``membership``, ``can`` and ``nav`` (see meshportal.web.context)."""
        return {"page_view": self, **extra}

    def render(self, *, status: int = 200, **extra: Any) -> HttpResponse:
        """The page, or the fragment that htmx asked for."""
        name = fragments.fragment_name(self.request, self.fragments)
        template = f"{self.template_name}#{name}" if name else self.template_name
        response = TemplateResponse(self.request, template, self.context(**extra), status=status)
        return fragments.vary(response)

    def redirect(self, to: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        """Send the browser to another page (a URL, a route name or a model), also when htmx asked."""
        url = resolve_url(to, *args, **kwargs)
        if fragments.details(self.request):
            return HttpResponseClientRedirect(url)
        return HttpResponseRedirect(url)

    def flash(self, sentence: str) -> None:
        """A success banner on the next page."""
        flash.success(self.request, sentence)

    def flash_refusal(self, sentence: str) -> None:
        """A banner on the next page that says why nothing was done."""
        flash.error(self.request, sentence)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.render()


@method_decorator(login_not_required, name="dispatch")
class SecretPage(View):
    """Base of what a program reads that cannot sign in: whoever knows the secret part of the address may read it.

    ``capability`` says which role sees the same on its pages: the address shows nothing beyond that. A wrong secret is 404
    to every method. Nothing is changed here but the note that somebody read.
    """

    capability: ClassVar[str] = ""
    http_method_names = ["get", "head", "options"]
    team: Team

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_declared(cls)

    def team_or_404(self, secret: str) -> Team:
        """The team whose address has this secret part; Http404 for every other text."""
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.team = self.team_or_404(kwargs.get("secret", ""))
        response = super().dispatch(request, *args, **kwargs)
        response["Cache-Control"] = "private"
        # The address is the key: no page that it leads to may learn it, and no search engine keep it.
        response["Referrer-Policy"] = "no-referrer"
        response["X-Robots-Tag"] = "noindex"
        return response


class ListPage(TeamPage, abstract=True):
    """A table with filters and keyset pages. The partial ``rows`` of the template is the table with its pager.

    Context: ``page`` (rows, newer, older), ``rows``, ``filter`` (the filter set, or None), ``count`` and ``count_capped``.
    """

    fragments = ("rows",)
    http_method_names = ["get", "head", "options"]
    filterset_class: ClassVar[type[FilterSet] | None] = None
    order_field: ClassVar[str] = "created_at"
    page_size: ClassVar[int] = 50

    def queryset(self) -> QuerySet[Any]:
        """All rows that this person may see, before filters. Reach them through accounts.scoping."""
        raise NotImplementedError

    def filtered(self) -> tuple[QuerySet[Any], FilterSet | None]:
        """The rows after filters, and the filter set. A value that makes no sense filters nothing and is named on screen."""
        if self.filterset_class is None:
            return self.queryset(), None
        filters = self.filterset_class(self.request.GET, queryset=self.queryset(), request=self.request)
        return filters.qs, filters

    def context(self, **extra: Any) -> dict[str, Any]:
        rows, filters = self.filtered()
        found = pagination.page(rows, field=self.order_field, cursor=self.request.GET.get("cursor", ""), size=self.page_size)
        count, capped = pagination.capped_count(rows)
        return super().context(page=found, rows=found.rows, filter=filters, count=count, count_capped=capped, **extra)


class DetailPage(TeamPage, abstract=True):
    """One row of the team. ``model`` (or :meth:`queryset`) is looked up by the URL argument ``url_kwarg``."""

    http_method_names = ["get", "head", "options"]
    model: ClassVar[type[TeamOwned] | None] = None
    url_kwarg: ClassVar[str] = "pk"
    context_name: ClassVar[str] = ""
    object: Any

    def queryset(self) -> QuerySet[Any] | type[TeamOwned]:
        """Where the object is looked for; override it to add select_related."""
        if self.model is None:
            raise ImproperlyConfigured(f"{type(self).__qualname__} needs a model or a queryset().")
        return self.model

    def get_object(self) -> Any:
        """The object of the address; Http404 when this team has none such."""
        return scoping.get_or_404(self.queryset(), self.team, pk=self.kwargs[self.url_kwarg])

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.object = self.get_object()
        return self.render()

    def context(self, **extra: Any) -> dict[str, Any]:
        found: Model = self.object
        name = self.context_name or str(found._meta.model_name)
        return super().context(object=found, **{name: found}, **extra)


class FormPage(TeamPage, abstract=True):
    """A form: shown by GET, answered by POST. Wrong input comes back with status 422, every value kept, every error named."""

    form_class: ClassVar[type[forms.BaseForm]]
    success_message: ClassVar[str] = ""

    def form_kwargs(self) -> dict[str, Any]:
        """Further arguments of the form, for example ``initial``."""
        return {}

    def save(self, form: Any) -> Any:
        """Call the service with the cleaned data. A ValidationError goes back onto the form."""
        raise NotImplementedError

    def success_url(self, saved: Any) -> str:
        """Where to go after ``save`` returned ``saved``."""
        raise NotImplementedError

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.render(form=self.form_class(**self.form_kwargs()))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = self.form_class(data=request.POST, files=request.FILES, **self.form_kwargs())
        if form.is_valid():
            try:
                saved = self.save(form)
            except ValidationError as error:
                add_errors(form, error)
            else:
                if self.success_message:
                    self.flash(self.success_message)
                return self.redirect(self.success_url(saved))
        return self.render(status=422, form=form)


class ActionPage(TeamPage, abstract=True):
    """One act behind one button: POST only, then back to a page with a banner that says what was done or why not.

    A hidden field ``next`` (an address of this site) wins over :meth:`return_url`.
    """

    http_method_names = ["post", "options"]
    form_class: ClassVar[type[forms.BaseForm] | None] = None

    def act(self, form: Any) -> str:
        """Call the service; return one sentence that says what was done. Raises Refused with the reason why not."""
        raise NotImplementedError

    def return_url(self) -> str:
        """The page to go back to."""
        raise NotImplementedError

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        form = self.form_class(data=request.POST) if self.form_class else None
        if form is not None and not form.is_valid():
            self.flash_refusal(" ".join(str(sentence) for errors in form.errors.values() for sentence in errors))
            return self.redirect(self._back())
        return self.carry_out(form)

    def carry_out(self, form: Any) -> HttpResponseBase:
        """Does the act with its valid form, and goes back with what was done or why not."""
        try:
            done = self.act(form)
        except Refused as refusal:
            self.flash_refusal(str(refusal))
        else:
            self.flash(done)
        return self.redirect(self._back())

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Reached by people too: signing in again brings them back to the address of a button.
        allowed = [name.upper() for name in self.http_method_names]
        response = TemplateResponse(request, "405.html", {"back": self.return_url()}, status=405)
        response["Allow"] = ", ".join(allowed)
        return response

    def _back(self) -> str:
        given = self.request.POST.get("next", "")
        local = given.startswith("/") and url_has_allowed_host_and_scheme(given, allowed_hosts=None)
        return given if local else self.return_url()


def _check_declared(cls: Any) -> None:
    if not cls.capability:
        raise ImproperlyConfigured(f"{cls.__module__}.{cls.__qualname__} declares no capability; it would be open to anyone.")
    if cls.capability not in policies.EVERY_CAPABILITY:
        raise ImproperlyConfigured(f"{cls.__module__}.{cls.__qualname__} needs {cls.capability!r}, which no role carries.")


def add_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Put what a service refused onto the form: by field where the form has it, else at its head."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for name, errors in error.error_dict.items():
        form.add_error(name if name in form.fields else None, ValidationError(errors))
