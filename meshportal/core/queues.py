"""The queues of the portal, each with its own workers in production, so that one never starves another."""

from __future__ import annotations

QUEUES = ("poll", "send", "hand_over", "notify", "default")
