"""Opening a body (promise P9): the reason first, then the audit row, then what was asked for.

Nothing of the body, the subject or a masked header leaves the portal before :func:`messages.services.open_body` returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponse, HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django.utils.http import content_disposition_header

from meshportal.accounts import scoping
from meshportal.core.acts import Refused
from meshportal.core.payloads import PayloadMissing, PayloadUnreadable
from meshportal.web.pages import TeamPage
from messages import selectors, services, words
from messages.downloads import file_name
from messages.forms import DownloadForm, ReasonForm
from messages.models import Message
from messages.preview import preview
from messages.views.acts import MessageAct
from messages.views.detail import address, holds_body
from messages.visible import visible

log = structlog.get_logger("messages.body")

_MISSING = (
    "The portal’s record says that it holds this body, but the file is not in its storage. Do not ask for it again here: "
    "tell whoever runs the portal, with the message ID, so that the file is restored from a backup."
)
_UNREADABLE = (
    "The stored body of this message cannot be decrypted: the file is damaged, or its key is missing from "
    "MESHPORTAL_PAYLOAD_KEYS. Tell whoever runs the portal, with the message ID."
)
NOT_HELD = "The portal does not hold the body of this message, so there is nothing to open."


def _unavailable(message: Message, error: Exception) -> str:
    """Why a body that should be there cannot be read, for the page and, without details, for the log."""
    missing = isinstance(error, PayloadMissing)
    log.error("payload_unavailable", message_id=message.mesh_id, cause="missing" if missing else "unreadable")
    return _MISSING if missing else _UNREADABLE


class BodyPage(TeamPage):
    """GET asks for the reason; POST with one records the reading and shows the beginning of the body."""

    capability = "message.read_body"
    template_name = "messages/body.html"

    def get_message(self) -> Message:
        """The message of the address; Http404 when this team has none such."""
        return scoping.get_or_404(selectors.whole(), self.team, pk=self.kwargs["pk"])

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self._prompt(self.get_message(), ReasonForm())

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        message = self.get_message()
        form = ReasonForm(data=request.POST)
        if not form.is_valid():
            return self._prompt(message, form, status=422)
        try:
            body = services.open_body(actor=self.actor, message=message, reason=form.reason, purpose="preview")
            head, truncated = body.head(settings.PREVIEW_BYTES)
        except Refused as refusal:
            return self._prompt(message, form, status=409, problem=str(refusal))
        except (PayloadMissing, PayloadUnreadable) as error:
            return self._prompt(message, form, status=409, problem=_unavailable(message, error))
        return self._shown(message, body, head, truncated=truncated, reason=form.reason)

    def _prompt(self, message: Message, form: ReasonForm, *, status: int = 200, problem: str = "") -> HttpResponse:
        problem = problem or ("" if holds_body(message) else NOT_HELD)
        return self._kept_nowhere(
            self.render(
                status=status,
                message=message,
                form=form,
                problem=problem,
                line=words.Line.of(message),
                environment=message.environment,
            )
        )

    def _shown(self, message: Message, body: services.Body, head: bytes, *, truncated: bool, reason: str) -> HttpResponse:
        sealed = selectors.sealed_of(message)
        context = self.context(
            message=message,
            line=words.Line.of(message),
            body=body,
            head_size=len(head),
            truncated=truncated,
            preview=preview(head, truncated=truncated, file_name=message.file_name, content_type=message.content_type),
            reason=reason,
            download_form=DownloadForm(initial={"reason": reason}),
            # In clear: the reason covers them, and the reading of them is what was recorded.
            subject=visible(sealed.subject),
            recipient=visible(sealed.recipient),
            file_name=visible(message.file_name),
            local_id=visible(message.local_id),
            headers=[(name, visible(said)) for name, said in sorted(sealed.headers.items())],
            sealed_problem=sealed.problem,
            environment=message.environment,
        )
        return self._kept_nowhere(TemplateResponse(self.request, "messages/preview.html", context))

    @staticmethod
    def _kept_nowhere(response: HttpResponse) -> HttpResponse:
        add_never_cache_headers(response)
        return response


class Download(MessageAct):
    """The exact bytes, as a file that no browser opens by itself. An audit row of its own, under the reason given before."""

    capability = "message.read_body"
    form_class = DownloadForm

    def return_url(self) -> str:
        return address(self.message(), team=self.team.slug, route="body")

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        message = self.message()
        form = DownloadForm(data=request.POST)
        if not form.is_valid():
            return self._refused("Say why you are opening this message before you download it.")
        try:
            body = services.open_body(actor=self.actor, message=message, reason=form.cleaned_data["reason"], purpose="download")
            # The first block comes before the response: after it, a fault can only cut the download short.
            blocks = body.blocks()
            first = next(blocks, b"")
        except Refused as refusal:
            return self._refused(str(refusal))
        except (PayloadMissing, PayloadUnreadable) as error:
            return self._refused(_unavailable(message, error))
        return _as_file(message, body, first, blocks)

    def _refused(self, sentence: str) -> HttpResponse:
        self.flash_refusal(sentence)
        return self.redirect(self.return_url())


def _as_file(message: Message, body: services.Body, first: bytes, rest: Iterator[bytes]) -> StreamingHttpResponse:
    response = StreamingHttpResponse(_watched(message, first, rest), content_type="application/octet-stream")
    response["Content-Length"] = str(body.size)
    response["Content-Disposition"] = content_disposition_header(True, file_name(message)) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "sandbox"
    add_never_cache_headers(response)
    return response


def _watched(message: Message, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks; damage further in ends the connection early, which the browser reports as a failed download."""
    try:
        yield from chain((first,), rest)
    except PayloadUnreadable:
        log.error("payload_unavailable", message_id=message.mesh_id, cause="unreadable, in the middle of a download")
        raise
    finally:
        close = getattr(rest, "close", None)
        if close is not None:
            close()
