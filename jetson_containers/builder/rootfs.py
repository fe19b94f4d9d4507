"""A root file system made with the system's own package tool, from the host's own package sources.

Only entries of the distribution itself are used (its suites, its `main` component, its keyring): a third party's
repository does not belong in a base image. No mirror's name is known here; whatever the host uses is used.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError, StepError
from jetson_containers.core.process import Children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

KEPT_OPTIONS = ("signed-by", "trusted", "check-valid-until")
TOOLS = ("mmdebstrap", "debootstrap")
SYSTEM_KEYRINGS = "/usr/share/keyrings"  # the keyring packages, which apt depends on, put theirs there
# The host's name and resolver settings, which the tool copies in for its own use.
FORGET = 'rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/machine-id"; : >"$1/etc/machine-id"'

_OWN_MOUNTS = ("unshare", "--mount")
_SUITES = r"(?:-updates|-security|/updates)?"
_OFFICIAL_KEY = re.compile(r"(?:^|/)(?:debian|ubuntu)-archive[\w-]*\.(?:gpg|asc|pgp)$")


@dataclass(frozen=True, kw_only=True)
class RootfsSource:
    """One entry of apt's sources: `deb [options] uri suite components`."""

    uri: str
    suite: str
    components: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        options = " ".join(f"{name}={value}" for name, value in self.options)
        return " ".join(
            filter(None, ("deb", f"[{options}]" if options else "", self.uri, self.suite, *self.components))
        )

    @property
    def keyring(self) -> str | None:
        """The file that says whose signatures count for this entry."""
        return dict(self.options).get("signed-by")


@dataclass(frozen=True, kw_only=True)
class Rootfs:
    """What is to be made: a distribution's minimal system with apt. `arch` is Docker's word: amd64, arm64."""

    distro: str
    version: str
    suite: str
    arch: str
    sources: tuple[RootfsSource, ...]
    foreign: bool = False  # of another architecture than this machine's, run by an emulator

    @property
    def include(self) -> tuple[str, ...]:
        """Packages beyond apt and what it needs."""
        return ("ca-certificates",) if any(s.uri.startswith("https:") for s in self.sources) else ()


def read_sources(root: Path = Path("/")) -> list[RootfsSource]:
    """Read all enabled `deb` entries of `/etc/apt/sources.list*`, both formats, in the order apt reads them."""
    apt = root / "etc/apt"
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    found: list[RootfsSource] = []
    for path in files:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            found += filter(None, map(_one_line, text.splitlines()))
        elif path.suffix == ".sources":
            found += [source for stanza in re.split(r"\n\s*\n", text) for source in _stanza(stanza)]
    return found


def official(sources: Sequence[RootfsSource], codename: str, arch: str) -> tuple[RootfsSource, ...]:
    """Keep the distribution's own entries: release, security and updates suites, `main` and Ubuntu's `universe`.

    An entry with credentials in its URI is left out: it would carry them into the image.
    """
    kept: dict[tuple[str, str], RootfsSource] = {}
    for source in sources:
        options = dict(source.options)
        wanted = options.get("arch", "").split(",")
        components = tuple(name for name in source.components if name in {"main", "universe"})
        if (
            not re.fullmatch(re.escape(codename) + _SUITES, source.suite)
            or "main" not in components
            or (source.keyring is not None and not _OFFICIAL_KEY.search(source.keyring))
            or "@" in source.uri.partition("://")[2].partition("/")[0]
            or ("arch" in options and arch not in wanted)
        ):
            continue
        slim = tuple((name, value) for name, value in source.options if name in KEPT_OPTIONS)
        kept.setdefault(
            (source.uri, source.suite),
            RootfsSource(uri=source.uri, suite=source.suite, components=components, options=slim),
        )
    return tuple(kept.values())


def plan(host: Mapping[str, str], arch: str, *, version: str, codename: str, root: Path = Path("/")) -> Rootfs:
    """Decide what to make. `host` is the host's os-release; `version` and `codename` are of the release to make.

    Raises NotReadyError on a host that is neither Debian nor Ubuntu, or has no usable package source.
    """
    distro = host.get("ID", "")
    if distro not in {"debian", "ubuntu"}:
        raise NotReadyError(
            f"a base image can only be made on Debian or Ubuntu, and this is `{host.get('PRETTY_NAME') or distro}`",
            hint="make a registry reachable, load one (docker load), or give an image: --base IMAGE",
        )
    own = host.get("VERSION_CODENAME", "")
    sources = official(read_sources(root), own, arch)
    if not any(source.suite == own for source in sources):
        raise NotReadyError(
            f"this machine's apt has no source of {distro} {own} itself, so no base image can be made from it",
            hint="add the distribution's own entry to /etc/apt/sources.list, or give an image: --base IMAGE",
        )
    renamed = tuple(replace(source, suite=source.suite.replace(own, codename, 1)) for source in sources)
    return Rootfs(distro=distro, version=version, suite=codename, arch=arch, sources=renamed)


