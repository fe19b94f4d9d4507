"""The image that prepares and serves a model: that it is here, and has the programs that will be started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.engine import pull
from jetson_containers.engine.podman_engine import PodmanEngine
from jetson_containers.images import labels
from jetson_containers.llm.pipeline.types import CommandStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import ContainerEngine
    from jetson_containers.llm.containers import Containers
    from jetson_containers.llm.pipeline.types import PlannedStep

_LEAVE_OUT = "leave out `--image`, and the image that runs here is found"
_MISSING = 'for p; do command -v "$p" >/dev/null 2>&1 || echo "missing $p"; done'


def pull_missing(image: str, engine: ContainerEngine, settings: Settings, console: Console) -> str:
    """Pull an image that is not here, before anything else is done; returns its name. Podman gets one of Docker's.

    Where the setting `verify_key` asks for a signature, the name is the digest that has one; raises SignatureError.
    Raises NotReadyError or RegistryError with what to do: otherwise docker's message would only be in a server's log.
    """
    if settings["verify_key"]:
        from jetson_containers.signing import verified

        # Podman's store knows no digests of registries for what was copied from Docker's.
        here = None if isinstance(engine, PodmanEngine) else engine.image(image)
        image = verified.required(image, settings, here)
    if engine.image(image) is not None:
        return image
    if "@" not in image and isinstance(engine, PodmanEngine) and engine.copy(image, console.info, console.detail):
        return image
    if not settings["offline"]:
        console.info(f"pulling image `{image}`")
    pull.pull_missing(engine, image, console.info, offline=settings["offline"], hint=_LEAVE_OUT)
    return image


def refuse_without_programs(
    containers: Containers, packages: Sequence[str], planned: Sequence[PlannedStep], server: Sequence[str]
) -> None:
    """Raises UsageError where the image lacks a program of the steps that will run, or of the server.

    An image whose labels name the runtime's `packages` is not asked; neither is one without a shell.
    """
    image = containers.engine.image(containers.image)
    held = {name.partition(":")[0] for name in labels.read(image.labels).packages} if image else set()
    if {name.partition(":")[0] for name in packages} <= held:
        return
    steps = [step.step for step in planned if step.state == "run"]
    programs = [step.argv[0] for step in steps if isinstance(step, CommandStep) and not step.packages]
    wanted = dict.fromkeys([*programs, *server[:1]])
    output = containers.capture(("sh", "-c", _MISSING, "sh", *wanted)) if wanted else None
    missing = [line.removeprefix("missing ") for line in (output or "").splitlines() if line.startswith("missing ")]
    if missing:
        raise without_programs(containers.image, missing)


def without_programs(image: str, programs: Sequence[str], hint: str = _LEAVE_OUT) -> UsageError:
    """The error of an image that lacks a program."""
    names = ", ".join(f"`{name}`" for name in programs)
    return UsageError(f"the image `{image}` lacks {names}", hint=hint)
