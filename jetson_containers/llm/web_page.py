"""A page to chat in, beside a server in its container: `container_scripts/with_page.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.llm import containers
from jetson_containers.llm.runtimes.interface import SCRIPTS_DIR

if TYPE_CHECKING:
    from jetson_containers.llm.containers import Listening
    from jetson_containers.llm.runtimes.interface import Service

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared


def with_page(
    service: Service, listening: Listening, beside: Listening, *, port: int, page: int
) -> tuple[Service, Listening]:
    """The server's command with the page's program in front, and both ports published where they have to be.

    `listening` is how the server's `port` is reached, `beside` how the page's would be alone.
    """
    host = listening.host
    reached = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    words = ("--host", beside.host, "--port", str(page), "--server", f"{reached}:{port}", "--")
    argv = ("python3", f"{SCRIPTS_DIR}/with_page.py", *words, *service.argv)
    published = () if beside.options == containers.ON_HOST else beside.options[-2:]
    both = replace(listening, options=(*listening.options, *published))
    return replace(service, argv=argv), both
