"""Starts everything in its order, watches it, and stops it: sandbox, Redis, database, letters, web, workers, scheduler."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meshportal.demo import letters, sending, world
from meshportal.demo.pki import load_or_create
from meshportal.demo.processes import LOOPBACK, Service, free_port, plain_environment
from meshportal.demo.redis_server import RedisServer
from meshportal.demo.sandbox import Sandbox
from meshportal.demo.stage import ROOT, SANDBOX_PYTHON, DemoError, Stage, adopt

USUAL_PORT = 8000
_LOOK_EVERY = 0.5
_LOG_KEPT = 5_000_000
Say = Callable[[str], None]


@dataclass
class Demo:
    """A running demonstration."""

    stage: Stage
    port: int
    register: sending.Register
    sandbox: Sandbox
    services: list[Service]
    _late: bool = field(default=False, repr=False)
    _told: bool = field(default=False, repr=False)

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}/"

    def check(self) -> None:
        """Raises DemoError when one of the processes has ended."""
        for service in self.services:
            if not service.running:
                raise DemoError(
                    f"{service.name} ended by itself with status {service.status}, so the demonstration stops. "
                    f"Last lines of {service.log}:\n{service.log_tail()}"
                )

    def go_on(self) -> None:
        """What happens while it runs: the report about a message that nobody collected, once the portal knows that message,
        and what MESH is told about messages that the portal sent."""
        from meshportal.demo import outgoing

        if not self._late:
            self._late = sending.report(letters.LATE_REPORT, self.register, self.sandbox, known=_is_known)
        if not self._told:
            self._told = outgoing.tell(self.register, self.sandbox)

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Goes on until ``until`` is true. Raises DemoError when a process ends."""
        while not until():
            self.check()
            self.go_on()
            time.sleep(_LOOK_EVERY)


@contextmanager
def running(stage: Stage, *, port: int | None, say: Say, given: bool = True) -> Iterator[Demo]:
    """A demonstration on ``stage``, which the caller owns; everything is stopped at the end.

    ``given``: use DATABASE_URL and REDIS_URL where they are set. Raises DemoError and ServiceError.
    """
    database_url = os.environ.get("DATABASE_URL", "").strip() if given else ""
    redis_url = os.environ.get("REDIS_URL", "").strip() if given else ""
    if not SANDBOX_PYTHON.exists():
        raise DemoError("The official MESH sandbox is not installed. Type: make demo")
    stage.prepare()
    _rotate(stage.logs)
    port = _port(port, say)
    with ExitStack() as stack:
        pki, _files = load_or_create(
            stage.pki, [(team.certificate_for, _ods(team.certificate_for)) for team in world.TEAMS] + [world.SENDER]
        )
        say("Starting the MESH sandbox behind mutual TLS" + ("." if redis_url else ", and Redis."))
        server = Sandbox(
            SANDBOX_PYTHON,
            stage.sandbox,
            pki,
            mailboxes=[*world.BY_ID, *world.OUTSIDE],
            shared_key=stage.secret("shared-key"),
            log=stage.logs / "sandbox.log",
        )
        # Stopped in the opposite order: the portal's processes first, while what they talk to is still there.
        stack.callback(server.stop)
        services = [server.service]
        with ThreadPoolExecutor(1) as beside:
            # Python's imports and the sandbox's start take a second each, on a core each.
            started = beside.submit(server.start)
            if not redis_url:
                redis = RedisServer(stage.folder / "redis", log=stage.logs / "redis.log")
                redis.start()
                stack.callback(redis.stop)
                redis_url = redis.url
                if redis.service is not None:
                    services.append(redis.service)
            environment = stage.environment(redis_url=redis_url, sandbox_url=server.base_url, database_url=database_url)
            adopt(environment)
            _set_up_django(stage.logs / "demo.log")
            say("Bringing the database up to date, and collecting static files.")
            from meshportal.demo import outgoing, seed

            seed.refuse_strangers()
            seed.migrate()
            register = sending.Register.read(stage.sent)
            if seed.is_new():
                # Another database than last time: it wants the letters too.
                register.ids.clear()
            seed.collect_static()
            started.result()
        say("Starting the portal: web, three workers, scheduler.")
        portal = _portal(stage, environment, port)
        stack.callback(_stop_all, portal)
        services += portal
        for service in portal:
            service.start()
        # Asked for at once rather than at the scheduler's first turn, so that the overview soon shows live workers.
        _ring()
        # Letters first: the first poll of each mailbox then brings all of them.
        with sending.connect(server, pki, pki.clients[world.NORTHMOOR]) as connection:
            count = sending.send(letters.letters(), register, connection, shared_key=server.shared_key)
        sending.report(letters.EARLY_REPORT, register, server)
        if count:
            say(f"Sent {count} made-up messages through the sandbox.")
        seed.seed(pki, password=stage.secret("password"))
        outgoing.put(register)
        demo = Demo(stage, port, register, server, services)
        portal[0].wait_for_http(f"http://{LOOPBACK}:{port}/readyz", timeout=60)
        yield demo


