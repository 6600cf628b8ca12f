"""Sortable columns: the orders that a list knows, and the heads that ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Order:
    """One way to sort a list: a sortable column in one direction."""

    column: str
    descending: bool
    words: str

    @property
    def key(self) -> str:
        """The value of ``sort`` in the address."""
        return f"-{self.column}" if self.descending else self.column


# For each column the direction that a first press gives comes first.
Orders = Mapping[str, tuple[Order, Order]]


@dataclass(frozen=True)
class SortLink:
    """The head of a sortable column. ``aria`` is a value of ``aria-sort``, or '' when the list has another order."""

    label: str
    value: str
    aria: str


def order_of(orders: Orders, value: str, default: Order) -> Order:
    """The order that ``sort`` in the address names; ``default`` when it names none."""
    return next((order for pair in orders.values() for order in pair if order.key == value), default)


def sort_links(orders: Orders, current: Order, labels: Mapping[str, str]) -> dict[str, SortLink]:
    """For each sortable column its head: pressing the one that sorts turns the order round."""
    links = {}
    for column, (first, second) in orders.items():
        sorts = current.column == column
        wanted = second if current == first else first
        aria = ("descending" if current.descending else "ascending") if sorts else ""
        links[column] = SortLink(labels[column], wanted.key, aria)
    return links
