"""The name of the image a build ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.images.name import STAGE_REPOSITORY, ImageName, image_for, is_of_stages, platform_tag

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package


def final_name(package: Package, platform: Platform, name: str = "") -> str:
    """Name the final image after a package, or after `--name`.

    - `ns/` or `reg:5000/ns/`: the package's own name below that prefix;
    - `repo` without a tag: the platform becomes the tag;
    - `repo:tag`: the platform is appended, `repo:tag-r36.4-cu126-22.04`, unless the tag ends with it already. So a
      name never hides what an image runs on, and one `--name` serves several platforms.

    `+` becomes `-`, which is what a tag allows. A package's `prefix` stands before its tag and its `postfix` instead of
    the platform. Raises UsageError for what is not an image name.
    """
    name = name.replace("+", "-")
    suffix = platform_tag(platform) if package.postfix is None else package.postfix
    if not name or name.endswith("/"):
        repository, tag = _own(package, platform, suffix)
        return _checked(name + repository, tag, name)
    if "@" in name:
        raise UsageError(f"--name `{name}`: a digest is given by the content, not chosen", hint="--name REPOSITORY:TAG")
    folder, slash, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    if not tag:
        tag = suffix
    elif suffix and tag != suffix and not tag.endswith(f"-{suffix}"):
        tag = f"{tag}-{suffix}"
    return _checked(folder + slash + repository, tag, name)


def _own(package: Package, platform: Platform, suffix: str) -> tuple[str, str]:
    repository, _, tag = image_for(package.name, platform).replace("+", "-").rpartition(":")
    if package.postfix is not None:
        tag = (tag.removesuffix(platform_tag(platform)) + suffix).strip("-")
    return repository, f"{package.prefix}-{tag}" if package.prefix else tag


def _checked(repository: str, tag: str, name: str) -> str:
    try:
        parsed = ImageName.parse(f"{repository}:{tag}")
        if is_of_stages(parsed):
            raise UsageError(
                f"`{STAGE_REPOSITORY}` is where stages are, which `prune` removes", hint="another `--name`"
            )
        return str(parsed)
    except UsageError as error:
        raise UsageError(f"--name `{name}`: {error.message}" if name else error.message, hint=error.hint) from None
