"""Django form fields drawn as NHS design system components, and the error summary above them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from meshportal.web.components import component

# What the widget says of itself, that the component says too or that must not stand in the page.
_TAKEN = frozenset({"class", "id", "name", "type", "value", "required", "autocomplete", "inputmode", "aria-describedby"})
_CHOOSING = (forms.Select, forms.RadioSelect, forms.CheckboxSelectMultiple, forms.FileInput)


class NhsFormMixin:
    """For every form of the portal: errors say what to enter, and the browser's own bubbles stay away."""

    use_required_attribute = False
    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain = forms.Field.default_error_messages["required"]
        for name, field in self.fields.items():
            if field.required and field.error_messages.get("required") == plain:
                field.error_messages["required"] = _missing(field, str(field.label or name.replace("_", " ")))


class PeriodForm(forms.Form):
    """A filter form that checks its period: ``since`` and ``until``."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("since"), cleaned.get("until")
        if first and last and last < first:
            self.add_error("until", "The period ends before it begins.")
        return cleaned


def text_filter(label: str, limit: int) -> dict[str, Any]:
    """What a text filter says of itself: no browser sends more than it takes, and a wrong value gets a sentence."""
    return {
        "label": label,
        "max_length": limit,
        "widget": forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "maxlength": limit}),
        "error_messages": {
            "max_length": f"“{label}” takes at most {limit} characters.",
            "null_characters_not_allowed": f"“{label}” holds a character that no text here can hold.",
        },
    }


def choice_filter(label: str) -> dict[str, Any]:
    """The same for a filter with choices."""
    said = f"“{label}” has no such choice."
    return {"label": label, "empty_label": "All", "error_messages": {"invalid_choice": said, "invalid_pk_value": said}}


def render_field(field: BoundField, overrides: Mapping[str, Any] | None = None) -> SafeString:
    """One field with label, hint and error. Raises TypeError for a widget that no component stands for."""
    widget = field.field.widget
    if widget.is_hidden:
        return field.as_hidden()
    for kind, draw in _DRAWN:
        if isinstance(widget, kind):
            name, params = draw(field)
            return component(name, _merged(params, overrides or {}))
    raise TypeError(f"No NHS component is known for {type(widget).__name__} of field {field.name!r}.")


def render_fields(form: forms.BaseForm) -> SafeString:
    """Every field of ``form`` in order, hidden ones last."""
    drawn = [render_field(field) for field in form.visible_fields()]
    drawn += [field.as_hidden() for field in form.hidden_fields()]
    return mark_safe("\n".join(drawn))  # Each part is safe already.


def render_error_summary(form: forms.BaseForm | None) -> SafeString | str:
    """The list of a bound form's errors; each entry leads to its field, those of the whole form to the first field."""
    if not form or not form.errors:
        return ""
    visible = form.visible_fields()
    first = visible[0].id_for_label if visible else ""
    hidden = [error for field in form.hidden_fields() for error in field.errors]
    entries = [_entry(error, first) for error in [*form.non_field_errors(), *hidden]]
    entries += [_entry(field.errors[0], anchor(field)) for field in visible if field.errors]
    return component("error-summary", {"heading": {"text": "There is a problem"}, "errorList": entries})


def anchor(field: BoundField) -> str:
    """The id of the element that an error of ``field`` leads to: the input, or the first of its choices."""
    return field.auto_id or field.html_name


def _entry(error: Any, target: str) -> dict[str, Any]:
    return {"text": str(error), "href": f"#{target}"} if target else {"text": str(error)}


def _missing(field: forms.Field, label: str) -> str:
    if isinstance(field.widget, forms.CheckboxInput):
        return f"Tick the box “{label}”"
    inside = label if label[1:2].isupper() else label[:1].lower() + label[1:]
    return f"{'Select' if isinstance(field.widget, _CHOOSING) else 'Enter'} the {inside}"


def _label(field: BoundField) -> str:
    return str(field.label) if field.field.required else f"{field.label} (optional)"


def _common(field: BoundField) -> dict[str, Any]:
    widget = field.field.widget
    params: dict[str, Any] = {
        "id": anchor(field),
        "name": field.html_name,
        "label": {"text": _label(field)},
        "attributes": {key: value for key, value in widget.attrs.items() if key not in _TAKEN and value is not False},
    }
    for html, option in (("autocomplete", "autocomplete"), ("inputmode", "inputmode"), ("class", "classes")):
        if html in widget.attrs:
            params[option] = widget.attrs[html]
    if "aria-describedby" in widget.attrs:
        params["describedBy"] = widget.attrs["aria-describedby"]
    if field.field.disabled:
        params["disabled"] = True
    params.update(_hint_and_error(field))
    return params


