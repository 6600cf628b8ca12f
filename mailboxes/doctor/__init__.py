"""The connection doctor: why does this mailbox not connect? One step after the other, each with its cause and its remedy.

What can go wrong, and where it is told:

- no shared key, certificate or trust bundle; an expired certificate, one of another environment, another's key: settings
- the name does not resolve: DNS; nothing listens, or a firewall swallows what is sent: network
- another authority's, an expired or another host's certificate; only TLS 1.1; a proxy that answers in clear: TLS
- our certificate refused, by an alert, a dropped connection or nginx's page: client certificate
- a web page, 407, 503, silence, slowness: answer
- a clock that is hours off; the password, the shared key, the mailbox ID; an inactive mailbox: clock and sign-in

Nothing is downloaded, acknowledged or sent. A step that fails ends the examination: what follows says so.
"""

from __future__ import annotations

from mailboxes.doctor.report import as_json, as_text
from mailboxes.doctor.results import Result, State, verdict
from mailboxes.doctor.steps import STEPS, examine

__all__ = ["STEPS", "Result", "State", "as_json", "as_text", "examine", "verdict"]
