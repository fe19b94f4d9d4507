"""The image a build starts from: the platform's own, or where no registry answers one made on this machine.

The order of the questions: `--base`, the platform's default in the local store, one made earlier, the registry, and
last a new one from the host's own package sources. A made base is of the host's distribution, so the platform is
rebased onto that one, and said so; where the request names another distribution, none is made.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.builder import known_base, rootfs
from jetson_containers.builder.known_base import BaseImage
from jetson_containers.core import files
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import (
    DiskSpaceError,
    NotReadyError,
    RegistryError,
    TargetError,
    UsageError,
    command,
)
from jetson_containers.core.process import Children
from jetson_containers.engine import pull, transfer_progress
from jetson_containers.engine.interface import BuildRequest
from jetson_containers.images import labels
from jetson_containers.platforms import tables
from jetson_containers.platforms.overrides import rebase
from jetson_containers.platforms.platform import default_base_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import Engine, LocalImage
    from jetson_containers.platforms.platform import Platform

REPOSITORY = "jetson-containers/base"

MAKING_NEEDS = 1_000_000_000  # bytes, both for the tool's work and in the engine's store; 0.4 GB measured
DOCKERFILE = 'FROM scratch\nADD rootfs.tar /\nCMD ["/bin/bash"]\n'


def ensure(
    platform: Platform,
    engine: Engine,
    console: Console,
    settings: Settings,
    *,
    base: str = "",
    allow_install: bool = False,
    root: Path = Path("/"),
) -> BaseImage:
    """Have a base image in the local store. `base` is the user's `--base`.

    `allow_install` lets root install the package tool with apt, which is said aloud. Raises NotReadyError when
    there is no image and none can be made, RegistryError for a `--base` that cannot be pulled, UsageError for one whose
    label names another platform, SignatureError where the setting `verify_key` asks for a signature and what a
    registry gave has none.
    """
    chosen = base or settings["base"]
    if chosen:
        found = _own(chosen, platform, engine, console, settings)
    else:
        found = (
            _local_default(platform, engine, settings)
            or _made_before(platform, engine, console, root)
            or _pulled(platform, engine, console, settings)
            or _make(platform, engine, console, settings, root, allow_install=allow_install)
        )
    if settings["verify_key"] and not found.made:
        from jetson_containers.signing import verified

        verified.check_base(found.reference, settings, engine.image(found.reference))
    known_base.remember(settings, platform, chosen, found)
    return found


def fetch_pinned(
    locked: Mapping[str, str], platform: Platform, engine: Engine, console: Console, settings: Settings
) -> None:
    """Pull the base image of a lock by its digest and give it its name, where no image has that name here.

    An image that is here is left alone: whether it is the locked one is seen by its digest. Raises what a pull raises.
    """
    from jetson_containers.plan import lock

    reference, source = locked["reference"], lock.pinned(locked)
    if not source or settings["offline"] or engine.image(reference) is not None:
        return
    console.info(f"pulling the base image {source}")
    try:
        transfer_progress.pull(engine, source, console, platform=platform.docker_platform)
    except RegistryError as error:
        console.warning(f"cannot get the locked base image `{source}`: {error.message}")
        return
    engine.tag(source, reference)


def made_name(distro: str, version: str, arch: str) -> str:
    """Name of a base we make: `jetson-containers/base:debian12-amd64`."""
    return f"{REPOSITORY}:{distro}{version}-{arch}"


def _own(reference: str, platform: Platform, engine: Engine, console: Console, settings: Settings) -> BaseImage:
    """The user's choice, never replaced by another; its distribution is read from the image itself."""
    image = engine.image(reference)
    if image is None:
        if not settings["offline"]:
            console.info(f"pulling the base image {reference}")
        pull.pull_missing(
            engine,
            reference,
            console,
            offline=settings["offline"],
            hint="check the name that `--base` was given",
            platform=platform.docker_platform,
        )
        image = engine.image(reference)
    if image is None:
        raise RegistryError(f"--base {reference}: it was pulled, but is not in the local store")
    arch = _arch(platform)
    if image.architecture != arch:
        raise NotReadyError(
            f"--base {reference} is an image for {image.architecture}, and the target is {arch}",
            hint=command("docker", "pull", "--platform", platform.docker_platform, reference),
        )
    odd = known_base.misfit(reference, platform, image.labels) if image.labels.get(labels.PLATFORM) else None
    if odd:  # a name may be any, and is told with the plan; a label was written by the build that made the image
        raise UsageError(odd[0], hint=odd[1])
    digest = _digest(image, settings)
    known = known_base.recorded(platform, settings, reference, digest)
    if known is not None:
        return known  # a container need not say again what the same image said
    held = _platform_of(image, reference, platform, engine, console)
    return BaseImage(reference=reference, platform=held or platform, digest=digest, assumed=held is None)


