"""The client of the MESH HTTP API (Message Exchange for Social Care and Health), on httpx. Knows nothing of the portal.

Begin with :class:`MeshClient`; what can go wrong is :mod:`meshportal.mesh.errors`.
"""

from __future__ import annotations

from meshportal.mesh import errors
from meshportal.mesh.client import MeshClient
from meshportal.mesh.connection import Connection, Timeouts
from meshportal.mesh.download import Download
from meshportal.mesh.retry import RetryPolicy
from meshportal.mesh.tls import tls_context
from meshportal.mesh.wire import EndpointMatch, InboxPage, MessageHeaders, SendReceipt, Tracking

__all__ = [
    "Connection",
    "Download",
    "EndpointMatch",
    "InboxPage",
    "MeshClient",
    "MessageHeaders",
    "RetryPolicy",
    "SendReceipt",
    "Timeouts",
    "Tracking",
    "errors",
    "tls_context",
]
