"""What a build reads, laid out in a temporary directory that is gone when the build has ended, however it ended.

The recipe's own directory is never written to: the Dockerfile lies outside of it, and only a build that needs
something of the host in its context (wheels to mount, a CA bundle to copy) gets a staged copy, made of hard links
where the file system allows.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import os
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core import files, mirrors
from jetson_containers.core.errors import ConfigError, NotReadyError
from jetson_containers.core.text import is_number
from jetson_containers.dockerfile import inject, mirror_script
from jetson_containers.engine.bake_progress import DOCKERFILE
from jetson_containers.engine.interface import Builder, BuildRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "jetson-containers-build-"  # of temporary directories; the process ID follows
STALE = 3600.0  # seconds after which a directory of a process that is gone is removed
OWN = ".jetson"  # the directory of a context that is made for a build; what a recipe has there does not count
LOOPBACK = "127.0.0.1"
_PORTS = range(20000, 30000)  # below the kernel's ephemeral range
_PROXY = re.compile(r"^(https?|all|ftp)_proxy$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A request ready to be built: with everything that is added for this builder, and where it lies."""

    request: BuildRequest
    dockerfile: Path
    context: Path
    build_args: Mapping[str, str] = field(default_factory=dict)  # on top of the request's


@contextlib.contextmanager
def prepared(
    request: BuildRequest,
    builder: Builder,
    *,
    base_user: str = "",
    local: bool = True,
    target: str = "",
    slow_secrets: bool = False,
) -> Iterator[Prepared]:
    """Lay out a build. `base_user` is the user of the base image; `local` says that the engine is on this machine.

    `target` is its name in a bake. There the Dockerfile bears it, because an error names nothing but the file, and the
    number of compile jobs is a secret, because before buildx 0.25 no target can be given an extra host.

    With `slow_secrets` (`Capabilities.slow_secrets`) the commands read the script only where there is something in it.

    Raises ConfigError for a bundle, wheelhouse or context that is not there.
    """
    _check(request)
    mounts = builder is not Builder.LEGACY
    request = _for_builder(request, mounts=mounts)
    with contextlib.ExitStack() as stack:
        sweep(Path(tempfile.gettempdir()))
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")))
        wheels: str | bool = request.wheelhouse is not None
        if request.wheelhouse is not None and not mounts:
            _check_reachable(request, local=local)
            wheels = stack.enter_context(serve(request.wheelhouse))
        text = prepared_text(
            request,
            mounts=mounts,
            base_user=base_user,
            jobs_secret=bool(target),
            reads_script=mounts and (bool(_script(request)) or not slow_secrets),
        )
        file = work / (f"{target}{DOCKERFILE}" if target else "Dockerfile")
        file.write_text(text, encoding="utf-8")
        bundle = bool(request.ca_bundle) and (not mounts or inject.mounts_ca_bundle(text))
        args = inject.build_args_for(mounts=mounts, ca_bundle=bundle, wheelhouse=wheels, index_url=request.index_url)
        if not mounts and not any(_PROXY.match(name) for name in request.build_args):
            args["no_proxy"] = ""  # with any proxy the legacy builder writes `|0` before each command of its key
        if isinstance(wheels, str):
            args |= _without_proxy({**request.build_args, **args})
        context = _staged(request, work, mounts=mounts) if needs_staging(request, mounts=mounts) else request.context
        secrets = _secrets(request, text, work, jobs=bool(target)) if mounts else ()
        request = replace(request, secrets=(*request.secrets, *secrets))
        yield Prepared(request=request, dockerfile=file, context=context, build_args=args)


def _secrets(request: BuildRequest, text: str, work: Path, *, jobs: bool) -> tuple[tuple[str, Path], ...]:
    """What the commands of a build are mounted as files, by the ids of the secrets."""
    texts: dict[str, str] = {}
    found: list[tuple[str, Path]] = []
    if request.ca_bundle is not None and inject.mounts_ca_bundle(text):
        found.append((inject.CA_SECRET_ID, request.ca_bundle))
        texts |= {inject.ca_secret_id(name): text for name, text in inject.ca_files(mounts=True).items()}
    if request.jobs and jobs:
        texts[inject.JOBS_SECRET_ID] = inject.jobs_file(request.jobs)
    if inject.reads_script(text):
        texts[inject.MIRRORS_SECRET_ID] = _script(request) or ":\n"  # BuildKit of engine 20.10 mounts no empty file
    for name, content in texts.items():
        (work / name).write_text(content, encoding="utf-8", errors="surrogateescape")
        found.append((name, work / name))
    return tuple(found)


