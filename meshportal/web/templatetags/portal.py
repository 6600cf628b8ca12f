"""Filters and small tags that pages of the portal share: times, sizes, masks, state tags, links that keep the query."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import template
from django.http import QueryDict
from django.utils import timezone
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from meshportal.web import masking, time
from meshportal.web.environments import ENVIRONMENTS

register = template.Library()

# A shape for each tone, drawn in a box of 12: the word says what it is, the shape says it without colour.
_SHAPES = {
    "good": "M6 0a6 6 0 1 0 0 12A6 6 0 0 0 6 0Zm3.4 4.4L5.2 9 2.6 6.5l.9-1 1.6 1.6 3.3-3.7Z",
    "busy": "M6 0a6 6 0 1 0 0 12A6 6 0 0 0 6 0Zm.7 2.5v3.2l2.2 1.6-.8 1.1-2.8-2V2.5Z",
    "warn": "M6 .5 12 11.5H0ZM5.3 4.4v3.5h1.4V4.4Zm0 4.4v1.4h1.4V8.8Z",
    "bad": "M3.6 0h4.8L12 3.6v4.8L8.4 12H3.6L0 8.4V3.6Zm.3 2.9-1 1L5 6 2.9 8.1l1 1L6 7l2.1 2.1 1-1L7 6l2.1-2.1-1-1L6 5Z",
    "quiet": "M6 0a6 6 0 1 0 0 12A6 6 0 0 0 6 0ZM2.8 5.3h6.4v1.4H2.8Z",
    "info": "M6 0a6 6 0 1 0 0 12A6 6 0 0 0 6 0ZM5.3 2.4h1.4v1.5H5.3Zm0 2.6h1.4v4.6H5.3Z",
}


@register.filter
def london(moment: datetime | None) -> SafeString | str:
    """``<time>`` reading ``24 Nov 2026, 14:05 GMT``; nothing for None."""
    return _time(moment, time.london(moment)) if moment else ""


@register.filter
def london_seconds(moment: datetime | None) -> SafeString | str:
    """As ``london``, with seconds: for timelines and the audit."""
    return _time(moment, time.london(moment, seconds=True)) if moment else ""


@register.filter
def london_short(moment: datetime | None) -> SafeString | str:
    """``14:05`` today, ``Fri 14:05`` within six days, else the date; the whole time in the tooltip and the machine value."""
    if not moment:
        return ""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), time.london(moment), time.london_short(moment)
    )


@register.filter
def age(moment: datetime | None) -> str:
    """``2 days 4 hours``: how long ago (or ahead) ``moment`` is."""
    return time.age_words(moment) if moment else ""


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """``3 hours 5 minutes ago`` or ``in 2 days``, with the exact time as tooltip."""
    if not moment:
        return ""
    words = time.age_words(moment)
    words = f"in {words}" if moment > timezone.now() else f"{words} ago"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), time.london(moment), words)


@register.filter
def ago_about(moment: datetime | None) -> SafeString | str:
    """As ``ago``, in its largest unit only, for dense tables: ``3 hours ago``."""
    if not moment:
        return ""
    words = time.span_words(timezone.now() - moment, parts=1)
    words = f"in {words}" if moment > timezone.now() else f"{words} ago"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), time.london(moment), words)


@register.filter
def span(length: timedelta | None) -> str:
    """A length of time in words, ``5 minutes``; nothing for None."""
    return "" if length is None else time.span_words(length)


@register.filter
def span_each(length: timedelta | None) -> str:
    """As ``span``, behind "every" and "the last": ``5 minutes``, but ``minute`` for one."""
    words = span(length)
    number, _, unit = words.partition(" ")
    return unit if number == "1" and " " not in unit else words


@register.filter
def filesize(number: int | None) -> str:
    """Bytes in words of powers of 1,000, as NHS sites write them: ``0 bytes``, ``812 bytes``, ``1.2 MB``."""
    if number is None:
        return ""
    size = float(number)
    if size < 1000:
        return f"{number} byte{'' if number == 1 else 's'}"
    for unit in ("KB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5 or unit == "TB":
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"


@register.filter
def masked(subject: str | None) -> str:
    """A subject that may hold patient data: says only that there is one, and its length."""
    return masking.mask_subject(subject or "")


@register.filter
def masked_numbers(text: str | None) -> str:
    """``text`` with every valid NHS number hidden."""
    return masking.mask_numbers(text or "")


@register.filter
def breakable(identifier: str) -> SafeString:
    """An identifier that a narrow column may break after its underscores rather than in the middle of a word."""
    return mark_safe(conditional_escape(identifier).replace("_", "_<wbr>"))  # Escaped on this very line.


@register.simple_tag
def tag(text: str, tone: str = "quiet") -> SafeString:
    """A state: word and shape. Tones: good, busy, warn, bad, quiet, info; another one raises KeyError."""
    return format_html(
        '<strong class="portal-tag portal-tag--{}"><svg class="portal-tag__shape" viewBox="0 0 12 12" width="12" height="12" '
        'aria-hidden="true" focusable="false"><path fill="currentcolor" fill-rule="evenodd" d="{}"/></svg>{}</strong>',
        tone,
        _SHAPES[tone],
        text,
    )


@register.simple_tag
def environment_tag(key: str) -> SafeString:
    """LIVE, INT or SANDBOX; an unknown environment raises KeyError."""
    found = ENVIRONMENTS[key]
    return format_html(
        '<strong class="portal-environment portal-environment--{}">'
        '<span class="nhsuk-u-visually-hidden">Environment: </span>{}</strong>',
        found.key,
        found.tag,
    )


@register.simple_tag
def copy_id(value: Any, label: str = "") -> SafeString | str:
    """An identifier in monospace with a copy button (the button shows where scripts run)."""
    text = str(value or "")
    if not text:
        return ""
    return format_html(
        '<span class="portal-id"><code class="portal-id__text">{}</code><button type="button" class="portal-id__copy" '
        'data-copy="{}" hidden>{}<span class="nhsuk-u-visually-hidden">{} {}</span></button></span>',
        text,
        text,
        _COPY_ICON,
        label or "Copy",
        text,
    )


@register.simple_tag
def clock_bar(start: datetime, end: datetime, label: str, soon_days: int = 1) -> SafeString:
    """How much of a period is over, as a bar with words: ``Leaves the inbox in 2 days 4 hours (24 Nov 2026, 14:05 GMT)``.

    Red from the end on, amber in the last ``soon_days`` days.
    """
    now = timezone.now()
    whole = (end - start).total_seconds()
    part = 1.0 if whole <= 0 else min(max((now - start).total_seconds() / whole, 0.0), 1.0)
    over = now >= end
    tone = "bad" if over else "warn" if (end - now).total_seconds() <= soon_days * 86_400 else "quiet"
    words = f"{time.age_words(end)} ago" if over else f"in {time.age_words(end)}"
    return format_html(
        '<div class="portal-clock portal-clock--{}"><p class="portal-clock__words"><span>{}</span> <strong>{}</strong> '
        '<span class="portal-clock__when">{}</span></p><svg class="portal-clock__bar" viewBox="0 0 100 6" '
        'preserveAspectRatio="none" aria-hidden="true" focusable="false"><rect class="portal-clock__track" width="100" '
        'height="6"/><rect class="portal-clock__done" width="{}" height="6"/></svg></div>',
        tone,
        label,
        words,
        _time(end, time.london(end)),
        f"{part * 100:.1f}",
    )


@register.simple_tag(takes_context=True)
def page_link(context: template.Context, **changes: Any) -> str:
    """This page's address with query values changed: ``{% page_link cursor=page.older %}``; None and '' remove a value."""
    request = context["request"]
    query: QueryDict = request.GET.copy()
    for name, value in changes.items():
        if value is None or value == "":
            query.pop(name, None)
        else:
            query[name] = str(value)
    return f"{request.path}?{query.urlencode()}" if query else str(request.path)


@register.simple_tag
def crumb(label: str, url: str) -> SafeString:
    """One step of the breadcrumb, for the block ``breadcrumb``."""
    return format_html('<li class="portal-breadcrumb__step"><a class="portal-breadcrumb__link" href="{}">{}</a></li>', url, label)


@register.simple_tag
def zone_note() -> str:
    """``Times are London time (GMT).``"""
    return f"Times are London time ({time.zone_name()})."


@register.filter
def active_filters(form: Any) -> int:
    """How many fields of a bound filter form are set."""
    if form is None or not form.is_bound:
        return 0
    return sum(1 for name in form.fields if form.data.get(form.add_prefix(name)))


def _time(moment: datetime, words: str) -> SafeString:
    return format_html('<time datetime="{}">{}</time>', moment.isoformat(), words)


_COPY_ICON = mark_safe(
    '<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" focusable="false"><path fill="currentcolor" '
    'd="M5 1h8a2 2 0 0 1 2 2v8h-2V3H5Zm-2 3h6a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H3a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2Zm0 2v7h6V6Z"/></svg>'
)
