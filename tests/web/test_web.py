"""Closed by default, escaped by default, in plain words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from meshportal.web import masking, time
from meshportal.web.components import component, options
from meshportal.web.context import Can
from meshportal.web.forms import NhsFormMixin, render_error_summary, render_fields
from meshportal.web.pages import ActionPage, TeamPage


# --- Pages -----------------------------------------------------------------------------------------------------------
def test_a_page_without_a_capability_cannot_be_made() -> None:
    with pytest.raises(ImproperlyConfigured, match="declares no capability"):
        type("Open", (TeamPage,), {})
    with pytest.raises(ImproperlyConfigured, match="no role carries"):
        type("Misspelt", (TeamPage,), {"capability": "mailbox.veiw"})


def test_a_template_that_asks_for_an_unknown_capability_raises() -> None:
    with pytest.raises(ImproperlyConfigured):
        Can(None)["message_raed_body"]
    assert Can(None)["message_read_body"] is False


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "t/x/"]
)
def test_an_act_never_leads_to_another_site(target: str) -> None:
    class Act(ActionPage):
        capability = "mailbox.poll"

        def act(self, form: Any) -> str:
            return "Done."

        def return_url(self) -> str:
            return "/home/"

    page = Act()
    page.request = RequestFactory().post("/", {"next": target})  # type: ignore[assignment]
    assert page._back() == "/home/"
    page.request = RequestFactory().post("/", {"next": "/t/midshire/"})  # type: ignore[assignment]
    assert page._back() == "/t/midshire/"


# --- Masks ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("written", ["9990000018", "999 000 0018", "999-000-0018", "NHS9990000018.txt", "x_9990000018_y"])
def test_an_nhs_number_is_hidden_however_it_is_written(written: str) -> None:
    masked = masking.mask_numbers(written)
    assert "0000018" not in masked.replace(" ", "").replace("-", "")
    assert masking.HIDDEN_NUMBER in masked


@pytest.mark.parametrize("written", ["9990000019", "20261124030517123456_ABCDEF", "02079460000", "12345"])
def test_another_number_stays(written: str) -> None:
    assert masking.mask_numbers(written) == written


@given(st.text(max_size=300))
def test_a_masked_text_holds_no_valid_number(text: str) -> None:
    masked = masking.mask_numbers(text)
    assert masking.mask_numbers(masked) == masked


def test_a_subject_is_only_measured() -> None:
    assert masking.mask_subject("Discharge of Mrs Jones") == "Hidden, 22 characters"
    assert masking.mask_subject("x") == "Hidden, 1 character"
    assert masking.mask_subject("  ") == ""


# --- Escaping -------------------------------------------------------------------------------------------------------------
HOSTILE = "<script>alert(1)</script>\"'&"


def rendered(template: str, **context: Any) -> str:
    return Template("{% load portal nhsuk %}" + template).render(Context(context))


@pytest.mark.parametrize(
    "template",
    [
        "{{ text|breakable }}",
        "{{ text|masked_numbers }}",
        "{% tag text 'bad' %}",
        "{% copy_id text %}",
        "{% crumb text '/x/' %}",
        "{% nhsuk 'button' text=text %}",
        "{% nhsuk 'inset-text' html=text %}",
        "{% nhsuk 'button' text='x' attributes__data_x=text %}",
    ],
)
def test_text_of_a_sender_is_never_markup(template: str) -> None:
    assert "<script" not in rendered(template, text=HOSTILE)


def test_attributes_come_one_by_one() -> None:
    with pytest.raises(ValueError, match="by name"):
        component("button", {"text": "x", "attributes": 'onclick="alert(1)"'})
    with pytest.raises(ValueError, match="no component"):
        component("no-such-thing", {})
    assert options({"label__text": "x", "attributes__data_refresh": "5"}) == {
        "label": {"text": "x"},
        "attributes": {"data-refresh": "5"},
    }


def test_a_form_says_what_to_enter_and_leads_to_the_field() -> None:
    class Form(NhsFormMixin, forms.Form):
        name = forms.CharField(label="Mailbox name")
        mode = forms.ChoiceField(label="Mode", choices=[("a", "A"), ("b", "B")], widget=forms.RadioSelect)

    form = Form(data={})
    assert not form.is_valid()
    summary = str(render_error_summary(form))
    assert "Enter the mailbox name" in summary
    assert "Select the mode" in summary
    assert 'href="#id_name"' in summary
    drawn = str(render_fields(form))
    assert 'id="id_name"' in drawn
    assert "Error:" in drawn
    assert "required" not in drawn


# --- Times ------------------------------------------------------------------------------------------------------------------
def test_times_are_london_times_with_the_zone_said() -> None:
    winter, summer = datetime(2026, 11, 24, 14, 5, 9, tzinfo=UTC), datetime(2026, 7, 1, 14, 5, tzinfo=UTC)
    assert time.london(winter) == "24 Nov 2026, 14:05 GMT"
    assert time.london(winter, seconds=True) == "24 Nov 2026, 14:05:09 GMT"
    assert time.london(summer) == "1 Jul 2026, 15:05 BST"
    with pytest.raises(ValueError, match="zone"):
        time.london(datetime(2026, 1, 1))  # noqa: DTZ001  that is the point


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(days=2, hours=4, minutes=3), "2 days 4 hours"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(days=1, minutes=5), "1 day"),
        (timedelta(0), "0 seconds"),
        (-timedelta(seconds=61), "1 minute 1 second"),
    ],
)
def test_spans_in_words(span: timedelta, words: str) -> None:
    assert time.span_words(span) == words


def test_a_day_of_the_clock_change_has_25_hours() -> None:
    start, end = time.london_day(datetime(2026, 10, 25, tzinfo=UTC).date())
    assert end - start == timedelta(hours=25)
    for edge in (date.min, date.max):
        time.london_day(edge)


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_200_000, "1.2 MB"), (2 * 10**10, "20 GB")]
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert rendered("{{ size|filesize }}", size=size) == words


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(minutes=1), "minute"),
        (timedelta(hours=1), "hour"),
        (timedelta(minutes=5), "5 minutes"),
        (timedelta(hours=1, minutes=1), "1 hour 1 minute"),
        (timedelta(minutes=11), "11 minutes"),
        (None, ""),
    ],
)
def test_one_of_something_is_said_without_its_number(span: timedelta | None, words: str) -> None:
    template = Template("{% load portal %}every {{ span|span_each }}")
    assert template.render(Context({"span": span})) == f"every {words}"
