"""Forms with small files that may hold a secret."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from meshportal.web.pages import FormPage
from meshportal.web.small_uploads import MemoryOnly


# Exempt from the middleware only: it would read the upload, with handlers that write to a disk, before this page can choose
# its own. The same check is made below, once it is known who asks and they are chosen.
@method_decorator(csrf_exempt, name="dispatch")
class UploadPage(FormPage, abstract=True):
    """A form whose files may hold a secret: they stay in memory, and nothing of them goes back.

    ``most_bytes``: a larger file arrives empty, with its true size.
    """

    most_bytes: ClassVar[int]

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.upload_handlers = [MemoryOnly(request, most=self.most_bytes)]
        return self._post_checked(request, *args, **kwargs)

    @method_decorator(csrf_protect)
    def _post_checked(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return super().post(request, *args, **kwargs)
