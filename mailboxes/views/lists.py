"""The list of a team's mailboxes."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.paginator import Paginator
from django.utils import timezone

from mailboxes import filters, health, selectors
from meshportal.web.pages import TeamPage
from meshportal.web.sorting import order_of, sort_links


class MailboxList(TeamPage):
    """Which of ours are healthy? Those that need a person stand first.

    Numbered pages: a team's mailboxes are hundreds, and any column may sort them.
    """

    capability = "mailbox.view"
    template_name = "mailboxes/list.html"
    fragments = ("rows",)
    http_method_names = ["get", "head", "options"]
    page_size: ClassVar[int] = 50

    def context(self, **extra: Any) -> dict[str, Any]:
        now = timezone.now()
        query = self.request.GET
        everyone = selectors.with_standing(selectors.mailboxes_of(self.team), now)
        # Those that are closed stand in the list for whoever asks for them.
        asked = query.get("state") == filters.CLOSED
        shown = everyone if asked else everyone.filter(archived_at__isnull=True)
        filter_set = filters.MailboxFilters(query, queryset=shown, request=self.request)
        order = order_of(filters.ORDERS, query.get("sort", ""), filters.DEFAULT_ORDER)
        pages = Paginator(filters.in_order(filter_set.qs, order), self.page_size)
        page = pages.get_page(query.get("page"))
        return super().context(
            filter=filter_set,
            environment=selectors.only_environment(self.team),
            count=pages.count,
            in_need=filter_set.qs.order_by().filter(standing__in=health.NEEDS_A_PERSON).count(),
            any_mailbox=pages.count > 0 or everyone.exists(),
            page=page,
            rows=health.standings(page.object_list, now),
            order=order,
            sort_links=sort_links(filters.ORDERS, order, filters.LABELS),
            sort_kept="" if order == filters.DEFAULT_ORDER else order.key,
            meanings=health.meanings(),
            **extra,
        )
