"""The MESH API for one mailbox::

    context = tls_context(certificate_pem, private_key_pem, ca_pem)
    with Connection("https://msg.intspineservices.nhs.uk", ssl_context=context) as connection:
        client = MeshClient(connection, mailbox_id="X26HC001", password=..., shared_key=...)
        client.handshake()
        for page in client.iter_inbox_pages():
            for message_id in page.message_ids:
                with client.download(message_id) as download:
                    keep(download)            # durably
                client.acknowledge(message_id)    # MESH deletes it

Nothing acknowledges by itself, nothing repeats the first POST of a message by itself, and every attempt has a token of
its own. All methods raise the errors of :mod:`meshportal.mesh.errors`.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from meshportal.mesh import errors
from meshportal.mesh.auth import Signer
from meshportal.mesh.body import Payload
from meshportal.mesh.connection import VERSION, Answer, Connection
from meshportal.mesh.download import Download, is_message
from meshportal.mesh.exchange import V1, V2, Exchange, segment, usable, utc_now
from meshportal.mesh.sending import Sender
from meshportal.mesh.upload import DEFAULT_CHUNK_SIZE
from meshportal.mesh.wire import EndpointMatch, InboxPage, MessageHeaders, SendReceipt, Tracking

log = logging.getLogger("meshportal.mesh")

_MOST_EMPTY_PAGES = 100
# MESH API specification, Check an inbox: at most 1000.
_LONGEST_TOKEN = 4000


class MeshClient:
    """One mailbox on a kept :class:`Connection`; cheap to make. Not to be shared between threads (the connection may be).

    ``mailbox_id`` is upper-cased. ``now`` gives the current time, aware; tests replace it. Raises InvalidRequest for a
    mailbox id that cannot stand in an address.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        mailbox_id: str,
        password: str,
        shared_key: str,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.mailbox_id = mailbox_id.upper()
        self._connection = connection
        self._mailbox = f"/{segment(self.mailbox_id, 'mailbox id')}"
        self._exchange = Exchange(connection, Signer(self.mailbox_id, password, shared_key), now)
        self._sender = Sender(self._exchange, self._mailbox, connection.retry, self.track)

    @property
    def clock_skew(self) -> timedelta | None:
        """Our clock minus the service's, by its last answer that had a Date; None before that. Whole seconds are exact."""
        return self._exchange.clock_skew

    @property
    def server_chain(self) -> tuple[bytes, ...]:
        """The certificates (DER) of the server that answered last; see :meth:`Answer.server_chain`."""
        return self._exchange.server_chain

    def __repr__(self) -> str:
        return f"<MeshClient {self.mailbox_id} at {self._connection.base_url}>"

    # --- The mailbox --------------------------------------------------------------------------------------------------
    def handshake(self) -> None:
        """Tells MESH that this mailbox is alive, once every 24 hours (MESH API specification, Validate a mailbox)."""
        audit = {
            "Mex-ClientVersion": f"meshportal=={VERSION}",
            "Mex-OSName": platform.system() or "unknown",
            "Mex-OSVersion": platform.release() or "unknown",
            "Mex-OSArchitecture": platform.machine() or "unknown",
            "Mex-JavaVersion": "N/A",
        }
        headers = {name: value.encode("latin-1", "replace") for name, value in audit.items()}
        self._exchange.ask_done(self._exchange.call("POST", "handshake", self._mailbox, headers=headers))

    # --- The inbox ----------------------------------------------------------------------------------------------------
    def inbox_page(
        self, *, max_results: int = 500, continue_from: str | None = None, workflow_filter: str | None = None
    ) -> InboxPage:
        """One page of the inbox (MESH API specification, Check an inbox). ``max_results`` is 10 to 5000."""
        query: dict[str, Any] = {"max_results": max_results}
        if continue_from:
            query["continue_from"] = continue_from
        if workflow_filter:
            query["workflow_filter"] = workflow_filter
        path = f"{self._mailbox}/inbox?{urlencode(query)}"
        content = self._exchange.ask_json(self._exchange.call("GET", "list", path))
        listed = content.get("messages") if isinstance(content, Mapping) else None
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise errors.UnexpectedAnswer("The answer is not a listing of an inbox.", status=200)
        ids = tuple(one for one in listed if usable(one))
        if len(ids) < len(listed):
            log.warning("inbox of %s lists %d ids that cannot be addressed", self.mailbox_id, len(listed) - len(ids))
        about = content.get("approx_inbox_count")
        return InboxPage(
            message_ids=ids,
            continue_from=_continuation(content),
            approx_count=about if isinstance(about, int) and not isinstance(about, bool) and about >= 0 else None,
        )

    def iter_inbox_pages(self, *, max_results: int = 500, workflow_filter: str | None = None) -> Iterator[InboxPage]:
        """All pages, each id once. Read them to the end before you acknowledge: a page token can lose its place.

        Ends when a page that lists something brings nothing new, or a token comes again: some servers start over from
        the beginning. An empty page is no end: with a filter, more may follow.
        """
        seen: set[str] = set()
        tokens: set[str] = set()
        token: str | None = None
        empty = 0
        while True:
            page = self.inbox_page(max_results=max_results, continue_from=token, workflow_filter=workflow_filter)
            new = tuple(dict.fromkeys(one for one in page.message_ids if one not in seen))
            seen.update(new)
            yield InboxPage(message_ids=new, continue_from=page.continue_from, approx_count=page.approx_count)
            empty = 0 if page.message_ids else empty + 1
            token = page.continue_from
            stuck = (page.message_ids and not new) or empty > _MOST_EMPTY_PAGES
            if token is None or token in tokens or stuck:
                return
            tokens.add(token)

    def head(self, message_id: str) -> MessageHeaders:
        """A message's headers without its body; changes nothing (MESH API specification, Get Message)."""
        call = self._exchange.call("HEAD", "head", self._message(message_id), message_id=message_id)
        answer, _ = self._exchange.ask(call, expected=(200, 206))
        headers = MessageHeaders.parse(answer.headers)
        if not is_message(headers):
            raise errors.UnexpectedAnswer("The answer carries no MESH headers, so it is no message.", status=answer.status)
        return headers

    def download(self, message_id: str, *, max_bytes: int | None = None) -> Download:
        """A message, chunk after chunk, streamed; see :class:`Download`. ``max_bytes`` limits the decoded body."""
        path = self._message(message_id)

        def fetch(number: int, attempt: int) -> Answer:
            # MESH API specification, Get Message chunk: the first chunk is the message's own address.
            route, target = ("get", path) if number == 1 else ("get_chunk", f"{path}/{number}")
            call = self._exchange.call("GET", route, target, gzip=True, message_id=message_id)
            return self._exchange.open(call, attempt, expected=(200, 206))

        return Download(fetch, message_id, policy=self._connection.retry, max_bytes=max_bytes)

    def acknowledge(self, message_id: str) -> None:
        """Takes a message out of the inbox for good (MESH API specification, Acknowledge message).

        Only for a message whose every byte is durable. NotFound or Gone on a repeat means that it was done already.
        """
        path = f"{self._message(message_id)}/status/acknowledged"
        self._exchange.ask_done(self._exchange.call("PUT", "acknowledge", path, message_id=message_id))

    def _message(self, message_id: str) -> str:
        return f"{self._mailbox}/inbox/{segment(message_id, 'message id')}"

    # --- Sending --------------------------------------------------------------------------------------------------------
    def send(
        self,
        payload: Payload,
        *,
        recipient: str,
        workflow_id: str,
        subject: str = "",
        local_id: str = "",
        file_name: str = "",
        content_type: str = "",
        checksum: str = "",
        encrypted: bool = False,
        compressed: bool = False,
        size: int | None = None,
        chunk_size: int = DEFAULT_CHUNK_SIZE,
        compress: bool = False,
        on_accepted: Callable[[str], None] | None = None,
        before_chunk: Callable[[int], None] | None = None,
        on_chunk: Callable[[int], None] | None = None,
    ) -> SendReceipt:
        """Sends a message, in chunks when it is larger than ``chunk_size`` bytes, streamed.

        MESH API specification, Send message and Send chunked message. ``size`` (bytes) is needed when ``payload`` is a
        function. ``compress`` gzips each chunk for the way; ``encrypted`` and ``compressed`` only tell the recipient
        what the payload is. ``on_accepted`` gets the message id as soon as MESH gave it, before any further chunk:
        commit it there. ``before_chunk`` gets the number of each later chunk before it is sent, ``on_chunk`` once MESH took it.

        The first request is never repeated once a byte of it may have left: then SendUncertain is raised. Later chunks
        are; when one fails for good, the error carries the message id and :meth:`resume` continues.
        """
        return self._sender.send(
            payload,
            size=size,
            chunk_size=chunk_size,
            compress=compress,
            on_accepted=on_accepted,
            before_chunk=before_chunk,
            on_chunk=on_chunk,
            facts={
                "recipient": recipient,
                "workflow_id": workflow_id,
                "subject": subject,
                "local_id": local_id,
                "file_name": file_name,
                "content_type": content_type,
                "checksum": checksum,
                "encrypted": encrypted,
                "compressed": compressed,
            },
        )

    def resume(
        self,
        message_id: str,
        payload: Payload,
        *,
        next_chunk: int,
        chunk_size: int,
        compress: bool,
        size: int | None = None,
        before_chunk: Callable[[int], None] | None = None,
        on_chunk: Callable[[int], None] | None = None,
    ) -> SendReceipt:
        """Sends chunk ``next_chunk`` (from 2) and those after it of a message that MESH accepted the first chunk of.

        ``payload``, ``size``, ``chunk_size`` and ``compress`` must be those of :meth:`send`. A chunk may be sent twice.
        """
        return self._sender.resume(
            message_id,
            payload,
            size=size,
            next_chunk=next_chunk,
            chunk_size=chunk_size,
            compress=compress,
            before_chunk=before_chunk,
            on_chunk=on_chunk,
        )

    # --- What became of it ------------------------------------------------------------------------------------------------
    def track(self, message_id: str, *, version: int = 2) -> Tracking:
        """What MESH knows of a message of ours; not to be asked often (MESH API specification, Track outbox).

        Version 1 also says when the recipient acknowledged, the size and the number of chunks. Raises NotFound.
        """
        path = f"{self._mailbox}/outbox/tracking?{urlencode({'messageID': message_id})}"
        accept = V2 if version == 2 else V1
        call = self._exchange.call("GET", "track", path, message_id=message_id, accept=accept)
        return self._tracking(self._exchange.ask_json(call))

    def track_by_local_id(self, local_id: str) -> Tracking:
        """The same by our own reference; version 1, deprecated. Raises NotFound, and NotUnique when several have it."""
        path = f"{self._mailbox}/outbox/tracking/{segment(local_id, 'local id', longest=300)}"
        return self._tracking(self._exchange.ask_json(self._exchange.call("GET", "track_local", path, accept=V1)))

    @staticmethod
    def _tracking(content: Any) -> Tracking:
        if not isinstance(content, Mapping):
            raise errors.UnexpectedAnswer("The answer is not a tracking record.", status=200)
        found = Tracking.parse(content)
        if not found.message_id:
            raise errors.UnexpectedAnswer("The answer is not a tracking record.", status=200)
        return found

    # --- Who is where -------------------------------------------------------------------------------------------------------
    def lookup(self, ods_code: str, workflow_id: str) -> tuple[EndpointMatch, ...]:
        """The mailboxes of an organisation that receive a workflow; none is an empty tuple, several are all given.

        MESH API specification, Look up MESH address. The ODS code is upper-cased: the service compares it so.
        """
        path = f"/endpointlookup/{segment(ods_code.upper(), 'ODS code')}/{_workflow(workflow_id)}"
        return self._matches(self._exchange.ask_json(self._exchange.call("GET", "lookup", path)))

    def search(self, workflow_id: str) -> tuple[EndpointMatch, ...]:
        """Every mailbox that receives a workflow, of any organisation (MESH API specification, workflow search)."""
        path = f"/workflowsearch/{_workflow(workflow_id)}"
        return self._matches(self._exchange.ask_json(self._exchange.call("GET", "search", path)))

    @staticmethod
    def _matches(content: Any) -> tuple[EndpointMatch, ...]:
        results = content.get("results") if isinstance(content, Mapping) else None
        if not isinstance(results, list):
            raise errors.UnexpectedAnswer("The answer is not the result of a lookup.", status=200)
        found = (EndpointMatch.parse(one) for one in results if isinstance(one, Mapping))
        return tuple(match for match in found if match.mailbox_id)

    def ping(self) -> None:
        """Whether the service answers at all, without signing in. Not in the specification; the sandbox has it."""
        self._exchange.ask_json(self._exchange.call("GET", "ping", "/_ping"), signed=False)


def _continuation(content: Mapping[str, Any]) -> str | None:
    """The token of the next page. Only the token is taken off the link: its host and path are never followed."""
    links = content.get("links")
    link = links.get("next") if isinstance(links, Mapping) else None
    if not link:
        return None
    try:
        token = parse_qs(urlsplit(link).query).get("continue_from", [""])[0] if isinstance(link, str) else ""
    except ValueError:  # no URL at all
        token = ""
    if not usable(token, longest=_LONGEST_TOKEN):
        raise errors.UnexpectedAnswer("The listing says that it goes on, but not from where.", status=200)
    return token


def _workflow(workflow_id: str) -> str:
    return segment(workflow_id, "workflow id", longest=300)
