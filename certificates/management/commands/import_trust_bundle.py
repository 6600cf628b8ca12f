from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from certificates import services
from certificates.models import Environment
from certificates.reading import MAX_BYTES
from meshportal.audit.actors import Actor
from meshportal.core.commands import read_file, sentences


def bundle_of_mesh_client(environment: str, folder: str | None) -> Path:
    """The CA bundle inside an installed mesh-client package, or inside ``folder``. Raises CommandError."""
    if folder is None:
        spec = importlib.util.find_spec("mesh_client")
        if spec is None or spec.origin is None:
            raise CommandError(
                "The mesh-client package is not installed here. Install it (pip install mesh-client), or name the folder "
                "of one that is installed elsewhere with --folder."
            )
        folder = str(Path(spec.origin).parent)
    found = sorted(Path(folder).rglob(f"nhs-{environment}*.pem"))
    roots = [path for path in found if "root" in path.name] or found
    if not roots:
        raise CommandError(f"{folder} holds no CA bundle for {environment} (nhs-{environment}….pem).")
    return roots[0]


class Command(BaseCommand):
    help = "Makes a CA bundle the one that the servers of an environment are checked against."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("environment", choices=Environment.values)
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--file", help="a PEM file with the CA certificates")
        source.add_argument("--from-mesh-client", action="store_true", help="the bundle inside the mesh-client package")
        source.add_argument("--previous", action="store_true", help="the bundle that was in use before the present one")
        parser.add_argument("--folder", help="where the mesh-client package is installed, if not here")
        parser.add_argument("--reason", default="", help="why; the audit keeps it")
        parser.add_argument("--check", action="store_true", help="only say what is in it and whether it could be used")

    def handle(self, *_args: Any, **options: Any) -> None:
        environment = options["environment"]
        name, pem = self._chosen(environment, options)
        try:
            checked = services.check_trust_bundle(environment=environment, pem=pem)
            if not options["check"]:
                bundle = services.replace_trust_bundle(
                    actor=Actor.command("import_trust_bundle"),
                    environment=environment,
                    name=name,
                    pem=pem,
                    reason=options["reason"],
                )
        except ValidationError as error:
            raise CommandError(sentences(error)) from None
        for one in checked.authorities:
            self.stdout.write(f"{one.subject}, until {one.not_after:%Y-%m-%d}, SHA-256 {one.fingerprint}")
        for warned in checked.warnings:
            self.stdout.write(f"Note: {warned.sentence}")
        if options["check"]:
            self.stdout.write(f"{name} can be used. Nothing was changed.")
        else:
            self.stdout.write(f"The servers of {environment} are checked against {bundle.name} from the next poll on.")

    def _chosen(self, environment: str, options: dict[str, Any]) -> tuple[str, bytes]:
        if options["previous"]:
            before = services.previous_trust_bundle(environment)
            if before is None:
                raise CommandError(f"No other bundle of {environment} is kept to go back to.")
            return before.name, before.pem.encode()
        path = options["file"] or str(bundle_of_mesh_client(environment, options["folder"]))
        # One byte more than is allowed is enough to refuse it.
        return Path(path).name, read_file(path, most=MAX_BYTES + 1)
