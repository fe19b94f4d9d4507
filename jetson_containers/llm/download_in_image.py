"""Download with the downloader of an image, for those who want its huggingface_hub rather than this machine's."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from jetson_containers.core.errors import StepError, ToldError
from jetson_containers.llm.containers import HUB_VARIABLES, NO_PROGRAM, Containers, end, terminate_on_signals
from jetson_containers.llm.image import pull_missing, without_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import Engine
    from jetson_containers.platforms.platform import Platform

_DOWNLOADER = "huggingface-downloader"


def download(
    repositories: Sequence[str],
    image: str,
    platform: Platform,
    engine: Callable[[], Engine],
    settings: Settings,
    console: Console,
    *,
    options: Sequence[str] = (),
) -> list[str]:
    """Download below the data directory; host paths of what came. `options` are handed to the downloader.

    Raises ToldError (the downloader itself has output on stderr what is wrong, and what helps) or StepError.
    """
    engine().run_capabilities.require_here(f"where the download goes: {settings.path('data')}")
    pull_missing(image, engine(), settings, console)
    containers = Containers(
        platform=platform,
        engine=engine(),
        settings=settings,
        console=console,
        image=image,
        image_for=lambda _packages: image,
    )
    words = [word for name in HUB_VARIABLES if os.environ.get(name) for word in ("--env", name)]
    tokens = ("HF_TOKEN", "HUGGINGFACE_TOKEN")
    words += [word for name in tokens if {**settings.env, **os.environ}.get(name) for word in ("--env", name)]
    planned = containers.plan(image, words, [_DOWNLOADER, *options, *repositories], env=dict(os.environ))
    console.info(f"download: {' '.join(repositories)}")
    with terminate_on_signals(), subprocess.Popen(
        planned.argv, env={**os.environ, **planned.env_additions}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate()
        except BaseException:
            end(process, lambda: containers.remove(planned))  # the container would continue without docker's client
            raise
    paths = [line for line in output.splitlines() if line.startswith("/")]
    if process.returncode == NO_PROGRAM:
        raise without_programs(image, [_DOWNLOADER], "without `--image` this machine downloads it itself")
    if process.returncode != 0:
        raise ToldError("the download failed", process.returncode)
    if len(paths) < len(repositories):
        raise StepError(f"the downloader of {image} printed no path", details=output.splitlines()[-5:])
    data = settings.path("data")
    return [str(data / path.removeprefix("/data/")) for path in paths]
