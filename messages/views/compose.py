"""Sending a message from the browser: what it says, its file, a look at everything, and off it goes (see messages.compose)."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.views.decorators.csrf import csrf_exempt

from mailboxes.models import Mailbox, Mode
from meshportal.accounts import scoping
from meshportal.audit.actors import Actor
from meshportal.core import payloads
from meshportal.core.acts import Refused
from meshportal.web import uploads
from meshportal.web.environments import ENVIRONMENTS
from meshportal.web.pages import ActionPage, DetailPage, FormPage, add_errors
from messages import compose, outbox, recipients, registry, selectors, words
from messages.compose_forms import ComposeForm, SendForm
from messages.models import Composed, Message, ResendPolicy
from messages.states import Direction
from messages.views.detail import address

CUT = "The upload ended before the file did. Nothing of it was kept: add the file again."
UNREADABLE = "The upload could not be read. Nothing of it was kept: add the file again."
BUSY = "Too many files are being added at this moment. Nothing was kept: add yours again in a few minutes."
NO_FILE = "Choose the file that is to be sent."
NO_STORAGE = "The portal could not keep the file: its storage failed. Tell whoever runs the portal."


class Compose(FormPage):
    """A new message: from whom, to whom, and what it says. The file comes next."""

    capability = "message.send"
    template_name = "messages/compose.html"
    form_class = ComposeForm

    @cached_property
    def mailboxes(self) -> list[Mailbox]:
        """The team's mailboxes that may send."""
        return list(selectors.may_send(self.team))

    @cached_property
    def composed(self) -> Composed | None:
        """The message that is changed; None for a new one."""
        return None

    def form_kwargs(self) -> dict[str, Any]:
        return {"mailboxes": self.mailboxes, "initial": {"mailbox": self.request.GET.get("mailbox", "")}}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().post(request, *args, **kwargs)
        except Refused as refusal:
            self.flash_refusal(str(refusal))
            return self.redirect(reverse("messages:outbox", kwargs={"team": self.team.slug}))

    def save(self, form: Any) -> Composed:
        try:
            return compose.save(actor=self.actor, composed=self.composed, **form.cleaned_data)
        except recipients.ToChoose as several:
            form.offer(several.found)
            raise

    def success_url(self, saved: Any) -> str:
        return reverse("messages:composed", kwargs={"team": self.team.slug, "pk": saved.pk})

    def context(self, **extra: Any) -> dict[str, Any]:
        known = [workflow.workflow_id for workflow in registry.of(self.team) if not workflow.workflow_id.endswith(registry.ACK)]
        return super().context(mailboxes=self.mailboxes, composed=self.composed, workflow_ids=known, **extra)


class Details(Compose):
    """The same for a message that is being composed: its file stays."""

    capability = "message.send"

    @cached_property
    def composed(self) -> Composed | None:
        return _composed(self)

    def form_kwargs(self) -> dict[str, Any]:
        found = _composed(self)
        names = ["workflow_id", "ods_code", "file_name", "local_id", "content_type", "compress"]
        own = found.author == self.actor.id
        initial = {name: getattr(found, name) for name in names}
        if own:
            initial["subject"] = _subject(found)[0]
        # What a lookup found is looked up again.
        recipient = "" if found.ods_code else found.recipient
        initial |= {"mailbox": str(found.mailbox_id), "recipient": recipient}
        return {"mailboxes": self.mailboxes, "subject": own, "initial": initial}

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        _composed(self)
        return super().get(request, *args, **kwargs)


class ComposedPage(DetailPage):
    """A message that is being composed: its file while there is none, then everything at a glance and the button."""

    capability = "message.send"
    template_name = "messages/composed.html"
    context_name = "composed"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return _sent_already(self) or super().get(request, *args, **kwargs)

    def get_object(self) -> Composed:
        return _composed(self)

    def context(self, **extra: Any) -> dict[str, Any]:
        return super().context(**page_context(self.object, self.actor), **extra)


def page_context(composed: Composed, actor: Actor, form: SendForm | None = None) -> dict[str, Any]:
    """What the page of a composed message shows."""
    twin = compose.twin(composed)
    rule = registry.known(composed.team_id, composed.workflow_id)
    subject, subject_problem = _subject(composed)
    return {
        "subject": subject,
        "subject_problem": subject_problem,
        "own": composed.author == actor.id,
        "environment": composed.mailbox.environment,
        "environment_said": ENVIRONMENTS[composed.mailbox.environment],
        "paused": composed.mailbox.mode == Mode.PAUSED,
        "form": form or SendForm(composed=composed, twin=twin),
        "twin": words.Line.of(twin) if twin is not None else None,
        "never": twin is not None and rule.resend_policy == ResendPolicy.NEVER,
        "workflow": rule,
        "largest": settings.MESH_MAX_MESSAGE_BYTES,
        "too_large": compose.too_large(),
        "kept_for": compose.KEPT_FOR,
    }


