"""The list of a team's certificates, and the same as a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from certificates import filters, selectors
from certificates.life import CertificateLife, certificate_life
from certificates.models import ClientIdentity
from meshportal.core import csvout
from meshportal.web.pages import TeamPage
from meshportal.web.sorting import Order, order_of, sort_links
from meshportal.web.time import in_london


@dataclass(frozen=True)
class Row:
    """A certificate as the list shows it."""

    identity: ClientIdentity
    life: CertificateLife
    used_by: int


class _Listed(TeamPage, abstract=True):
    """What the list and its file have in common."""

    capability = "certificate.view"
    http_method_names = ["get", "head", "options"]

    def chosen(self) -> tuple[QuerySet[Any], filters.CertificateFilters, Order]:
        """The rows after filters, the filters, and the order that the rows are in."""
        query = self.request.GET
        filter_set = filters.CertificateFilters(query, queryset=selectors.identities_of(self.team), request=self.request)
        order = order_of(filters.ORDERS, query.get("sort", ""), filters.DEFAULT_ORDER)
        return filters.in_order(filter_set.qs, order), filter_set, order


class CertificateList(_Listed):
    """Which certificate ends next?"""

    template_name = "certificates/list.html"
    fragments = ("rows",)
    page_size: ClassVar[int] = 50

    def context(self, **extra: Any) -> dict[str, Any]:
        now = timezone.now()
        rows, filter_set, order = self.chosen()
        pages = Paginator(rows, self.page_size)
        page = pages.get_page(self.request.GET.get("page"))
        return super().context(
            filter=filter_set,
            count=pages.count,
            any_certificate=pages.count > 0 or selectors.identities_of(self.team).exists(),
            asked_for=selectors.open_requests(self.team),
            page=page,
            rows=[Row(identity, certificate_life(identity, now), identity.used_by) for identity in page.object_list],
            order=order,
            sort_links=sort_links(filters.ORDERS, order, filters.LABELS),
            sort_kept="" if order == filters.DEFAULT_ORDER else order.key,
            query=self.request.GET.urlencode(),
            **extra,
        )


class CertificateExport(_Listed):
    """The certificates of the list, with its filters and order, as CSV."""

    HEADER = (
        "Name",
        "Common name",
        "Environment",
        "Can be used until (London time)",
        "Left",
        "Mailboxes",
        "Issuer",
        "Key",
        "Signature",
        "Serial number",
        "SHA-256 fingerprint",
    )

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        now = timezone.now()
        rows, _, _ = self.chosen()
        cells = (
            (
                identity.name,
                identity.subject_cn,
                identity.get_environment_display(),
                f"{in_london(identity.lapses_at):%Y-%m-%d %H:%M}",
                certificate_life(identity, now).words,
                identity.used_by,
                identity.issuer,
                f"{identity.key_kind} {identity.key_size or ''}".strip(),
                identity.signature,
                identity.serial,
                identity.fingerprint,
            )
            for identity in list(rows)
        )
        return csvout.response(f"certificates-{self.team.slug}.csv", self.HEADER, cells)
