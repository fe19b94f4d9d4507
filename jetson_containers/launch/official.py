"""What images of other projects need on this host: variables that select their code, and their own start program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.images import official
from jetson_containers.images.name import ImageName
from jetson_containers.launch.parts import LaunchPart, Notice, NoticeSeverity

if TYPE_CHECKING:
    from jetson_containers.launch.docker_options import RunLine
    from jetson_containers.launch.parts import LaunchHost

_PROGRAMS = ("bash", "sh", "env", "python", "python3")  # what people start in a container instead of its own program


def official_part(host: LaunchHost, line: RunLine, image: str) -> LaunchPart:
    """Options for an image of the table in `facts/images.yaml`; what the user says comes first."""
    try:
        name = ImageName.parse(image)
    except UsageError:
        return LaunchPart()
    known = official.repository_of(name)
    if known is None:
        return LaunchPart()
    argv: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    for variable, value in official.environment_for(name, host.platform).items():
        if variable not in line.env_names:
            argv += ("--env", f"{variable}={value}")
    if _starts_a_program(line.command, known.entrypoint) and not line.has("entrypoint"):
        argv += ("--entrypoint", "")
        text = f"the image starts `{' '.join(known.entrypoint)}` by itself; here it starts your command instead"
        notices = (Notice(text=text, severity=NoticeSeverity.INFO),)
    return LaunchPart(argv=argv, notices=notices)


def _starts_a_program(command: tuple[str, ...], entrypoint: tuple[str, ...]) -> bool:
    """Whether a command names the program too, as one does for images that start none."""
    if not command or not entrypoint:
        return False
    return command[0] == entrypoint[0] or command[0] in _PROGRAMS or command[0].startswith("/")