def _portal(stage: Stage, environment: dict[str, str], port: int) -> list[Service]:
    """The five processes of the portal itself. One machine and one person need no more than threads."""
    env = plain_environment({**environment, "PYTHONUNBUFFERED": "1"})
    celery = [sys.executable, "-m", "celery", "-A", "meshportal"]
    worker = [*celery, "worker", "--pool", "threads", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    commands: dict[str, list[str]] = {
        "web": [
            *(sys.executable, "-m", "gunicorn", "meshportal.wsgi", "--bind", f"{LOOPBACK}:{port}"),
            *("--worker-class", "gthread", "--threads", "8", "--no-control-socket", "--graceful-timeout", "3"),
        ],
        "poll-worker": [*worker, "--queues", "poll", "--concurrency", "4", "--hostname", "poll@demo"],
        "send-worker": [*worker, "--queues", "send", "--concurrency", "2", "--hostname", "send@demo"],
        "hand-over-worker": [*worker, "--queues", "hand_over", "--concurrency", "1", "--hostname", "hand_over@demo"],
        "worker": [*worker, "--queues", "default,notify", "--concurrency", "2", "--hostname", "default@demo"],
        "scheduler": [*celery, "beat", "--loglevel", "INFO", "--pidfile=", "--schedule", str(stage.folder / "schedule")],
    }
    return [Service(name, argv, log=stage.logs / f"{name}.log", env=env, cwd=ROOT) for name, argv in commands.items()]


def _stop_all(services: list[Service]) -> None:
    """The portal's processes at the same time: none waits for another."""
    with ThreadPoolExecutor(len(services)) as hands:
        list(hands.map(lambda service: service.stop(), services))


def _set_up_django(log: Path) -> None:
    """Makes this process one of the portal's; what it logs goes to a file, the screen is for people."""
    import django

    django.setup()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(log.open("a"))


def _ring() -> None:
    from meshportal.celery import QUEUES
    from meshportal.core.tasks import canary

    for queue in QUEUES:
        canary.apply_async(args=[queue], queue=queue)


def _is_known(message_id: str) -> bool:
    from messages.models import Message

    return Message.objects.filter(environment="sandbox", mesh_id=message_id).exists()


def _ods(mailbox_id: str) -> str:
    return world.BY_ID[mailbox_id].ods_code


def _port(wanted: int | None, say: Say) -> int:
    if _is_free(wanted or USUAL_PORT):
        return wanted or USUAL_PORT
    if wanted:
        raise DemoError(f"Port {wanted} is taken by another program. Choose another: make demo PORT=8001")
    chosen = free_port()
    say(f"Port {USUAL_PORT} is taken by another program; using {chosen}.")
    return chosen


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _rotate(logs: Path) -> None:
    """Keeps the logs from growing for ever: one older file each."""
    for path in logs.glob("*.log"):
        if path.stat().st_size > _LOG_KEPT:
            path.replace(path.with_suffix(".log.1"))
