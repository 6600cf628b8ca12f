"""Celery: the doorbell. Every task says "look now" to work that stands in the database.

Hence early acknowledgement, no results, no countdowns, and entries that expire before the next ring: a lost broker,
worker or scheduler costs time, never a message. Two schedulers at once are harmless, since what is due is a row.
"""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import setup_logging, worker_process_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "meshportal.settings")

from django.conf import settings

from meshportal.core.queues import QUEUES

__all__ = ["CANARY_SECONDS", "QUEUES", "app"]

CANARY_SECONDS = 20
ACKS_SECONDS = 60
SWEEP_SECONDS = 60
RESUME_SECONDS = 30
DELIVER_SECONDS = 10

app = Celery("meshportal", broker=settings.REDIS_URL)
app.conf.update(
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"visibility_timeout": 3600, "socket_timeout": 10, "socket_connect_timeout": 5},
    task_acks_late=False,
    task_create_missing_queues=True,
    task_default_queue="default",
    task_ignore_result=True,
    task_routes={
        "messages.tasks.poll_due": {"queue": "poll"},
        "messages.tasks.send_due": {"queue": "send"},
        "messages.tasks.hand_over_due": {"queue": "hand_over"},
        "meshportal.notify.tasks.*": {"queue": "notify"},
    },
    task_serializer="json",
    timezone="UTC",
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_hijack_root_logger=False,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_soft_shutdown_timeout=30,
    beat_schedule={
        "poll-due": {
            "task": "messages.tasks.poll_due",
            "schedule": settings.RING_SECONDS,
            "options": {"queue": "poll", "expires": settings.RING_SECONDS * 2},
        },
        "send-due": {
            "task": "messages.tasks.send_due",
            "schedule": settings.RING_SECONDS,
            "options": {"queue": "send", "expires": settings.RING_SECONDS * 2},
        },
        "sweep-composed": {"task": "messages.tasks.sweep_composed", "schedule": 3600.0, "options": {"expires": 3000}},
        "pair-acks": {
            "task": "messages.tasks.pair_acks",
            "schedule": ACKS_SECONDS,
            "options": {"queue": "default", "expires": ACKS_SECONDS - 1},
        },
        "resend-due": {
            "task": "messages.tasks.resend_due",
            "schedule": settings.RING_SECONDS,
            "options": {"queue": "default", "expires": settings.RING_SECONDS * 2},
        },
        "roll-over-tests-due": {
            "task": "mailboxes.tasks.test_due",
            "schedule": settings.RING_SECONDS,
            "options": {"queue": "default", "expires": settings.RING_SECONDS * 2},
        },
        "resume-due": {
            "task": "mailboxes.tasks.resume_due",
            "schedule": RESUME_SECONDS,
            "options": {"queue": "default", "expires": RESUME_SECONDS},
        },
        "examinations-due": {
            "task": "messages.tasks.examine_due",
            "schedule": settings.RING_SECONDS,
            "options": {"queue": "default", "expires": settings.RING_SECONDS * 2},
        },
        "sweep-imports": {"task": "mailboxes.tasks.sweep_imports", "schedule": 300.0, "options": {"expires": 299}},
        "lookups-due": {
            "task": "mailboxes.tasks.look_up_due",
            "schedule": settings.RING_SECONDS,
            "options": {"queue": "default", "expires": settings.RING_SECONDS * 2},
        },
        "hand-over-due": {
            "task": "messages.tasks.hand_over_due",
            "schedule": settings.RING_SECONDS,
            "options": {"queue": "hand_over", "expires": settings.RING_SECONDS * 2},
        },
        "sweep-due": {
            "task": "meshportal.notify.tasks.sweep_due",
            "schedule": SWEEP_SECONDS,
            "options": {"queue": "notify", "expires": SWEEP_SECONDS},
        },
        "deliver-due": {
            "task": "meshportal.notify.tasks.deliver_due",
            "schedule": DELIVER_SECONDS,
            "options": {"queue": "notify", "expires": DELIVER_SECONDS},
        },
        "deadman-due": {
            "task": "meshportal.notify.tasks.deadman_due",
            "schedule": SWEEP_SECONDS,
            "options": {"queue": "notify", "expires": SWEEP_SECONDS},
        },
        **{
            f"canary-{queue}": {
                "task": "meshportal.core.tasks.canary",
                "schedule": CANARY_SECONDS,
                "args": [queue],
                "options": {"queue": queue, "expires": CANARY_SECONDS - 1},
            }
            for queue in QUEUES
        },
    },
)
app.autodiscover_tasks(["meshportal.core", "meshportal.notify", "mailboxes", "messages"])


@setup_logging.connect
def _use_our_logging(**_kwargs: object) -> None:
    """Celery would replace the handlers of the LOGGING setting; a connected receiver keeps it from doing so."""


@worker_process_init.connect
def _fresh_connections(**_kwargs: object) -> None:
    """A forked worker must not share its parent's database socket."""
    from django.db import connections

    connections.close_all()
