"""NHS design system components from nhsuk-frontend-jinja, callable from Python.

The macros print ``html`` options as they are, attribute strings too, and print anything marked safe unescaped. Here text
is text whatever its marks, an ``html`` value that is not marked safe is escaped, and attributes must be named one by one:
what an author forgets is harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from django.utils.functional import Promise
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from jinja2 import ChainableUndefined, Environment, PackageLoader, TemplateNotFound


@cache
def _environment() -> Environment:
    # The macros read attributes of options that were not given, hence ChainableUndefined.
    return Environment(
        loader=PackageLoader("nhsuk_frontend_jinja"), autoescape=True, undefined=ChainableUndefined, auto_reload=False
    )


def macro_name(component: str) -> str:
    """``error-summary`` is made by the macro ``errorSummary``."""
    first, *rest = component.split("-")
    return first + "".join(word.capitalize() for word in rest)


@cache
def _macro(component: str) -> Callable[[Mapping[str, Any]], str]:
    try:
        module = _environment().get_template(f"nhsuk/components/{component}/macro.jinja").module
    except TemplateNotFound:
        raise ValueError(f"The NHS design system has no component {component!r}.") from None
    macro: Callable[[Mapping[str, Any]], str] = getattr(module, macro_name(component))
    return macro


def component(name: str, params: Mapping[str, Any]) -> SafeString:
    """The HTML of one component. Raises ValueError for a name that the design system does not have."""
    # Safe: autoescaped by Jinja, and `html` options are escaped by _harmless unless marked safe.
    return mark_safe(_macro(name)(_harmless(params)).strip())


def _harmless(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _harmless(inner, str(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(inner, key) for inner in value]
    if isinstance(value, Promise):
        value = str(value)
    if not isinstance(value, str):
        return value
    if key == "attributes":
        raise ValueError("Attributes of a component are given by name, not as one string.")
    if key.lower().endswith("html"):
        return conditional_escape(value)
    return str.__str__(value)


def options(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a template tag can spell them: ``error_message__text`` becomes ``{"errorMessage": {"text": …}}``.

    Below ``attributes`` an underscore is a hyphen: ``attributes__data_refresh`` becomes ``data-refresh``.
    """
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("__")
        inner = nested
        below_attributes = False
        for step in path:
            inner = inner.setdefault(step.replace("_", "-") if below_attributes else _camel(step), {})
            below_attributes = below_attributes or step == "attributes"
        inner[last.replace("_", "-") if below_attributes else _camel(last)] = value
    return nested


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
