"""One turn at the watched folder of a mailbox: first what was taken before, then what is new.

====================================  ==================================================================================
the folder is away, full, read-only,  a problem of the folder, shown on the overview; all of it is tried again with
or split over disks; the portal's     growing gaps
storage takes nothing
half a pair; a .ctl that ends early,  waits; fails after MESHPORTAL_FOLDER_WAIT_MINUTES
or holds nothing but zeros yet
files that change between two looks   wait
a .dat that changes while it is       is tried again with growing gaps; fails after the same time
read, or cannot be read
a recipient that cannot be looked up  is tried again with growing gaps, for as long as that takes
a pair that cannot be sent as it is   FAILED, with the sentence in its .ctl
anything else that goes wrong with    is tried again, then FAILED; the others go on
one pair
====================================  ==================================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from mailboxes.folders import FolderTrouble, trouble
from mailboxes.models import Mailbox, Mode, WatchedFolder
from mailboxes.problems import Problem
from meshportal.core import lease
from messages import ctl, receive
from messages.folder import disk, place, take
from messages.folder.disk import Folder, Pair, Stamp
from messages.models import FolderPickup, Stage
from messages.send import lease_duration

log = structlog.get_logger("messages.folder")

MOST_TAKEN = 100
MOST_ENDED = 500
MOST_STUCK = 5
_SEALED = ("password", "identity__private_key")
_OPEN = ~Q(stage=Stage.DONE)
CROWDED = Problem(
    "folder_crowded",
    f"The folder OUT holds more than {disk.MOST_NAMES:,} files, so that the portal looks at a part of it only.",
    "Take out what is not meant to be sent.",
)
STRAY = Problem(
    "folder_stray",
    "The folder .taking holds files that the portal has no record of, as after its database was put back to an earlier day.",
    "Find out from the recipient whether the documents arrived. Move those that did not to OUT, under their own names.",
)
BROKE = "The portal itself failed on this document, several times. Ask whoever runs the portal to look in its log."


def claim_due() -> WatchedFolder | None:
    """Claims the folder that has waited for longest to be looked at; None when none is due.

    A folder whose mailbox does not send from it any more is due for as long as something that was taken has not come to
    its end. Nothing is taken while a mailbox is paused.
    """
    open_ones = FolderPickup.objects.filter(_OPEN, mailbox=OuterRef("mailbox"))
    due = (
        WatchedFolder.objects.filter(Q(mailbox__send_from_folder=True) | Exists(open_ones), due_at__lte=timezone.now())
        .exclude(mailbox__mode=Mode.PAUSED)
        .order_by("due_at")
    )
    if not due.exists():
        return None
    claimed = lease.claim(due, limit=1, duration=lease_duration())
    return claimed[0] if claimed else None


def work(watched: WatchedFolder) -> None:
    """Works a folder whose lease the caller claimed, and gives it back with what was wrong with it."""
    turn = Turn(watched)
    problem: Problem | None
    try:
        with lease.kept_alive(watched, lease_duration()):
            problem = turn.run()
    except lease.LeaseLost:
        log.warning("lease_lost", folder=str(watched.pk))
        return
    except FolderTrouble as error:
        problem = error.problem
    except OSError as error:
        problem = trouble(error).problem
    now = timezone.now()
    stuck = problem is not None and problem not in (CROWDED, STRAY)
    failures = watched.failures + 1 if stuck else 0
    gap = timedelta(0) if turn.more and not stuck else timedelta(seconds=settings.FOLDER_SECONDS)
    changes: dict[str, Any] = {
        "failures": failures,
        "due_at": now + max(gap, receive.backoff(failures) if stuck else gap),
        "problem_code": problem.code if problem else "",
        "problem": problem.sentence if problem else "",
        "problem_advice": problem.advice if problem else "",
        "problem_since": (watched.problem_since or now) if problem else None,
    }
    if not stuck:
        changes["looked_at"] = now
    elif problem is not None:
        log.warning("folder_in_trouble", mailbox=str(watched.mailbox_id), problem=problem.code)
    lease.release(watched, **changes)


class Turn:
    """One turn. ``more``: there was more to do than one turn does."""

    def __init__(self, watched: WatchedFolder) -> None:
        self._watched = watched
        rows = Mailbox.objects.select_related("team", "identity").defer(*_SEALED)
        self._mailbox = rows.get(pk=watched.mailbox_id)
        self._until = time.monotonic() + settings.TURN_SECONDS
        self._stuck: list[OSError] = []
        self.more = False

    def run(self) -> Problem | None:
        """Does what there is to do; what is wrong with the folder although it was worked. Raises LeaseLost, FolderTrouble,
        OSError."""
        problem = None
        before: FolderTrouble | None = None
        try:
            self._end_elsewhere()
        except FolderTrouble as error:
            # What was taken from a folder that the mailbox had earlier does not hold up the one that it has.
            before = error
        if self._mailbox.folder:
            with Folder(self._mailbox.folder) as folder:
                for row in self._open_rows(folder=self._mailbox.folder):
                    self._tolerantly(self._one, folder, row)
                problem = self._stray(folder)
                if self._mailbox.send_from_folder:
                    problem = self._take_new(folder) or problem
        if self._stuck:
            raise self._stuck[0]
        if before is not None:
            raise before
        return problem

    def _end_elsewhere(self) -> None:
        for name in {row.folder for row in self._open_rows()} - {self._mailbox.folder}:
            with Folder(name) as folder:
                for row in self._open_rows(folder=name):
                    self._tolerantly(self._one, folder, row)

    def _tolerantly(self, step: Callable[..., None], folder: Folder, what: FolderPickup | Pair) -> None:
        """Somebody may have one file open, and keep it from being moved: the others are not held up by it."""
        try:
            step(folder, what)
        except OSError as error:
            self._stuck.append(error)
            if len(self._stuck) >= MOST_STUCK:
                raise

    def _open_rows(self, **chosen: Any) -> list[FolderPickup]:
        rows = FolderPickup.objects.filter(mailbox=self._mailbox, **chosen).filter(
            Q(stage__in=[Stage.TAKING, Stage.PLACING], due_at__lte=timezone.now())
            | Q(stage=Stage.QUEUED, message__state__in=[str(state) for state in place.SETTLED])
        )
        found = list(rows.select_related("message").defer("message__headers", "message__subject", "message__recipient_sealed")
                     .order_by("created_at")[:MOST_ENDED])  # fmt: skip
        self.more = self.more or len(found) == MOST_ENDED
        return found

    def _take_new(self, folder: Folder) -> Problem | None:
        pairs, crowded = folder.pairs()
        now = time.time()
        first = {pair: self._stamps(folder, pair) for pair in pairs}
        chosen = [pair for pair, stamps in first.items() if stamps is not None and self._ripe(folder, pair, stamps, now)]
        if chosen:
            time.sleep(settings.FOLDER_SETTLE_SECONDS)
            chosen.sort(key=lambda pair: max(stamp.mtime_ns for stamp in first[pair] or []))
        for number, pair in enumerate(chosen):
            if number >= MOST_TAKEN or time.monotonic() > self._until:
                self.more = True
                break
            if self._stamps(folder, pair) == first[pair]:
                self._tolerantly(self._claim, folder, pair)
        return CROWDED if crowded else None

    def _claim(self, folder: Folder, pair: Pair) -> None:
        self._one(folder, take.claim(self._watched, self._mailbox, folder, pair))

    @staticmethod
    def _stamps(folder: Folder, pair: Pair) -> list[Stamp] | None:
        """None when one of its files went away, as those of a person who takes a document back."""
        found = [disk.stamp(folder.out, name) for name in pair.names]
        return [one for one in found if one is not None] if None not in found else None

    @staticmethod
    def _ripe(folder: Folder, pair: Pair, stamps: list[Stamp], now: float) -> bool:
        """Whether the pair is whole, or has waited for long enough for what is missing."""
        waited = all(stamp.age(now) > settings.FOLDER_WAIT_SECONDS for stamp in stamps)
        if waited or not pair.whole:
            return waited
        data = b""
        try:
            data = disk.read_small(folder.out, pair.ctl)
            ctl.parse(data)
        except ctl.ControlError as error:
            # Some ways of copying make the file in its length first, and fill it then.
            return not error.incomplete and data.strip(b"\0") != b""
        except disk.NotAFile:
            return True
        except OSError:
            return False
        return True

    def _one(self, folder: Folder, row: FolderPickup) -> None:
        """Brings one document as far as it goes. Raises LeaseLost, FolderTrouble, OSError, DatabaseError."""
        try:
            try:
                self._go_on(folder, row)
            except take.Unfit as error:
                take.ended(self._watched, row, sent=False, status_code=error.code, description=str(error))
                place.place(self._watched, self._mailbox, folder, row)
            except take.Later as error:
                self._later(folder, row, error)
        except (lease.LeaseLost, FolderTrouble, OSError, DatabaseError):
            raise
        except Exception:
            log.exception("document_broke", pickup=str(row.pk))
            if row.stage == Stage.TAKING and row.tries + 1 >= settings.MAX_ATTEMPTS:
                take.ended(self._watched, row, sent=False, status_code="", description=BROKE)
            self._wait(row)

    def _go_on(self, folder: Folder, row: FolderPickup) -> None:
        if row.stage == Stage.TAKING:
            if take.resume(folder, row):
                take.queue(self._watched, self._mailbox, folder, row)
            return
        if row.stage == Stage.QUEUED and row.message is not None:
            place.settle(self._watched, row, row.message)
        place.place(self._watched, self._mailbox, folder, row)

    def _later(self, folder: Folder, row: FolderPickup, error: take.Later) -> None:
        waited = timezone.now() - row.created_at
        if error.patient or waited < timedelta(seconds=settings.FOLDER_WAIT_SECONDS):
            self._wait(row)
            return
        take.ended(self._watched, row, sent=False, status_code="02", description=f"{error} It stayed so for too long.")
        place.place(self._watched, self._mailbox, folder, row)

    def _wait(self, row: FolderPickup) -> None:
        row.tries += 1
        due_at = timezone.now() + receive.backoff(row.tries)
        FolderPickup.objects.filter(pk=row.pk).update(tries=row.tries, due_at=due_at)

    def _stray(self, folder: Folder) -> Problem | None:
        held = folder.held()
        if not held:
            return None
        rows = FolderPickup.objects.filter(_OPEN, mailbox=self._mailbox, folder=self._mailbox.folder)
        return STRAY if held - {pk.hex for pk in rows.values_list("pk", flat=True)} else None
