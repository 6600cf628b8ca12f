"""Fault injection: rules that spoil chosen requests, a limited number of times.

A rule has a ``match`` and an ``action``. Every key of ``match`` must agree: ``mailbox``, ``route``, ``message_id``,
``method``, ``chunk`` and ``certificate`` (common name) take a value, a shell-style pattern or a list of them; ``nth`` (number or
list) counts the requests that agree otherwise, from 1. Route names: handshake, list, head, get, get_chunk, acknowledge,
count, send, send_chunk, track, track_local, lookup, search, ping, unknown. TLS refusals have no route. Requests that
the double refuses by itself (a replayed token, say) meet no rule, so that a fault never hides a client's mistake.
Actions are plain dictionaries made by the functions below. All rules that match one request act on it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

Action = dict[str, Any]
Match = Mapping[str, Any]
_KEYS = {"mailbox", "route", "message_id", "method", "chunk", "certificate", "nth"}


def drop(
    when: Literal["before_body", "during_body", "after", "during_answer"] = "before_body",
    *,
    reset: bool = False,
) -> Action:
    """Close the connection: before the request's body is read, in the middle of it, after the request was carried
    out but before the answer, or in the middle of the answer. ``reset`` sends a TCP reset instead of an orderly end.
    """
    if when == "during_answer":
        return {"kind": "truncate", "keep": 0.5, "declare": "full", "reset": reset}
    return {"kind": "drop", "when": when, "reset": reset}


def delay(seconds: float) -> Action:
    """Wait before the request is carried out."""
    return {"kind": "delay", "seconds": seconds}


def drip(*, block: int = 64, interval: float = 0.05) -> Action:
    """Send the answer's body in pieces of ``block`` bytes, ``interval`` seconds apart."""
    return {"kind": "drip", "block": block, "interval": interval}


def truncate(keep: float = 0.5, *, declare: Literal["actual", "full"] = "full") -> Action:
    """Send a part of the body: ``keep`` below 1 is a fraction, else bytes.

    ``full``: Content-Length tells the whole length and the connection ends early. ``actual``: Content-Length tells
    the cut length, so that only the content can betray the loss.
    """
    return {"kind": "truncate", "keep": keep, "declare": declare}


def cut_gzip(keep: float = 0.5) -> Action:
    """Send the body gzip-encoded, cut short, with the Content-Length of the cut body."""
    return {"kind": "truncate", "keep": keep, "declare": "actual", "gzip": True}


def status(
    code: int,
    body: str = "auto",
    *,
    event: str = "RECEIVE",
    error_code: str = "",
    message: str = "injected",
    retry_after: str | int | None = None,
    processed: bool = False,
) -> Action:
    """Answer with an error; see ``answers.canned`` for ``body``. With ``processed`` the request takes effect first."""
    return {
        "kind": "status",
        "code": code,
        "body": body,
        "event": event,
        "error_code": error_code,
        "message": message,
        "retry_after": None if retry_after is None else str(retry_after),
        "processed": processed,
    }


def redirect(location: str, code: int = 302) -> Action:
    """Answer with a redirect."""
    return {"kind": "redirect", "location": location, "code": code}


def skew_date(seconds: float) -> Action:
    """Tell a Date header that is ``seconds`` ahead of the double's clock (negative: behind)."""
    return {"kind": "skew_date", "seconds": seconds}


def header(name: str, value: str | None) -> Action:
    """Replace a header of the answer; None removes it."""
    return {"kind": "header", "name": name, "value": value}


def hang(seconds: float = 60.0, *, when: Literal["before_body", "after"] = "before_body") -> Action:
    """Say nothing for ``seconds`` or until the double stops, then close the connection."""
    return {"kind": "hang", "seconds": seconds, "when": when}


def refuse_tls(how: Literal["close", "reset", "alert", "after_handshake"] = "alert", *, alert: int = 48) -> Action:
    """Refuse a connection: close or reset it at once, answer the first bytes with a TLS alert (48 unknown_ca,
    40 handshake_failure, 45 certificate_expired), or close it silently after the handshake, as a TLS 1.3 server does
    that dislikes the client's certificate (only there can ``certificate`` be matched).
    """
    return {"kind": "refuse_tls", "how": how, "alert": alert}


@dataclass
class Rule:
    """One rule and how often it matched (without ``nth``) and acted."""

    number: int
    match: dict[str, Any]
    action: Action
    times: int | None
    seen: int = 0
    fired: int = field(default=0)


class Faults:
    """The rules of one double. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._next = 1

    def add(self, *, match: Match, action: Action, times: int | None = 1) -> int:
        """Add a rule that acts ``times`` times (None: always); gives its number. ValueError for an unknown key."""
        unknown = set(match) - _KEYS
        if unknown:
            raise ValueError(f"unknown match key: {', '.join(sorted(unknown))}")
        if "kind" not in action:
            raise ValueError("an action is made by one of the functions of this module")
        kept = dict(match)
        if action["kind"] == "refuse_tls":
            kept["route"] = "connected" if action["how"] == "after_handshake" else "connect"
        with self._lock:
            rule = Rule(self._next, kept, dict(action), times)
            self._next += 1
            self._rules.append(rule)
            return rule.number

    def remove(self, number: int) -> None:
        """Take a rule away; does nothing when it is gone."""
        with self._lock:
            self._rules = [rule for rule in self._rules if rule.number != number]

    def clear(self) -> None:
        """Take all rules away."""
        with self._lock:
            self._rules.clear()

    def fired(self, number: int) -> int:
        """How often a rule has acted; 0 when it is gone."""
        with self._lock:
            return next((rule.fired for rule in self._rules if rule.number == number), 0)

    def hits(self, facts: Mapping[str, Any]) -> list[Action]:
        """The actions for a request, in the order in which the rules were added; counts them."""
        with self._lock:
            actions = []
            for rule in self._rules:
                if rule.times is not None and rule.fired >= rule.times:
                    continue
                if not all(_agrees(want, facts.get(key)) for key, want in rule.match.items() if key != "nth"):
                    continue
                if (rule.action["kind"] == "refuse_tls") is not (facts["route"] in {"connect", "connected"}):
                    continue
                rule.seen += 1
                nth = rule.match.get("nth")
                if nth is not None and rule.seen not in (nth if isinstance(nth, (list, tuple, set)) else (nth,)):
                    continue
                rule.fired += 1
                actions.append(rule.action)
            return actions


def _agrees(want: Any, value: Any) -> bool:
    if isinstance(want, (list, tuple, set, frozenset)):
        return any(_agrees(one, value) for one in want)
    if value is None:
        return False
    return fnmatchcase(str(value), str(want))
