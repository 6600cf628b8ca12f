"""Run the double as a process: ``python -m tests.double --port 8443 --control-port 8444 --tls DIR``."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from meshportal.demo.pki import load_pki

from .control import ControlServer
from .facade import Double


def main() -> int:
    """Serve until TERM or INT."""
    parser = argparse.ArgumentParser(prog="python -m tests.double", description="A strict double of the MESH service.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--tls", type=Path, help="directory written by meshportal.demo.pki.write_pki; plain HTTP without")
    parser.add_argument("--no-client-certificates", action="store_true", help="do not demand client certificates")
    parser.add_argument("--shared-key", default="TestKey")
    parser.add_argument("--records", type=Path, help="file for one JSON line per request")
    options = parser.parse_args()
    pki = load_pki(options.tls) if options.tls is not None else None
    if options.tls is not None and pki is None:
        parser.error(f"{options.tls} holds no usable certificates")
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    double = Double(
        pki,
        port=options.port,
        client_certificates=not options.no_client_certificates,
        shared_key=options.shared_key,
        records=options.records,
    )
    with double:
        control = ControlServer(double, options.control_port)
        print(f"double {double.base_url} control http://127.0.0.1:{control.server_port}", flush=True)
        over.wait()
        control.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
