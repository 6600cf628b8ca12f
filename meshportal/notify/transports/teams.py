"""Microsoft Teams, by the URL of a workflow ("When a Teams webhook request is received"), as an Adaptive Card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from meshportal.notify.transports import web

_COLOURS = {"good": "Good", "warn": "Warning", "bad": "Attention"}
# A card may have 28 KB; what is longer the portal shows.
_LARGEST = 24_000
_MARKED = re.compile(r"([\\`*_\[\]()<>#~|])")


def send(config: Mapping[str, Any], content: Mapping[str, Any], key: str) -> None:
    """Posts the card, with fewer lines when it would be too large."""
    body = web.encoded(message(content))
    if len(body) > _LARGEST:
        shorter = [{**block, "lines": block["lines"][:2], "advice": ""} for block in content["blocks"][:20]]
        body = web.encoded(message({**content, "blocks": shorter}))
    web.post(str(config["url"]), body)


def message(content: Mapping[str, Any]) -> dict[str, Any]:
    """The document that a workflow takes."""
    parts: list[dict[str, Any]] = [
        _text(content["title"], size="Large", weight="Bolder", color=_COLOURS[content["tone"]]),
        _text(content["team"], isSubtle=True, spacing="None"),
    ]
    for block in content["blocks"]:
        head = f"{block['lead']}: {block['heading']}" if block["lead"] else block["heading"]
        parts.append(_text(head, weight="Bolder", separator=True))
        parts += [_line(line) for line in block["lines"]]
        if block["more"]:
            parts.append(_text(f"and {block['more']:,} more", spacing="None"))
        if block["advice"]:
            parts.append(_text(block["advice"], isSubtle=True))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": parts,
    }
    if content["url"]:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open the alerts", "url": content["url"]}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _text(words: str, **options: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "wrap": True, "text": _plain(words), **options}


def _line(line: Mapping[str, str]) -> dict[str, Any]:
    part = _text(line["words"], spacing="Small")
    if line["url"]:
        part["text"] = f"[{part['text']}]({line['url']})"
    return part


def _plain(text: str) -> str:
    """Text that shows as it stands: a card takes a part of Markdown for more than letters."""
    return _MARKED.sub(r"\\\1", text)
