"""One URL serves a page and its fragments: which one a request wants, and what caches must know about it."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect
from django_htmx.middleware import HtmxDetails


def details(request: HttpRequest) -> HtmxDetails:
    """The htmx facts of ``request``; made here when the middleware did not run."""
    found = getattr(request, "htmx", None)
    return found if isinstance(found, HtmxDetails) else HtmxDetails(request)


def wants_fragment(request: HttpRequest) -> bool:
    """True when htmx will swap the answer into a page that is already there.

    A boosted link and a history restore replace the whole page, so they get the whole page.
    """
    htmx = details(request)
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def fragment_name(request: HttpRequest, fragments: Sequence[str]) -> str:
    """The fragment that ``request`` asks for: the one named like the target element, else the first; '' for a whole page."""
    if not fragments or not wants_fragment(request):
        return ""
    target = details(request).target
    return target if target and target in fragments else fragments[0]


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """To the sign-in page, and from there back to the page that the person was on: for a fragment that is the page around it.

    A plain redirect would be followed inside the fetch, and the sign-in page be swapped into a table.
    """
    if not wants_fragment(request):
        return redirect_to_login(request.get_full_path())
    # None when the header is missing, or names another site.
    back = details(request).current_url_abs_path or request.get_full_path()
    return HttpResponseClientRedirect(redirect_to_login(back).url)


def vary(response: HttpResponse) -> HttpResponse:
    """Tell caches that this address has two answers."""
    patch_vary_headers(response, ["HX-Request", "HX-Target"])
    return response
