"""The one decision whether an image runs on a platform. Which of several is best: `autotag.ranking`.

Order of the questions (the first "no" is the reason): role → architecture → L4T family → CUDA within what the driver
runs → GPU code built in, where known → Ubuntu, only where libraries come from the host (r32). Unknown means
refuse. The rules are data in `facts/compat.yaml`, with their evidence; `platforms.cuda` reads them.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jetson_containers.core.versions import pep440
from jetson_containers.images.labels import PLATFORM, read
from jetson_containers.images.name import STAGE_REPOSITORY, distro_word
from jetson_containers.platforms import tables
from jetson_containers.platforms.cuda import Runs, class_of, runs
from jetson_containers.platforms.platform import MACHINES, Arch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from packaging.version import Version

    from jetson_containers.images.name import ImageName, TagPlatform
    from jetson_containers.platforms.platform import Platform


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What is known of an image: from its labels, else from its name, else from the L4T table.

    None (or False for `cpu`) is "not known". `sm` None: it is not known what GPU code is inside.
    """

    reference: str
    arch: Arch | None
    l4t: Version | None
    cuda: Version | None
    cpu: bool
    sm: tuple[int, ...] | None
    distro: str | None  # "22.04", "debian12"
    packages: tuple[str, ...] = ()
    role: str | None = None  # "final", "stage", "artifact"; None: an image that is not ours
    version: str | None = None
    variant: str | None = None
    pushed: str = ""  # ISO date of the push, or of creation for a local image
    size: int | None = None  # bytes; compressed for a registry image
    source: str = "local"  # "local" or the registry's name
    machine: str | None = None  # "aarch64", "x86_64": known also where the flavour is not


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether an image runs here. `rule` is the id of the deciding rule, `reason` a sentence for people."""

    ok: bool
    rule: str
    reason: str


# What an image is ---------------------------------------------------------------------------------------------------


def facts_of(name: ImageName, labels: Mapping[str, str] | None = None, *, docker_arch: str | None = None) -> ImageFacts:
    """Collect what labels, name and table say. `docker_arch` is `arm64`/`amd64` from the image's config.

    A `platform` label stands alone: the name then adds nothing. One that cannot be read leaves everything unknown.
    """
    known = read(labels or {})
    labeled = bool((labels or {}).get(PLATFORM))
    said = _of_label(known.platform) if labeled else _of_tag(name.platform)
    machine = MACHINES.get(docker_arch or "", said.machine)
    if said.machine and said.machine != machine:
        said = _Said()  # the binaries are of another machine than labels or name say: use neither
    elif machine == "x86_64":
        said = replace(said, arch=Arch.X86_64)
    return ImageFacts(
        reference=str(name),
        arch=said.arch,
        l4t=said.l4t,
        cuda=said.cuda,
        cpu=said.cpu,
        sm=said.sm,
        distro=said.distro,
        packages=known.packages,
        role=_role(name, known.role),
        version=name.version,
        variant=name.variant,
        machine=machine,
    )


@dataclass(frozen=True, kw_only=True)
class _Said:
    arch: Arch | None = None
    machine: str | None = None
    l4t: Version | None = None
    cuda: Version | None = None
    cpu: bool = False
    sm: tuple[int, ...] | None = None
    distro: str | None = None


def _role(name: ImageName, label: str) -> str | None:
    if label:
        return label.strip('"')
    return "stage" if f"{name.namespace}/{name.name}" == STAGE_REPOSITORY else None


def _of_label(data: Mapping[str, Any]) -> _Said:
    """Read the platform label, in the form of `labels.platform_value`; what is malformed is unknown."""
    arch = next((arch for arch in Arch if arch.value == data.get("arch")), None)
    l4t, cuda = _version(data.get("l4t")), _version(data.get("cuda"))
    sm = data.get("sm")
    listed = isinstance(sm, list) and all(isinstance(item, int) for item in sm)
    distro = data.get("distro")
    return _Said(
        arch=arch,
        machine=arch.machine if arch else None,
        l4t=l4t,
        cuda=tables.series(cuda) if cuda else None,
        cpu="cuda" in data and data["cuda"] is None,
        sm=tuple(sorted(sm)) if listed and sm else None,
        distro=distro if isinstance(distro, str) else None,
    )


def _of_tag(tag: TagPlatform) -> _Said:
    """Read the name, and complete it with the defaults of its L4T release."""
    row = tables.release_for(tag.l4t) if tag.l4t else None
    if row is None:
        return _Said(
            arch=tag.arch, machine=tag.machine, l4t=tag.l4t, cuda=tag.cuda, cpu=tag.cpu, sm=None, distro=tag.distro
        )
    arch = tag.arch or Arch(row.arch)
    return _Said(
        arch=arch,
        machine=arch.machine,
        l4t=tag.l4t,
        cuda=None if tag.cpu else tag.cuda or row.cuda,
        cpu=tag.cpu,
        sm=None if tag.cpu else row.sm,
        distro=tag.distro or row.ubuntu,
    )


def _version(text: object) -> Version | None:
    return pep440(text) if isinstance(text, str) else None


# Whether it runs ----------------------------------------------------------------------------------------------------


class Compatibility:
    """Decides whether images run on one host: the same for all that say the same of their platform."""

    _asked = operator.attrgetter("role", "machine", "cpu", "sm", "distro")

    def __init__(self, host: Platform) -> None:
        self._host = host
        self._verdicts: dict[tuple[Any, ...], tuple[ImageFacts, Verdict]] = {}

    def of(self, image: ImageFacts) -> Verdict:
        """Decide, as `compatible` does."""
        # Versions by their IDs: equal ones may be spelled otherwise in the reason. The image kept with it holds them.
        # The kind of machine too: hashing a member of an enum takes longer than all the rest.
        said = (id(image.l4t), id(image.cuda), id(image.arch), *self._asked(image))
        known = self._verdicts.get(said)
        if known is None:
            known = self._verdicts[said] = image, compatible(image, self._host)
        return known[1]


def compatible(image: ImageFacts, host: Platform) -> Verdict:
    """Decide. Never raises; what is not known is refused."""
    for question in _QUESTIONS:
        refusal = question(image, host)
        if refusal:
            rule, reason = refusal
            return Verdict(ok=False, rule=rule, reason=reason)
    return Verdict(ok=True, rule="runs", reason=_describe_match(image, host))


_Refusal = tuple[str, str]


def _ask_role(image: ImageFacts, host: Platform) -> _Refusal | None:
    del host
    if image.role in {None, "", "final"}:
        return None
    return "image-role", f"its role is `{image.role}`: not a finished image"


def _ask_architecture(image: ImageFacts, host: Platform) -> _Refusal | None:
    if image.machine and image.machine != host.machine:
        return "architecture", f"made for {image.machine}, this is {host.machine}"
    if image.arch is host.arch:
        return None
    if image.arch is not None:
        return "architecture", f"made for {image.arch.value}, this is {host.arch.value}"
    if image.machine and image.cpu:
        return None  # code without CUDA depends on the instruction set only
    if image.machine:
        return "architecture", f"made for {image.machine}, but nothing reliable says for which user space"
    return "architecture", "nothing says which architecture it was made for"


def _ask_l4t(image: ImageFacts, host: Platform) -> _Refusal | None:
    """Both without L4T, or both of one class; JetPack 7 also takes images for sbsa that name no release."""
    if image.l4t is None and host.l4t is None:
        return None
    if host.l4t is None:
        return "l4t-class", f"made for L4T {image.l4t}, this machine runs none"
    group = class_of(host.l4t)
    if image.l4t is None:
        if image.cpu or (group and group.generic and image.arch is Arch.SBSA):
            return None
        return "l4t-unknown", f"nothing says for which L4T release it was made; this is {host.l4t}"
    theirs = class_of(image.l4t)
    if group and theirs and group.key(host.l4t) == theirs.key(image.l4t):
        return None
    takes = f"which takes images for {group.takes}" if group else "about which nothing is known"
    return "l4t-class", f"made for L4T {image.l4t}, this is {host.l4t}, {takes}"


def _ask_cuda(image: ImageFacts, host: Platform) -> _Refusal | None:
    if image.cpu:
        return None
    if image.cuda is None:
        return "cuda-unknown", "nothing says which CUDA it uses, or that it uses none"
    limit = native_limit(host)
    if limit is None:
        return "cpu-only-host", f"it uses CUDA {image.cuda}, this platform has no CUDA"
    if runs(image.cuda, host.l4t, limit) is not Runs.NOT:
        return None
    group = class_of(host.l4t) if host.l4t else None
    if group and group.cuda_from_host:
        return "cuda-exact", f"it wants CUDA {image.cuda}, this host mounts its own {limit}"
    if group and group.floor and image.cuda < group.floor:
        return "cuda-floor", f"CUDA {image.cuda} is below {group.floor}, the oldest for L4T {host.l4t}"
    return "cuda-range", _too_new(image.cuda, limit, host)


def _too_new(cuda: Version, limit: Version, host: Platform) -> str:
    if host.l4t is None:
        branch = tables.oldest_driver(cuda)
        wish = f"; NVIDIA driver {branch} or newer would" if branch else ""
        return f"CUDA {cuda} is newer than {limit}, which the driver runs{wish}"
    group = class_of(host.l4t)
    further = [each for each in group.compat if each > limit] if group else []
    extra = f", and {tables.listing(further)} {group.compat_way}" if group and further else ""
    return f"the driver of L4T {host.l4t} runs CUDA {limit}{extra}; not {cuda}"


def _ask_gpu(image: ImageFacts, host: Platform) -> _Refusal | None:
    """Is there code for the GPU? Where no chip is named, there must be code for each that the release runs on."""
    if image.cpu or host.l4t is None or image.cuda is None:
        return None  # a desktop GPU is not named by any file, and newer ones run older code of their family
    chips = (tables.soc_sm(host.soc),) if host.soc else host.sm
    for sm in chips:
        needs = tables.needs_cuda(sm)
        if needs and image.cuda < needs:
            return "gpu-code", f"CUDA {image.cuda} makes no code for {_gpu(sm)}"
        if image.sm is not None and sm not in image.sm:
            return "gpu-code", f"it has GPU code for {tables.listing(image.sm)}, not for {_gpu(sm)}"
    return None


def _ask_distro(image: ImageFacts, host: Platform) -> _Refusal | None:
    group = class_of(host.l4t) if host.l4t else None
    if group is None or not group.distro_from_host:
        return None
    here = distro_word(host.distro, host.distro_version)
    if image.distro == here:
        return None
    return "distro", f"it holds {image.distro or 'an unknown system'}, but libraries come from this host's {here}"


_QUESTIONS: tuple[Callable[[ImageFacts, Platform], _Refusal | None], ...] = (
    _ask_role,
    _ask_architecture,
    _ask_l4t,
    _ask_cuda,
    _ask_gpu,
    _ask_distro,
)


def native_limit(host: Platform) -> Version | None:
    """Newest CUDA the host runs natively. A target without a driver is as capable as the CUDA it names."""
    return None if host.cuda is None else host.driver_cuda or host.cuda


def _gpu(sm: int) -> str:
    return f"{tables.gpu_name(sm) or 'this GPU'}, sm_{sm}"


def _describe_match(image: ImageFacts, host: Platform) -> str:
    place = f"L4T {image.l4t} on {host.l4t}" if image.l4t else host.arch.value
    if image.cpu or image.cuda is None:
        return f"{place}, without CUDA"
    limit, group = native_limit(host), class_of(host.l4t) if host.l4t else None
    if limit and group and runs(image.cuda, host.l4t, limit) is Runs.COMPAT:
        return f"{place}, CUDA {image.cuda} {group.compat_way} over {limit}"
    return f"{place}, CUDA {image.cuda} natively"