def _script(request: BuildRequest) -> str:
    """What each command reads first."""
    bundle = request.ca_bundle.read_text(encoding="utf-8", errors="surrogateescape") if request.ca_bundle else ""
    return mirror_script.script(request.mirrors, bundle)


def _for_builder(request: BuildRequest, *, mounts: bool) -> BuildRequest:
    """With mounts, the package index goes the way of the mirrors: a secret, so that no address is in the cache key.

    Without mounts, mirrors of git and of Python packages are build arguments. Raises NotReadyError for others, and
    UsageError for an index URL with credentials.
    """
    if mounts and request.index_url:
        inject.check_index(request.index_url)
        variables = {name: value for name, value in request.variables.items() if value != request.index_url}
        found = {**request.mirrors, "python": request.index_url}
        return replace(request, index_url="", mirrors=found, variables=variables)
    if mounts or not request.mirrors:
        return request
    others = [kind for kind in mirrors.IN_BUILDS if kind not in {"git", "python"} and request.mirrors.get(kind)]
    if others:
        raise NotReadyError(
            f"the legacy builder cannot be told mirrors of {', '.join(others)} without leaving them in the image",
            hint="sudo apt-get install docker-buildx, or leave these out of the setting `mirrors`",
        )
    index = request.index_url or request.mirrors.get("python", "")
    variables = {**request.variables, **mirrors.git_variables(request.mirrors.get("git", {}))}
    if index:
        variables["UV_DEFAULT_INDEX"] = index
    return replace(request, index_url=index, variables=variables, mirrors={})


def prepared_text(
    request: BuildRequest, *, mounts: bool, base_user: str = "", jobs_secret: bool = False, reads_script: bool = False
) -> str:
    """The Dockerfile as it is given to the builder."""
    path = request.context / "Dockerfile"
    text = inject.with_jobs(request.dockerfile, path, secret=jobs_secret) if request.jobs else request.dockerfile
    return inject.prepare(
        inject.with_mirrors(text, path, everywhere=bool(_script(request))) if reads_script else text,
        mounts=mounts,
        ca_bundle=request.ca_bundle is not None,
        wheelhouse=request.wheelhouse is not None,
        index_url=bool(request.index_url),
        variables=request.variables,
        base_user=base_user,
        path=path,
    )


def needs_staging(request: BuildRequest, *, mounts: bool) -> bool:
    """Whether something must stand in the context that the recipe's directory lacks: wheels, a bundle, a file."""
    if request.added or request.shared:
        return True
    return request.wheelhouse is not None if mounts else request.ca_bundle is not None


