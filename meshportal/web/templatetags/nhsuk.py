"""``{% nhsuk %}``: NHS design system components in Django templates; form fields drawn as such components."""

from __future__ import annotations

from typing import Any

from django import template
from django.forms import BaseForm, BoundField
from django.templatetags.static import static
from django.utils.safestring import SafeString

from meshportal.web import components, forms, vendor

register = template.Library()


@register.simple_tag
def nhsuk(name: str, params: dict[str, Any] | None = None, /, **options: Any) -> SafeString:
    """``{% nhsuk "button" text="Save" prevent_double_click=True %}``; nested options with two underscores, ``label__text``."""
    return components.component(name, {**(params or {}), **components.options(options)})


@register.simple_tag
def nhsuk_field(field: BoundField, **options: Any) -> SafeString:
    """One form field with label, hint and error, as the component that suits its widget."""
    return forms.render_field(field, components.options(options))


@register.simple_tag
def nhsuk_fields(form: BaseForm) -> SafeString:
    """Every field of a form, in order; hidden ones too."""
    return forms.render_fields(form)


@register.simple_tag
def nhsuk_error_summary(form: BaseForm | None) -> SafeString | str:
    """The error summary of a form: nothing when it has no errors; each entry leads to its field."""
    return forms.render_error_summary(form)


@register.simple_tag
def nhsuk_asset(path: str) -> str:
    """The address of a file that ``python -m meshportal.web.vendor`` put into ``static/vendor``."""
    return static(f"{vendor.static_folder()}/{path}")
