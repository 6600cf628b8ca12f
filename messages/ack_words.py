"""What an acknowledgement by a recipient's system says, in plain words (ITK3 response codes: domain notes, c6)."""

from __future__ import annotations

from dataclasses import dataclass

from messages.models import Ack, AckAnswer, AckKind, Message
from messages.words import plain

_MEANS: dict[str, str] = {
    AckKind.INFRASTRUCTURE: "An infrastructure acknowledgement: the receiving system speaks, not the people who work with it.",
    AckKind.BUSINESS: "A business acknowledgement: someone or something at the recipient processed the message.",
    AckKind.UNKNOWN: "It does not say whether the receiving system alone speaks, or whether the message was processed.",
}
_CODES: dict[str, str] = {
    "20001": "The recipient does not recognise the person that it is about.",
    "20002": "The recipient does not recognise the organisation.",
    "20007": "The recipient has this message already: a duplicate.",
    "20013": "The receiving system took the message.",
    "30001": "The message was processed.",
    "30002": "The recipient rejected the message.",
    "30003": "The recipient rejected the message.",
}


@dataclass(frozen=True)
class AckWords:
    """An acknowledgement in words; ``tone`` colours its tag."""

    tag: str
    tone: str
    sentence: str
    meaning: str
    code: str
    advice: str


def ack_words(ack: Ack) -> AckWords:
    """``ack`` in words. A code that nobody has words for is only named."""
    meaning = " ".join(part for part in (_CODES.get(ack.code, ""), _MEANS[ack.kind]) if part)
    if ack.answer == AckAnswer.NEGATIVE:
        return AckWords(
            "Rejected by the recipient’s system",
            "bad",
            "Rejected by the recipient’s system: a person must look.",
            meaning,
            plain(ack.code),
            "Ask the recipient what is wrong, mend it in the system that sent the document, then send it again.",
        )
    if ack.answer == AckAnswer.POSITIVE:
        sentence = "Acknowledged by the recipient’s system."
        return AckWords("Acknowledged by the recipient’s system", "good", sentence, meaning, plain(ack.code), "")
    return AckWords(
        "Answered by the recipient’s system",
        "warn",
        "Answered by the recipient’s system. The portal cannot tell whether it says yes or no.",
        meaning,
        plain(ack.code),
        "Open the body of the acknowledgement to see what it says.",
    )


def name_of(message: Message) -> str:
    """What a link to ``message`` is called: its message ID, or its local ID while MESH gave none."""
    return plain(message.mesh_id or message.local_id)
