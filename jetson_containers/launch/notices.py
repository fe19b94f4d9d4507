"""What is said before a start: values that are hidden from the command line, and images for another L4T."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.launch.parts import LaunchPart, Notice, NoticeSeverity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jetson_containers.platforms.platform import Platform


def notices_part(image: str, platform: Platform, hidden: Iterable[str]) -> LaunchPart:
    """Notices on a line; `hidden` are the names of variables whose values were taken out of the argv."""
    passed_on = [
        Notice(
            f"the value of {name} is passed through the environment, not on docker's command line, "
            "where every user could read it",
            severity=NoticeSeverity.INFO,
        )
        for name in sorted(hidden)
    ]
    return LaunchPart(notices=(*passed_on, *_family(image, platform)))


def _family(image: str, platform: Platform) -> list[Notice]:
    """An image for another family of L4T than the machine's: its CUDA is not the one the driver is for."""
    from jetson_containers.core.errors import UsageError
    from jetson_containers.images.name import ImageName
    from jetson_containers.platforms import cuda

    try:
        l4t = ImageName.parse(image).platform.l4t
    except UsageError:
        return []
    if l4t is None or platform.l4t is None:
        return []
    image_class, machine_class = cuda.class_of(l4t), cuda.class_of(platform.l4t)
    if not image_class or not machine_class or image_class.key(l4t) == machine_class.key(platform.l4t):
        return []
    return [
        Notice(
            f"the image is made for L4T {l4t}, and this is L4T {platform.l4t}, which takes images of "
            f"{machine_class.takes}: its GPU libraries may not work here",
            "`./autotag PACKAGE` names an image for this machine",
        )
    ]
