"""``python -m meshportal.demo``: the demonstration, until Ctrl-C. ``… check``: until all its mail is in, then a verdict."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from meshportal.demo import world
from meshportal.demo.guard import guarded
from meshportal.demo.processes import ServiceError
from meshportal.demo.running import Demo, running
from meshportal.demo.stage import ROOT, DemoError, Stage


class Stopped(BaseException):
    """Somebody asked the demonstration to stop."""


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m meshportal.demo", description=__doc__)
    parser.add_argument("act", nargs="?", choices=("run", "check"), default="run")
    parser.add_argument("--port", type=int, help="where the portal answers (8000 when it is free)")
    parser.add_argument("--folder", type=Path, default=ROOT / ".demo", help="where the demonstration keeps its data")
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds that a check may take")
    options = parser.parse_args(arguments)
    # A second Ctrl-C, or make passing on the first, must not cut the stopping short.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        if options.act == "check":
            return _check(options.deadline)
        return _run(Stage(options.folder), options.port)
    except (DemoError, ServiceError) as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 1
    except Stopped:
        print("Stopped.", flush=True)
        return 0 if options.act == "run" else 1


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("\nStopping …", flush=True)
    raise Stopped


def _say(line: str) -> None:
    print(line, flush=True)


def _run(stage: Stage, port: int | None) -> int:
    began = time.monotonic()
    with stage.owned() as note, guarded(), running(stage, port=port, say=_say) as demo:
        note(f"process {os.getpid()} at {demo.address}")
        _say(_welcome(demo, time.monotonic() - began))
        demo.watch()
    return 0


def _welcome(demo: Demo, seconds: float) -> str:
    width = max(len(person.email) for person in world.PEOPLE)
    teams = {team.slug: team.name for team in world.TEAMS}
    people = [
        f"    {person.email:<{width}}  {', '.join(f'{role} of {teams[slug]}' for slug, role in person.roles)}"
        for person in world.PEOPLE
    ]
    lines = [
        "",
        f"The portal is ready after {seconds:.0f} seconds. Everything in it is made up.",
        "",
        f"  Address   {demo.address}",
        f"  Password  {demo.stage.secret('password')}   (the same for everybody)",
        "  People",
        *people,
        "",
        f"  Logs      {_short(demo.stage.logs)}/",
        f"  Data      {_short(demo.stage.folder)}/  (kept; remove the folder to begin anew)",
        "",
        "Ctrl-C stops all of it.",
    ]
    return "\n".join(lines)


def _short(path: Path) -> Path:
    path = path.resolve()
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _check(deadline: float) -> int:
    from meshportal.demo import checking

    with _scratch() as folder, guarded():
        stage = Stage(folder)
        with stage.owned():
            return checking.check(stage, deadline=deadline, say=_say)


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="meshportal-demo-check-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
