"""Slack, by an incoming webhook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshportal.notify.transports import web

# Slack's limits: characters of a section, and blocks of a message.
_SECTION, _BLOCKS = 2900, 45


def send(config: Mapping[str, Any], content: Mapping[str, Any], key: str) -> None:
    """A headline, and one section for each kind of alert."""
    sections = [f"*{_escape(content['title'])}*\n{_escape(content['team'])}"]
    for block in content["blocks"]:
        lines = [_line(line) for line in block["lines"]]
        if block["more"]:
            lines.append(f"and {block['more']:,} more")
        if block["advice"]:
            lines.append(f"_{_escape(block['advice'])}_")
        head = f"{block['lead']}: {block['heading']}" if block["lead"] else block["heading"]
        sections.append("\n".join([f"*{_escape(head)}*", *lines]))
    if content["url"]:
        sections.append(f"<{content['url']}|Open the alerts>")
    drawn = [{"type": "section", "text": {"type": "mrkdwn", "text": text[:_SECTION]}} for text in sections[:_BLOCKS]]
    web.post(str(config["url"]), web.encoded({"text": _escape(f"{content['team']}: {content['title']}"), "blocks": drawn}))


def _line(line: Mapping[str, str]) -> str:
    words = _escape(line["words"])
    return f"• <{line['url']}|{words}>" if line["url"] else f"• {words}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