def _local_default(platform: Platform, engine: Engine, settings: Settings) -> BaseImage | None:
    reference = default_base_image(platform)
    image = engine.image(reference)
    if image is None or image.architecture != _arch(platform):
        return None
    return BaseImage(reference=reference, platform=platform, digest=_digest(image, settings))


def _made_before(platform: Platform, engine: Engine, console: Console, root: Path) -> BaseImage | None:
    host = _os_release(root)
    distro = host.get("ID", "")
    for version in dict.fromkeys((_version_to_make(host, platform), host.get("VERSION_ID", ""))):
        if not known_base.may_stand_in(platform, distro, version):
            continue
        reference = made_name(distro, version, _arch(platform))
        image = engine.image(reference)
        if image is None or image.labels.get(labels.ROLE) != labels.BASE or image.architecture != _arch(platform):
            continue
        console.detail(
            f"base image: {reference}, made here earlier (remove it with docker rmi to ask the registry again)"
        )
        return _as_made(reference, image, platform, distro, version)
    return None


def _pulled(platform: Platform, engine: Engine, console: Console, settings: Settings) -> BaseImage | None:
    """Pull the default; None, with a notice, when no registry has it for us."""
    reference = default_base_image(platform)
    if settings["offline"]:
        console.detail(f"offline: `{reference}` is not pulled")
        return None
    console.info(f"pulling the base image {reference}")
    try:
        transfer_progress.pull(
            engine, reference, console, platform=platform.docker_platform, timeout=float(settings["stop_timeout"])
        )
    except RegistryError as error:
        console.warning(f"cannot get the base image `{reference}`: {error.message}")
        return None
    return _local_default(platform, engine, settings)


def _make(
    platform: Platform, engine: Engine, console: Console, settings: Settings, root: Path, *, allow_install: bool
) -> BaseImage:
    host = _os_release(root)
    arch = _arch(platform)
    version = _version_to_make(host, platform)
    row = tables.distro(host.get("ID", ""), version)
    codename = str(row["codename"]) if row else host.get("VERSION_CODENAME", "")
    wanted = rootfs.plan(host, arch, version=version, codename=codename, root=root)
    _check_distribution(platform, wanted)
    rebased = rebase(platform, wanted.distro, version, "base image made here")
    foreign = _check_emulation(platform, engine)
    if not engine.capabilities.elsewhere:
        files.ensure_engine_space(engine.capabilities.data_root, MAKING_NEEDS)
    tool = _tool(settings.env, console, allow_install=allow_install)
    reference = made_name(wanted.distro, version, arch)
    console.info(
        f"making the base image {reference} with {Path(tool).name} from this machine's own package sources"
        f" ({wanted.distro} {version} instead of {platform.distro} {platform.distro_version})"
    )
    _build(tool, replace(wanted, foreign=foreign), reference, rebased, engine, console, settings)
    image = engine.image(reference)
    if image is None:
        raise NotReadyError(f"`{reference}` was built, but is not in the local store")
    console.ok(f"base image {reference}, {human_bytes(image.size)}")
    return _as_made(reference, image, platform, wanted.distro, version)


def _check_distribution(platform: Platform, wanted: rootfs.Rootfs) -> None:
    """Refuse to make another distribution than the one that the request names."""
    if known_base.may_stand_in(platform, wanted.distro, wanted.version):
        return
    raise NotReadyError(
        f"{platform.origins['distro']}: the base image `{default_base_image(platform)}` is not here and could"
        f" not be pulled, and this machine can only make {wanted.distro} {wanted.version}",
        hint="load it (docker load), give another image (--base IMAGE), or leave the distribution out of the target",
    )