def _hint_and_error(field: BoundField) -> dict[str, Any]:
    params: dict[str, Any] = {}
    if field.help_text:
        # Django's own help texts, such as the password rules, are lists in HTML and marked safe.
        params["hint"] = {"html": conditional_escape(field.help_text)}
    if field.errors:
        params["errorMessage"] = {"text": str(field.errors[0])}
    return params


def _text_of(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        value = value.date()
    return value.isoformat() if isinstance(value, date) else str(value)


def _input(field: BoundField) -> tuple[str, dict[str, Any]]:
    widget = field.field.widget
    kind = "date" if isinstance(widget, forms.DateInput) else str(widget.attrs.get("type", getattr(widget, "input_type", "text")))
    given = field.value()
    shown = _text_of(given) if kind == "date" else widget.format_value(given)
    params = {**_common(field), "type": kind, "value": shown}
    if kind in {"email", "url"}:
        params["spellcheck"] = False
    return "input", params


def _password(field: BoundField) -> tuple[str, dict[str, Any]]:
    # Most passwords here are a mailbox's, which a browser must not offer to keep; the sign-in form says otherwise itself.
    return "password-input", {"autocomplete": "off", **_common(field)}


def _textarea(field: BoundField) -> tuple[str, dict[str, Any]]:
    params = {**_common(field), "value": _text_of(field.value()) or ""}
    attributes = params["attributes"]
    rows = str(attributes.pop("rows", ""))
    # Django says 10 rows of 40 columns for every text area; the portal's are as wide as their form and start small.
    params["rows"] = "4" if attributes.pop("cols", "") == "40" and rows == "10" else rows
    return "textarea", params


def _file(field: BoundField) -> tuple[str, dict[str, Any]]:
    return "file-upload", {**_common(field), "multiple": getattr(field.field.widget, "allow_multiple_selected", False)}


def _choices(field: BoundField) -> list[dict[str, Any]]:
    widget: Any = field.field.widget
    chosen = widget.format_value(field.value())
    groups = widget.optgroups(field.html_name, chosen if isinstance(chosen, list) else [str(chosen or "")])
    return [
        {"value": str(option["value"] or ""), "text": str(option["label"]), "chosen": bool(option["selected"])}
        for _, group, _ in groups
        for option in group
    ]


def _select(field: BoundField) -> tuple[str, dict[str, Any]]:
    items = [{"value": found["value"], "text": found["text"], "selected": found["chosen"]} for found in _choices(field)]
    return "select", {**_common(field), "items": items}


def _radios(field: BoundField) -> tuple[str, dict[str, Any]]:
    return "radios", _boxes(field)


def _checkboxes(field: BoundField) -> tuple[str, dict[str, Any]]:
    return "checkboxes", _boxes(field)


def _boxes(field: BoundField) -> dict[str, Any]:
    # A form may say what each choice means: ``hints`` of the field, by value.
    hints: Mapping[str, str] = getattr(field.field, "hints", {})
    items = [
        {
            "value": found["value"],
            "text": found["text"],
            "checked": found["chosen"],
            **({"hint": {"text": hints[found["value"]]}} if found["value"] in hints else {}),
        }
        for found in _choices(field)
    ]
    return {
        "idPrefix": anchor(field),
        "name": field.html_name,
        "fieldset": {"legend": {"text": _label(field)}},
        "small": True,
        "items": items,
        **_hint_and_error(field),
    }


def _one_box(field: BoundField) -> tuple[str, dict[str, Any]]:
    item = {"value": "on", "text": str(field.label), "checked": bool(field.value())}
    return "checkboxes", {
        "idPrefix": anchor(field),
        "name": field.html_name,
        "small": True,
        "items": [item],
        **_hint_and_error(field),
    }


def _merged(params: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(params)
    for key, value in overrides.items():
        before = merged.get(key)
        merged[key] = _merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged


# The first match draws: subclasses stand before their bases.
_DRAWN: tuple[tuple[type[forms.Widget], Callable[[BoundField], tuple[str, dict[str, Any]]]], ...] = (
    (forms.PasswordInput, _password),
    (forms.FileInput, _file),
    (forms.CheckboxSelectMultiple, _checkboxes),
    (forms.RadioSelect, _radios),
    (forms.Select, _select),
    (forms.CheckboxInput, _one_box),
    (forms.Textarea, _textarea),
    (forms.widgets.Input, _input),
)
