"""Podman as the engine that starts containers: its own store of images, and Docker's as the place they come from.

Builds are Docker's. Podman 4 answers some questions in other words than Docker: no templates for images, names of
images with their registry. Both are evened out here, so that `llm` need not know which engine it has.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, json_text
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import EngineMissingError, NotReadyError, RegistryError
from jetson_containers.core.process import Children
from jetson_containers.engine import cdi
from jetson_containers.engine.interface import LocalImage, RunCapabilities
from jetson_containers.engine.messages import translate
from jetson_containers.engine.queries import local_image, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.engine.interface import ContainerEngine

CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")  # where Podman looks for specifications, containers.conf(5)
TIMEOUT = 60  # seconds an answer may take
_OWN = ("docker.io/library/", "docker.io/", "localhost/")  # what Podman puts before names that Docker has without it
_MISSING = ("image not known", "no such image")


def capabilities(root: Path, env: Mapping[str, str], uid: int) -> RunCapabilities:
    """What starting a container with Podman takes. Raises EngineMissingError where there is none on PATH."""
    client = shutil.which("podman", path=env.get("PATH"))
    if client is None:
        raise EngineMissingError("there is no `podman` on PATH", hint="sudo apt-get install podman")
    devices = cdi.devices_of(CDI_FOLDERS, root)
    return RunCapabilities(client=client, sudo=False, runtimes=(), cdi_devices=devices, podman=True, rootless=uid != 0)


class PodmanEngine:
    """A `ContainerEngine`. `docker` is opened where Podman lacks an image; without a Docker engine there is none."""

    def __init__(
        self,
        root: Path,
        env: Mapping[str, str],
        uid: int,
        docker: Callable[[], ContainerEngine],
        *,
        approve: Callable[[str], str] | None = None,
    ) -> None:
        """`approve` gives the name under which an image may be pulled, as for `DockerEngine`."""
        self._root, self._env, self._uid, self._docker = root, env, uid, docker
        self._approve = approve

    @functools.cached_property
    def run_capabilities(self) -> RunCapabilities:
        """See `capabilities`."""
        return capabilities(self._root, self._env, self._uid)

    def images(self, labels: Mapping[str, str] | None = None) -> list[LocalImage]:
        """Images of Podman's store, and those of Docker's that are not there: `copy` brings one over."""
        filters = [word for name, value in (labels or {}).items() for word in ("--filter", f"label={name}={value}")]
        listed = self._ask("image", "ls", "--quiet", "--no-trunc", *filters)
        if listed.returncode != 0:
            raise _failed(listed)
        ids = list(dict.fromkeys(listed.stdout.split()))
        own = self._inspect(*ids) if ids else []
        held = {name for image in own for name in image.references}
        return own + [image for image in self._of_docker(labels) if not held & set(image.references)]

    def images_named(self, references: Sequence[str]) -> list[LocalImage]:
        """Those of some images that Podman's store has."""
        return [image for image in map(self.image, references) if image is not None]

    def image(self, reference: str) -> LocalImage | None:
        """One image of Podman's store."""
        return next(iter(self._inspect(reference)), None)

    def copy(self, reference: str, say: Callable[[str], None], on_line: Callable[[str], None]) -> bool:
        """Bring an image from Docker's store; False where that has none of this name. Raises NotReadyError."""
        try:
            found = self._docker().image(reference)
        except NotReadyError:
            found = None
        if found is None:
            return False
        say(f"copying image `{reference}` ({human_bytes(found.size)}) from Docker's store to Podman's")
        name = reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
        self._pull(f"docker-daemon:{name}", f"copying `{reference}` from Docker", on_line, None)
        return True

    def pull(
        self,
        reference: str,
        on_line: Callable[[str], None],
        *,
        platform: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Pull an image from its registry. Raises RegistryError; also when nothing comes for `timeout` seconds."""
        words = ("--platform", platform) if platform else ()
        source = self._approve(reference) if self._approve else reference
        self._pull(source, f"pulling `{source}`", on_line, timeout, *words)
        if source != reference and "@" not in reference:
            named = self._ask("tag", source, reference)
            if named.returncode != 0:
                raise _failed(named)

    def _pull(
        self, source: str, what: str, on_line: Callable[[str], None], timeout: float | None, *options: str
    ) -> None:
        argv = [self.run_capabilities.client, "pull", *options, source]
        ended = Children().run(argv, env=self._env, on_line=on_line, patience=timeout)
        if ended.timed_out:
            raise RegistryError(f"{what}: no answer in {timeout:.0f} s", hint="check the network")
        if ended.exit_code != 0:
            error = translate(ended.output, what)
            if isinstance(error, NotReadyError):
                raise error
            raise RegistryError(error.message, hint=error.hint, details=error.details)

    def _of_docker(self, labels: Mapping[str, str] | None) -> list[LocalImage]:
        try:
            return self._docker().images(labels)
        except NotReadyError:
            return []

    def _inspect(self, *references: str) -> list[LocalImage]:
        """Those of some images that are there: Podman prints them, and complains about the others."""
        answer = self._ask("image", "inspect", *references)
        complaints = [line.lower() for line in answer.stderr.splitlines() if line.strip()]
        only_missing = complaints and all(any(text in line for text in _MISSING) for line in complaints)
        if answer.returncode != 0 and not only_missing:
            raise _failed(answer)
        try:
            rows = checked.items(json_text.parse(answer.stdout or "[]"))
            return [local_image(_as_docker(checked.mapping(row))) for row in rows]
        except ValueError as error:
            raise unreadable(error) from error

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [self.run_capabilities.client, *words]
        try:
            return subprocess.run(
                argv, env=dict(self._env), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=TIMEOUT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise NotReadyError(f"Podman did not answer within {TIMEOUT} s", hint="podman info") from error


def _failed(answer: subprocess.CompletedProcess[str]) -> NotReadyError:
    said = (answer.stderr.strip() or f"exit code {answer.returncode}").splitlines()
    return NotReadyError(f"Podman cannot say which images it has: {said[-1]}", hint="podman info")


def docker_name(reference: str) -> str:
    """The name that Docker has for an image of Podman's store.

    >>> docker_name("docker.io/library/llama_cpp:b5"), docker_name("localhost/mine:1"), docker_name("ghcr.io/a/b:1")
    ('llama_cpp:b5', 'mine:1', 'ghcr.io/a/b:1')
    """
    return next((reference.removeprefix(start) for start in _OWN if reference.startswith(start)), reference)


def _as_docker(row: Mapping[str, Any]) -> dict[str, Any]:
    names = {key: [docker_name(str(name)) for name in row.get(key) or []] for key in ("RepoTags", "RepoDigests")}
    return {**row, **names}