def _build(
    tool: str,
    wanted: rootfs.Rootfs,
    reference: str,
    platform: Platform,
    engine: Engine,
    console: Console,
    settings: Settings,
) -> None:
    """Make the file system and import it. `docker import` of engine 20.10 calls every image amd64, a build does not."""
    with files.temporary_folder("jetson-containers-base-", console.warning) as work:
        work.chmod(0o755)  # apt and the tool's own user namespace work as other users
        free = files.directory_space(work)
        if free is not None and free < MAKING_NEEDS:
            raise DiskSpaceError(
                f"making a base image needs {human_bytes(MAKING_NEEDS)} below `{work.parent}`,"
                f" {human_bytes(free)} are free",
                hint="set TMPDIR to a directory on a larger disk",
            )
        rootfs.make(tool, wanted, work, env={**os.environ, **settings.env}, on_line=console.detail)
        request = BuildRequest(
            context=work,
            dockerfile=DOCKERFILE,
            tag=reference,
            platform=platform.docker_platform,
            labels={
                labels.ROLE: labels.BASE,
                labels.PLATFORM: json.dumps(labels.platform_value(platform), sort_keys=True),
            },
        )
        engine.build(request, console.detail)


def _tool(env: Mapping[str, str], console: Console, *, allow_install: bool) -> str:
    tool = rootfs.find_tool(env)
    if tool is None and allow_install and os.geteuid() == 0:
        console.info("installing mmdebstrap, which makes base images: apt-get install mmdebstrap")
        run = Children().run
        apt_env = {**os.environ, **env, "DEBIAN_FRONTEND": "noninteractive"}
        for argv in (
            ["apt-get", "update"],
            ["apt-get", "install", "--yes", "--no-install-recommends", "mmdebstrap"],
        ):
            run(argv, env=apt_env, on_line=console.detail)
        tool = rootfs.find_tool(env)
    if tool is None:
        raise NotReadyError(
            "no base image: no registry answers, and nothing here can make one",
            hint="sudo apt-get install mmdebstrap, then run the same command again",
        )
    return tool


def _check_emulation(platform: Platform, engine: Engine) -> bool:
    """Whether the platform is foreign here. A foreign system's packages run scripts while they are installed."""
    from jetson_containers.engine import emulation

    if not emulation.runs(platform.docker_platform, engine.capabilities.platforms):
        raise NotReadyError(
            f"a base image for {platform.docker_platform} cannot be made here: no emulator is registered",
            hint=emulation.remedy(platform.docker_platform),
        )
    return platform.docker_platform != engine.capabilities.platforms[0]


def _platform_of(
    image: LocalImage, reference: str, platform: Platform, engine: Engine, console: Console
) -> Platform | None:
    """Rebase onto the distribution inside the image; None, with a warning, when it does not say one that we know."""
    release: dict[str, str] = {}
    try:
        ended = engine.run(
            image.id or reference, ["/etc/os-release"], options=["--entrypoint", "cat", "--network", "none"], timeout=60
        )
        release = parse_os_release(ended.output) if ended.exit_code == 0 else {}
    except NotReadyError as error:
        console.detail(f"{reference} cannot be run to find its distribution: {error.message}")
    distro, version = release.get("ID", ""), release.get("VERSION_ID", "")
    if (distro, version) == (platform.distro, platform.distro_version):
        return platform
    try:
        return rebase(platform, distro, version, f"of {reference}")
    except TargetError:
        console.warning(
            f"{reference} does not say which distribution it is; assuming {platform.distro} {platform.distro_version}"
        )
        return None


def _as_made(reference: str, image: LocalImage, platform: Platform, distro: str, version: str) -> BaseImage:
    rebased = rebase(platform, distro, version, f"of {reference}")
    return BaseImage(reference=reference, platform=rebased, digest=image.id, made=True)


def _version_to_make(host: Mapping[str, str], platform: Platform) -> str:
    """The release to make: the platform's own where the host's archive has it, which holds for Ubuntu's."""
    own = host.get("VERSION_ID", "")
    if host.get("ID") == platform.distro == "ubuntu" and tables.distro("ubuntu", platform.distro_version):
        return platform.distro_version
    return own


def _arch(platform: Platform) -> str:
    return platform.docker_platform.partition("/")[2]


def _digest(image: LocalImage, settings: Settings) -> str:
    """The same on every machine for an image of a registry, also where a bundle brought it; else the image's own ID.

    The copy that a farm's workers pull gives the image a digest while one of them has it by that name: were it counted,
    a build that looks at this moment would make every stage again.
    """
    names = (entry.partition("@") for entry in sorted(image.digests))
    found = (digest for repository, _, digest in names if repository.rpartition("/")[2] != known_base.COPIES)
    return next(found, "") or known_base.loaded_digest(settings, image.id) or image.id


def _os_release(root: Path) -> dict[str, str]:
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            return parse_os_release((root / name).read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return {}


def parse_os_release(text: str) -> dict[str, str]:
    """Read the `KEY=value` lines of os-release(5)."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}