class ComposedAct(ActionPage, abstract=True):
    """An act on a message that is being composed."""

    @cached_property
    def composed(self) -> Composed:
        """The message of the address; Http404 when this team has none such."""
        return _composed(self)

    def return_url(self) -> str:
        return reverse("messages:composed", kwargs={"team": self.team.slug, "pk": self.kwargs["pk"]})


# Exempt from the middleware's cross-site check, which would read the file before anybody asked who sends it: the check is
# made in uploads.receive, with its own handler in place.
@method_decorator(csrf_exempt, name="dispatch")
class Upload(ComposedAct):
    """Takes the file. A script gets the address of the next page, or the sentence why not; a form is led there."""

    capability = "message.send"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        composed = self.composed
        key = compose.storage_key(composed)
        compose.take_up(composed)
        try:
            kept, name = uploads.receive(
                request,
                field="file",
                limit=settings.MESH_MAX_MESSAGE_BYTES,
                keep=lambda blocks: payloads.write(key, compose.limited(blocks)),
                undo=lambda stored: payloads.delete(stored.key),
            )
            compose.attach(actor=self.actor, composed=composed, kept=kept, file_name=name)
        except uploads.Refusal as refused:
            return refused.response
        except uploads.TooLarge:
            return self._not(compose.too_large())
        except uploads.UploadCut:
            return self._not(CUT)
        except uploads.Unreadable:
            return self._not(UNREADABLE)
        except uploads.TooMany:
            return self._not(BUSY)
        except uploads.NoFile:
            return self._not(NO_FILE)
        except ValidationError as error:
            return self._not(" ".join(error.messages))
        except payloads.StorageFailed:
            return self._not(NO_STORAGE)
        except Refused as refusal:
            return self._not(str(refusal))
        return self._answer(self.return_url())

    def _not(self, sentence: str) -> HttpResponseBase:
        if self._scripted:
            return JsonResponse({"sentence": sentence}, status=422)
        self.flash_refusal(sentence)
        return self.redirect(self.return_url())

    def _answer(self, url: str) -> HttpResponseBase:
        return JsonResponse({"next": url}) if self._scripted else self.redirect(url)

    @property
    def _scripted(self) -> bool:
        return self.request.headers.get("Accept", "") == "application/json"


class Send(ComposedAct):
    """Queues it as a message."""

    capability = "message.send"
    template_name = "messages/composed.html"
    form_class: ClassVar[Any] = SendForm

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if (led := _sent_already(self)) is not None:
            return led
        composed = self.composed
        # What the person looked at: a change in another window since then was not agreed to.
        if request.POST.get("version", "") != composed.updated_at.isoformat():
            return self._changed()
        form = SendForm(data=request.POST, composed=composed, twin=compose.twin(composed))
        if form.is_valid():
            given = form.cleaned_data
            again = None
            if given.get("reason"):
                again = outbox.Again(reason=given["reason"], asked_by=given.get("asked_by", ""))
            try:
                message = compose.send(actor=self.actor, composed=composed, again=again, meant=bool(given.get("meant")))
            except Refused as refusal:
                form.add_error(None, str(refusal))
            except ValidationError as error:
                add_errors(form, error)
            else:
                self.flash("It is in the outbox. The portal sends it within about a minute; this page says what became of it.")
                return self.redirect(address(message, team=self.team.slug))
        return self.render(status=422, composed=composed, **page_context(composed, self.actor, form))

    def _changed(self) -> HttpResponseBase:
        self.flash_refusal("It was changed in another window since you looked at it. Look at it again, then send it.")
        return self.redirect(self.return_url())


class Discard(ComposedAct):
    """Takes it away, with its file."""

    capability = "message.send"

    def act(self, form: Any) -> str:
        compose.discard(actor=self.actor, composed=self.composed)
        return "Discarded. Nothing was sent, and the file is away."

    def return_url(self) -> str:
        return reverse("messages:outbox", kwargs={"team": self.team.slug})


def _composed(page: Any) -> Composed:
    found: Composed = scoping.get_or_404(selectors.composed(), page.team, pk=page.kwargs["pk"])
    return found


def _subject(composed: Composed) -> tuple[str, str]:
    """The subject, and the sentence why it cannot be shown."""
    try:
        return compose.subject_of(composed), ""
    except Refused as refusal:
        return "", str(refusal)


def _sent_already(page: Any) -> HttpResponseBase | None:
    """The way to the message, for whoever comes back to one that was sent: a message keeps the key that it was composed under."""
    sent = scoping.in_team(Message, page.team).filter(pk=page.kwargs["pk"], direction=Direction.OUT).only("pk").first()
    if sent is None:
        return None
    page.flash("This message is in the outbox already. It was not sent a second time.")
    led: HttpResponseBase = page.redirect(address(sent, team=page.team.slug))
    return led