def sweep(folder: Path, now: float | None = None) -> None:
    """Remove what a process left that was killed without a chance to clean up (SIGKILL, power)."""
    for path in folder.glob(f"{PREFIX}*-*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        with contextlib.suppress(OSError):
            if files.is_old(path, STALE, now) and is_number(pid) and not Path("/proc", pid).exists():
                shutil.rmtree(path, ignore_errors=True)


def stage(source: Path, target: Path, *, follow: bool = False) -> None:
    """Copy a directory with hard links where possible; symbolic links stay such unless `follow`."""
    shutil.copytree(source, target, symlinks=not follow, copy_function=_link_or_copy)


@contextlib.contextmanager
def serve(directory: Path) -> Iterator[str]:
    """Serve a directory over HTTP on loopback and yield its URL, for builds that cannot mount anything.

    The port is derived from the directory: it is part of a build argument, and another port each time would keep
    the engine from reusing its layers. Any free port is taken when that one is in use.
    """
    handler = functools.partial(_Quiet, directory=str(directory))
    digest = hashlib.sha256(str(directory.resolve()).encode()).digest()
    wanted = _PORTS.start + int.from_bytes(digest[:4], "big") % len(_PORTS)
    try:
        server = http.server.ThreadingHTTPServer((LOOPBACK, wanted), handler)
    except OSError:
        server = http.server.ThreadingHTTPServer((LOOPBACK, 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Keep requests off stderr."""


def _check(request: BuildRequest) -> None:
    if not request.context.is_dir():
        raise ConfigError(f"the build context `{request.context}` is not a directory")
    check_inputs(request.ca_bundle, request.wheelhouse)


def check_inputs(ca_bundle: Path | None, wheelhouse: Path | None) -> None:
    """Raise ConfigError for a CA bundle or wheelhouse that is not there."""
    if ca_bundle is not None and not ca_bundle.is_file():
        raise ConfigError(f"the CA bundle `{ca_bundle}` is not a file", hint="check the setting `ca_bundle`")
    if wheelhouse is not None and not wheelhouse.is_dir():
        raise ConfigError(f"the wheelhouse `{wheelhouse}` is not a directory", hint="check the setting `wheelhouse`")


def _check_reachable(request: BuildRequest, *, local: bool) -> None:
    if not local or request.network not in {"host", "none"}:
        where = "an engine on another machine" if not local else f"network `{request.network or 'default'}`"
        raise NotReadyError(
            f"the wheelhouse cannot be offered to {where}: the legacy builder reaches it over this machine's loopback",
            hint="build with the host network, or with BuildKit: sudo apt-get install docker-buildx",
        )


def _without_proxy(args: Mapping[str, str]) -> dict[str, str]:
    """Keep a proxy out of the way to our own loopback server."""
    if not any(_PROXY.match(name) and value for name, value in args.items()):
        return {}
    current = args.get("no_proxy") or args.get("NO_PROXY") or ""
    hosts = [host for host in current.split(",") if host]
    value = ",".join(hosts if LOOPBACK in hosts else [*hosts, LOOPBACK])
    return {"no_proxy": value, "NO_PROXY": value}


def _staged(request: BuildRequest, work: Path, *, mounts: bool) -> Path:
    context = work / "context"
    lay_out(request, context)
    if mounts and request.wheelhouse is not None:
        stage(request.wheelhouse.resolve(), context / inject.WHEELS_SOURCE, follow=True)
    if not mounts and request.ca_bundle is not None:
        target = context / inject.CA_COPY_SOURCE
        shutil.copyfile(request.ca_bundle, target)
        for name, text in inject.ca_files(mounts=False).items():
            target.with_name(name).write_text(text, encoding="utf-8")
        for file in (target, *map(target.with_name, inject.ca_files(mounts=False))):
            file.chmod(0o644)
            os.utime(file, (0, 0))
    return context


def lay_out(request: BuildRequest, context: Path, *, link: bool = True) -> None:
    """Make a directory of a recipe's own files, the texts added to them and the files it shares with other recipes.

    Files are linked where possible unless `link` is false. Raises ConfigError for a name that leads out.
    """
    place = _link_or_copy if link else shutil.copy2
    shutil.copytree(request.context, context, symlinks=True, copy_function=place)
    own = context / OWN
    if own.is_dir() and not own.is_symlink():  # it takes no part in the key, so it must not reach the build
        shutil.rmtree(own)
    own.unlink(missing_ok=True)
    own.mkdir()
    for name, text in request.added.items():
        if not (context / name).parent.resolve().is_relative_to(context.resolve()):
            raise ConfigError(f"`{name}` would be written outside of the build context: a directory in it is a link")
        _write_fresh(context / name, text)
    for name, source in request.shared.items():
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        place(str(source), str(target))
    _let_through(context / ".dockerignore")


def _let_through(ignore: Path) -> None:
    """A recipe's `.dockerignore` must not keep our files out. Written anew: the staged one may be a hard link."""
    if not ignore.is_file():
        return
    text = ignore.read_text(encoding="utf-8", errors="replace")
    _write_fresh(ignore, text.rstrip("\n") + "\n!.jetson\n!.jetson/**\n")


def _write_fresh(file: Path, text: str) -> None:
    """Write a file of a staged context anew: what is there may be a hard link to the recipe's own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_text(text, encoding="utf-8")


def _link_or_copy(source: str, target: str) -> None:
    real = Path(source).resolve()  # only a wheelhouse hands in symbolic links; copytree keeps a context's
    try:
        os.link(real, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(real, target)
