from __future__ import annotations

from messages.models.ack import Ack, AckAnswer, AckKind, BodyName
from messages.models.bulk import BulkResend, BulkResendRow, BulkRowState
from messages.models.client_record import ClientPlace, ClientRecord
from messages.models.composed import Composed
from messages.models.event import MessageEvent
from messages.models.hand_over import Handed, HandOver
from messages.models.hold import Hold
from messages.models.message import Message, MessageType
from messages.models.outgoing import Outcome, Outgoing, SendAttempt
from messages.models.payload import Payload
from messages.models.pickup import FolderPickup, Stage
from messages.models.workflow import ResendPolicy, Workflow

__all__ = [
    "Ack",
    "AckAnswer",
    "AckKind",
    "BodyName",
    "BulkResend",
    "BulkResendRow",
    "BulkRowState",
    "ClientPlace",
    "ClientRecord",
    "Composed",
    "FolderPickup",
    "HandOver",
    "Handed",
    "Hold",
    "Message",
    "MessageEvent",
    "MessageType",
    "Outcome",
    "Outgoing",
    "Payload",
    "ResendPolicy",
    "SendAttempt",
    "Stage",
    "Workflow",
]