def find_tool(env: Mapping[str, str]) -> str | None:
    """Find the first of the tools on PATH (or where root's PATH would have it)."""
    path = os.pathsep.join([env.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return next((found for tool in TOOLS if (found := shutil.which(tool, path=path))), None)


def mmdebstrap_argv(tool: str, rootfs: Rootfs, sources: Path, target: Path, *, root: bool) -> list[str]:
    """The argv that writes the tar file `target`, as any user whom the kernel lets have a user namespace.

    For root it has a mount namespace as well: killed, it would leave the machine's own /dev/shm and /sys mounted below
    its temporary directory, where whoever removes the directory empties them.
    """
    argv = [*(_OWN_MOUNTS if root else ()), tool, "--variant=apt", "--format=tar", f"--architectures={rootfs.arch}"]
    argv += ["--skip=check/qemu"] if rootfs.foreign else []  # its check needs one more package; we looked already
    argv += [f"--include={','.join(rootfs.include)}"] if rootfs.include else []
    for keyring in _own_keyrings(rootfs):
        folder = shlex.quote(str(Path(keyring).parent))
        argv += [f'--setup-hook=mkdir -p "$1"{folder} && cp {shlex.quote(keyring)} "$1"{folder}/']
    return [*argv, f"--customize-hook={FORGET}", rootfs.suite, str(target), str(sources)]


def debootstrap_argv(tool: str, rootfs: Rootfs, directory: Path) -> list[str]:
    """The argv that fills `directory`; root only. What it mounts there stays in a namespace that ends with it."""
    main = next(source for source in rootfs.sources if source.suite == rootfs.suite)
    argv = [*_OWN_MOUNTS, tool, "--variant=minbase", f"--arch={rootfs.arch}"]
    argv += [f"--keyring={main.keyring}"] if main.keyring else []
    argv += [f"--include={','.join(rootfs.include)}"] if rootfs.include else []
    return [*argv, rootfs.suite, str(directory), main.uri]


def make(
    tool: str,
    rootfs: Rootfs,
    work: Path,
    *,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    children: Children | None = None,
) -> Path:
    """Make `rootfs.tar` below `work` and return it. Raises StepError with the tool's last lines."""
    scratch = work / "tmp"  # the tool forgets some of its temporary files when it is interrupted
    scratch.mkdir(mode=0o755)
    run = _runner(children or Children(), {**env, "TMPDIR": str(scratch)}, on_line)
    target = work / "rootfs.tar"
    lines = "".join(f"{source}\n" for source in rootfs.sources)
    if Path(tool).name == "mmdebstrap":
        sources = work / "sources.list"
        sources.write_text(lines, encoding="utf-8")
        run(mmdebstrap_argv(tool, rootfs, sources, target, root=os.geteuid() == 0))
        sources.unlink()
        return target
    directory = work / "rootfs"
    run(debootstrap_argv(tool, rootfs, directory))
    (directory / "etc/apt/sources.list").write_text(lines, encoding="utf-8")
    for keyring in _own_keyrings(rootfs):
        copy = directory / keyring.lstrip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(keyring, copy)
    run(["sh", "-c", FORGET, "sh", str(directory)])
    left_out = ["./proc/*", "./sys/*", "./dev/*", "./var/lib/apt/lists/*", "./var/cache/apt/*.bin", "./debootstrap"]
    exclude = [f"--exclude={name}" for name in [*left_out, "./var/cache/apt/archives/*.deb"]]
    run(["tar", "--numeric-owner", *exclude, "-C", str(directory), "-cf", str(target), "."])
    shutil.rmtree(directory)
    return target


def _runner(
    children: Children, env: Mapping[str, str], on_line: Callable[[str], None]
) -> Callable[[Sequence[str]], None]:
    def run(argv: Sequence[str]) -> None:
        ended = children.run(argv, env=env, on_line=on_line)
        if ended.exit_code != 0:
            raise StepError(
                f"making a base image failed: `{Path(argv[0]).name}` ended with exit code {ended.exit_code}",
                hint="check that this machine's package sources are reachable: sudo apt-get update",
                details=ended.output.splitlines()[-12:],
            )

    return run


def _own_keyrings(rootfs: Rootfs) -> list[str]:
    """Keyrings that no package of the new system brings along."""
    named = {source.keyring for source in rootfs.sources if source.keyring}
    return sorted(path for path in named if not path.startswith(SYSTEM_KEYRINGS))


def _one_line(line: str) -> RootfsSource | None:
    match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
    if not match:
        return None
    options, uri, suite, components = match.groups()
    pairs = (word.partition("=") for word in (options or "").split())
    return RootfsSource(
        uri=uri,
        suite=suite,
        components=tuple(components.split()),
        options=tuple((name.lower(), value) for name, _, value in pairs),
    )


def _stanza(text: str) -> Iterator[RootfsSource]:
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
        return
    names = {"signed-by": "signed-by", "trusted": "trusted", "check-valid-until": "check-valid-until"}
    options = [(option, fields[field].strip()) for field, option in names.items() if fields.get(field)]
    if architectures := fields.get("architectures"):
        options.append(("arch", ",".join(architectures.split())))
    for uri in fields.get("uris", "").split():
        for suite in fields.get("suites", "").split():
            yield RootfsSource(
                uri=uri, suite=suite, components=tuple(fields.get("components", "").split()), options=tuple(options)
            )
