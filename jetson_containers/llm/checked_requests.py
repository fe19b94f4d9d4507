"""Servers of runtimes behind a program that checks requests: `container_scripts/with_checks.py`, in their container.

It listens where the server would, and the server on a port of loopback. Our own servers check requests themselves. The
setting `check_requests` turns it off; an image without Python 3.8 serves without it, which is said.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.llm import containers, image_answers
from jetson_containers.llm.runtimes.interface import SCRIPTS_DIR

if TYPE_CHECKING:
    from jetson_containers.core.settings import Settings
    from jetson_containers.llm.containers import Listening
    from jetson_containers.llm.decide import Decision
    from jetson_containers.llm.prepare import PreparedModel
    from jetson_containers.llm.runtimes.interface import ServeOptions, Service

# Prints True or False; an image without a shell prints nothing.
PYTHON = ("sh", "-c", "python3 -c 'import sys; print(sys.version_info >= (3, 8))' 2>/dev/null || echo False")
LOOPBACK = "127.0.0.1"
_AWAY = 10_000  # of the server's port from the published one
_PORTS = 1 << 16


def service_of(prepared: PreparedModel, options: ServeOptions, listening: Listening) -> Service:
    """The server of a prepared model, behind the checks where it has none of its own and its image can run them.

    Warns where the image cannot. Asks the image once; its answer is kept.
    """
    decision, made = prepared.decision, prepared.containers
    if not _wanted(decision.service(options), made.settings):
        return decision.service(options)
    image = made.engine.image(made.image)
    answer = image_answers.ask(made, (PYTHON,), image.id if image else "").get(" ".join(PYTHON), "")
    if answer.split()[-1:] != ["True"]:
        made.console.warning(
            f"{made.image} has no Python 3.8, so requests to its server are not checked",
            "require a key with --api-key-env NAME, or open no untrusted page in a browser on this machine",
        )
        return decision.service(options)
    return with_checks(decision, options, listening)


def shown(decision: Decision, options: ServeOptions, listening: Listening, settings: Settings) -> Service:
    """The same for a dry run: the image is not asked, and taken to have Python."""
    server = decision.service(options)
    return with_checks(decision, options, listening) if _wanted(server, settings) else server


def _wanted(server: Service, settings: Settings) -> bool:
    return bool(settings["check_requests"]) and not server.checked


def with_checks(decision: Decision, options: ServeOptions, listening: Listening) -> Service:
    """The server on a port of loopback, and the command of the checks in front of its own."""
    port = inner_port(options.port)
    if listening.options == containers.ON_HOST:  # others may listen there too
        port = _free(port)
    server = decision.service(replace(options, host=LOOPBACK, port=port))
    words = ["--host", options.host, "--port", str(options.port), "--server", f"{LOOPBACK}:{port}"]
    if options.api_key:
        words += ["--key-env", server.key_env]
        public = () if server.health.startswith("/v1/") else (server.health,)
        words += [word for path in (*public, *server.open_paths) for word in ("--open", path)]
    argv = ("python3", f"{SCRIPTS_DIR}/with_checks.py", *words, "--", *server.argv)
    return replace(server, argv=argv)


def inner_port(port: int) -> int:
    """The server's own port, always the same for a published one, so that a service file needs no other."""
    return port + _AWAY if port + _AWAY < _PORTS else port - _AWAY


def _free(port: int) -> int:
    """The port, or another one where something listens there."""
    for wanted in (port, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, wanted))
            return int(probe.getsockname()[1])
    return port
