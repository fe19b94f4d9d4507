"""The real engine: everything goes through the docker client, but for questions that its socket answers (`api`).

Clean-up policy: whatever ends a call (success, failure, time-out, Ctrl-C, `stop` from another thread), its child
processes are gone, its container is removed and its temporary files are deleted before the call returns or raises.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text, mirrors
from jetson_containers.core.errors import BuildError, NotReadyError, RegistryError
from jetson_containers.core.process import TAIL, Children, FinishedProcess
from jetson_containers.engine import api, argv, emulation, owner
from jetson_containers.engine.interface import (
    BakeResult,
    Builder,
    BuildTimeoutError,
    LocalImage,
    RunResult,
    TransferRequest,
)
from jetson_containers.engine.messages import DETAIL_LINES, translate
from jetson_containers.engine.probe import (
    DEFAULT_SOCKET,
    Client,
    ProbedHost,
    major,
    may_be_elsewhere,
    probe,
    run_capabilities,
    unprobed_client,
)
from jetson_containers.engine.queries import Queries, is_missing, local_image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import (
        BakeWatcher,
        BuildRequest,
        Capabilities,
        EngineUsage,
        HistoryEntry,
        RunCapabilities,
    )
    from jetson_containers.engine.probe import ProbeAnswer
    from jetson_containers.engine.transfer_events import Transferred

KEEP_LINES = 100_000  # of a container's output
NOT_STARTED = 125  # docker's exit code when it could not start the container
TIMED_OUT = 124
_TRUE = ("1", "t", "true")  # as Go reads a boolean
NEVER_STARTED = "0001-"  # beginning of StartedAt of a container that never ran

_probed: dict[tuple[str, ...], tuple[Capabilities, Client]] = {}


class DockerEngine:
    """`interface.Engine` on top of a docker client. Nothing is touched before the first use."""

    def __init__(
        self,
        settings: Settings | None = None,
        console: Console | None = None,
        *,
        host: ProbedHost | None = None,
        approve: Callable[[str], str] | None = None,
    ) -> None:
        """`approve` gives the name under which an image may be pulled, by digest where a signature is asked for."""
        self._wanted = str(settings["engine"]) if settings is not None else "auto"
        self._registries: Mapping[str, str] = settings["mirrors"].get("registries", {}) if settings is not None else {}
        self._console = console
        self._given_host = host
        self._approve = approve
        self._children = Children()
        self._looked_for_left_over = False

    @functools.cached_property
    def _host(self) -> ProbedHost:
        return self._given_host or ProbedHost.real()

    @functools.cached_property
    def _found(self) -> tuple[Capabilities, Client]:
        names = ("PATH", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG")
        key = (self._wanted, *(self._host.env.get(name, "") for name in names))
        if self._given_host is not None:
            return probe(self._wanted, self._host)
        if key not in _probed:
            _probed[key] = probe(self._wanted, self._host)
        capabilities, _ = _probed[key]
        if self._console:
            self._console.detail(
                f"engine {capabilities.server_version} through `{capabilities.client}` {capabilities.client_version},"
                f" builder: {capabilities.builder.value}{', with sudo' if capabilities.sudo else ''}"
            )
        return _probed[key]

    @functools.cached_property
    def _queries(self) -> Queries:
        return Queries(self._ask, self._get)

    @functools.cached_property
    def _unprobed(self) -> str | None:
        return unprobed_client(self._host)

    def _ask(self, *args: str) -> ProbeAnswer:
        """Ask through the first client on PATH. Only where that fails, all are probed, and the best one is asked."""
        if not self._is_probed and self._unprobed is not None:
            answer = self._host.ask([self._unprobed, *args])
            if answer.exit_code == 0 or is_missing(answer):
                return answer
        return self._host.ask(argv.docker(self.capabilities, *args))

    def _get(self, resource: str) -> tuple[int, Any] | None:
        """Ask the engine itself, where its socket is certain to be the one that the client asks; None elsewhere."""
        if self._is_probed:
            client = self._found[1]
            path, endpoint, usable = client.path, client.endpoint, not client.sudo
        else:
            path = self._unprobed or ""
            endpoint, usable = self._host.env.get("DOCKER_HOST") or DEFAULT_SOCKET, bool(path)
        socket = api.socket_of(path, endpoint, self._host.root) if usable else None
        try:
            return api.get(socket, resource) if socket is not None else None
        except TimeoutError:
            said = f"`{endpoint}` did not answer within {api.TIMEOUT} s"
            raise translate(said, "asking for images") from None

    @property
    def _is_probed(self) -> bool:
        return "_found" in self.__dict__

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; probed once per process, on first use."""
        return self._found[0]

    @functools.cached_property
    def run_capabilities(self) -> RunCapabilities:
        """What starting a container needs: one question, where the first client on PATH answers it."""
        if not self._is_probed and self._unprobed is not None:
            found = run_capabilities(self._unprobed, self._host)
            if found is not None:
                return found
        return self.capabilities

    @property
    def elsewhere(self) -> bool:
        """Whether it is on another machine; a question only where the environment leaves it open."""
        return may_be_elsewhere(self._host.env) and self.capabilities.elsewhere

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> None:
        """Build and load into the local store; `on_line` gets each output line.

        Raises BuildError (OutOfMemoryError, BuildTimeoutError), or a NotReadyError when the engine, not the recipe,
        is at fault. A failed build leaves no name behind.
        """
        from jetson_containers.dockerfile.inject import without_script
        from jetson_containers.engine.context import prepared

        self._check_platform(request)
        self._fetch_named(request, on_line)
        capabilities, client = self._found
        local = client.endpoint.startswith("unix:")
        with prepared(
            request,
            capabilities.builder,
            base_user=self._base_user(request),
            local=local,
            slow_secrets=capabilities.slow_secrets,
        ) as ready:
            command = argv.build(
                capabilities,
                ready.request,
                dockerfile=ready.dockerfile,
                context=ready.context,
                docker_context=client.context,
                build_args=ready.build_args,
            )
            hidden = argv.by_name({**request.build_args, **ready.build_args})
            env = {**argv.builder_env(capabilities.builder), **hidden}
            ended = self._run(command, lambda line: on_line(without_script(line)), timeout=request.timeout, env=env)
        output = without_script(ended.output)
        if ended.timed_out:
            raise BuildTimeoutError(
                f"building `{request.tag}` took longer than {request.timeout:.0f} s and was stopped",
                hint="give the recipe a longer `timeout:`",
                details=_last_lines(output),
            )
        if ended.exit_code != 0:
            raise translate(output, f"building `{request.tag}`")

    def bake(self, requests: Sequence[BuildRequest], watcher: BakeWatcher, *, wanted: Sequence[str]) -> BakeResult:
        """Build the stages `wanted` by one command, each after those it `needs`; where one fails, all are stopped.

        Raises a JetsonError when no single stage is at fault.
        """
        from jetson_containers.dockerfile.inject import without_script
        from jetson_containers.engine import bake
        from jetson_containers.engine.bake_progress import BakeProgress

        for request in requests:
            self._check_platform(request)
            self._fetch_named(request, partial(watcher.line, request.tag))
        names = bake.target_names(request.tag for request in requests)
        tags = {name: tag for tag, name in names.items()}
        progress = BakeProgress(
            list(tags),
            lambda name, line: watcher.line(tags[name], without_script(line)),
            lambda name: watcher.built(tags[name]),
        )
        stopped, thread = threading.Event(), threading.get_ident()

        def stop() -> None:
            stopped.set()
            self._children.stop_thread(thread)

        watcher.started(stop)
        ended = self._bake(requests, {tag: names[tag] for tag in wanted}, names, progress.line)
        finished = frozenset(tags[name] for name in progress.finished())
        if ended.exit_code == 0:
            return BakeResult(failed={}, finished=finished)
        guilty = progress.failed()
        if guilty is not None:
            error = translate(without_script(progress.told(guilty)), f"building `{tags[guilty]}`")
            return BakeResult(failed={tags[guilty]: error}, finished=finished - {tags[guilty]})
        if stopped.is_set():
            return BakeResult(failed={}, finished=finished)
        raise translate("\n".join(progress.text), f"building {len(requests)} stages")

    def _bake(
        self,
        requests: Sequence[BuildRequest],
        wanted: Mapping[str, str],
        names: Mapping[str, str],
        on_line: Callable[[str], None],
    ) -> FinishedProcess:
        from jetson_containers.engine import bake
        from jetson_containers.engine.context import PREFIX, prepared

        capabilities, client = self._found
        with contextlib.ExitStack() as stack:
            builds = [
                stack.enter_context(
                    prepared(request, Builder.BUILDX, target=names[request.tag], slow_secrets=capabilities.slow_secrets)
                )
                for request in requests
            ]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")))
            written = bake.files(builds, names, wanted)
            (folder / "bake.json").write_text(json.dumps(written.definition), encoding="utf-8")
            (folder / "networks.yaml").write_text(json.dumps(written.networks), encoding="utf-8")  # JSON is YAML
            command = bake.command(
                capabilities,
                ("bake.json", *(["networks.yaml"] if written.networks["services"] else [])),
                docker_context=client.context,
                env=written.env,
                network=any(request.network == "host" for request in requests),
            )
            # There, because bake reads an `.env` where it is started.
            return self._run(command, on_line, env=written.env, cwd=folder)

    def build_argv(self, request: BuildRequest) -> list[str]:
        """Return the argv of `build`, with the recipe's own paths instead of the temporary ones."""
        capabilities, client = self._found
        return argv.build(
            capabilities,
            request,
            dockerfile=request.context / "Dockerfile",
            context=request.context,
            docker_context=client.context,
        )

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        options: Sequence[str] = (),
        timeout: float | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> RunResult:
        """Run a container of a local image to its end and remove it.

        Raises NotReadyError when the container cannot be started. An exit code of the command, whatever it is, is a
        result; after `timeout` seconds it is 124, as timeout(1) has it.
        """
        name = argv.container_name(options) or f"jetson-containers-{os.getpid()}-{os.urandom(4).hex()}"
        more = ["--pull", "never"] if major(self.capabilities.client_version) >= 20 else []
        words = argv.run(self.capabilities, image, command, name=name, options=[*more, *owner.label(), *options])
        self._remove_left_over()
        remove = functools.partial(self._remove_container, name)
        try:
            ended = self._run(words, on_line, timeout=timeout, end_first=remove, keep=KEEP_LINES)
            started, oom = self._state(name)
        finally:
            remove()
        if ended.timed_out:
            return RunResult(exit_code=TIMED_OUT, output=ended.output, oom_killed=oom, timed_out=True)
        if ended.exit_code == NOT_STARTED and not started:
            raise _not_ready(translate(ended.output, f"running `{image}`"), f"`{image}` cannot be run")
        return RunResult(exit_code=ended.exit_code, output=ended.output, oom_killed=oom)

    def images(self, labels: Mapping[str, str] | None = None) -> list[LocalImage]:
        """Images of the local store, newest first, optionally only those with these labels."""
        found = {image.id: image for image in map(local_image, self._queries.search(labels or {}))}
        return sorted(found.values(), key=lambda image: image.created, reverse=True)

    def images_named(self, references: Sequence[str]) -> list[LocalImage]:
        """Those of some images that are there, asked for at once."""
        return [local_image(attributes) for attributes in self._queries.named(references)]

    def image(self, reference: str) -> LocalImage | None:
        """One image by name, digest or ID; None when the local store has none."""
        attributes = None if reference.startswith("-") else self._queries.inspect(reference)  # docker reads options
        return local_image(attributes) if attributes is not None else None

    def usage(self) -> EngineUsage | None:
        """What the store takes; None when it cannot be learnt."""
        from jetson_containers.engine import sdk

        return sdk.usage(self._found[1].endpoint, self._host.env)

    def layers(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The layers of images by their IDs, bottom first."""
        return self._queries.layers(ids)

    def history(self, reference: str) -> tuple[HistoryEntry, ...]:
        """The instructions an image was made by, newest first; nothing where it is not there."""
        return self._queries.history(reference)

    def prune_build_cache(self) -> int:
        """Remove what BuildKit keeps and nothing uses; bytes. Raises NotReadyError where it cannot be asked."""
        from jetson_containers.engine import sdk

        freed = sdk.prune_build_cache(self._found[1].endpoint, self._host.env)
        if freed is None:
            raise NotReadyError("the engine's build cache cannot be pruned from here", hint="docker builder prune")
        return freed

    def tag(self, source: str, target: str) -> None:
        """Give an image another name."""
        self._queries.tag(source, target)

    def untag(self, reference: str, *, keep_parents: bool = False) -> None:
        """Remove a name; an image without a name is deleted, and unnamed images below it unless `keep_parents`."""
        self._queries.remove(reference, keep_parents=keep_parents)

    def label(self, source: str, target: str, labels: Mapping[str, str]) -> None:
        """Make `target` the same image with further labels: a new configuration over the same layers."""
        image = self.image(source)
        if image is None:
            raise NotReadyError(f"no image `{source}` in the local store")
        capabilities, client = self._found
        native = capabilities.platforms[0] if capabilities.platforms else ""
        own = f"linux/{image.architecture}"
        words = argv.label(
            capabilities,
            target,
            labels,
            platform=None if own == native else own,
            docker_context=client.context,
        )
        base, temporary = self._nameable(source, image)
        try:
            ended = self._run(
                words,
                None,
                env=argv.builder_env(capabilities.builder),
                stdin=f"FROM {base}\n".encode(),
            )
        finally:
            if temporary:
                self.untag(base)
        if ended.exit_code != 0:
            raise translate(ended.output, f"labelling `{source}`")

    def flatten(self, source: str, target: str, labels: Mapping[str, str]) -> None:
        """Make `target` of the files and the configuration of `source`, in one layer and with these labels.

        Raises NotReadyError for an image that is not here or cannot be written out, BuildError as `build`.
        """
        from jetson_containers.engine import flatten

        image = self.image(source)
        if image is None:
            raise NotReadyError(f"no image `{source}` in the local store")
        words = argv.docker(self.capabilities, "image", "inspect", "--format", "{{json .Config}}", image.id)
        config = json_text.parse(self._host.ask(words).out or "{}")
        name = f"jetson-containers-flatten-{os.getpid()}"
        own = [] if image.architecture == self._own_architecture() else [f"--platform=linux/{image.architecture}"]
        changes = [word for line in flatten.instructions(config, labels) for word in ("--change", line)]
        self._remove_left_over()
        with tempfile.TemporaryDirectory(prefix="jetson-containers-flatten-") as folder:
            rootfs = f"{folder}/{flatten.ROOTFS}"
            steps = (
                ("container", "create", "--name", name, *owner.label(), image.id, "true"),
                ("container", "export", "--output", rootfs, name),
                # keeps owners, modes and links, and copies nothing twice
                ("image", "import", *own, *changes, rootfs, target),
            )
            try:
                for step in steps:
                    ended = self._run(argv.docker(self.capabilities, *step), None)
                    if ended.exit_code != 0:
                        raise translate(ended.output, f"making one layer of `{source}`")
            finally:
                self._remove_container(name)

    def _own_architecture(self) -> str:
        native = self.capabilities.platforms[0] if self.capabilities.platforms else ""
        return native.partition("/")[2]

    def pull(
        self,
        reference: str,
        on_line: Callable[[str], None],
        *,
        platform: str | None = None,
        timeout: float | None = None,
        on_bytes: Callable[[Transferred], None] | None = None,
    ) -> None:
        """Pull an image. Raises RegistryError; also when no answer at all comes within `timeout` seconds.

        What is not approved raises what the approval does. Where the setting `mirrors` names another registry, it comes
        from there and gets its own name. The other name stays: with it the store would forget the digest, which is the
        same on both and part of keys.
        """
        approved = self._approve(reference) if self._approve else reference
        source = mirrors.image_at(approved, self._registries)
        self._transfer(TransferRequest(reference=source, platform=platform), on_line, on_bytes, timeout)
        if source != reference and "@" not in reference:
            self.tag(source, reference)

    def _fetch_named(self, request: BuildRequest, on_line: Callable[[str], None]) -> None:
        """Have the images that a Dockerfile names: what the builder itself pulls, nobody is asked to approve."""
        if self._approve is None:
            return
        from jetson_containers.dockerfile import parser

        for name in parser.named_images(parser.parse(request.dockerfile), request.build_args):
            if name not in request.needs and self.image(name) is None:
                self.pull(name, on_line, platform=request.platform)

    def push(
        self,
        reference: str,
        on_line: Callable[[str], None],
        *,
        on_bytes: Callable[[Transferred], None] | None = None,
    ) -> None:
        """Push an image, with the credentials of `docker login`."""
        self._transfer(TransferRequest(reference=reference, push=True), on_line, on_bytes, None)

    def stop(self) -> None:
        """Stop every build and container running in other threads; their calls raise InterruptedByUserError."""
        self._children.stop()

    def _run(
        self,
        words: Sequence[str],
        on_line: Callable[[str], None] | None,
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: bytes | None = None,
        end_first: Callable[[], None] | None = None,
        keep: int = TAIL,
        patience: float | None = None,
        cwd: Path | None = None,
    ) -> FinishedProcess:
        return self._children.run(
            words,
            env={**self._host.env, **(env or {})},
            on_line=on_line,
            timeout=timeout,
            stdin=stdin,
            end_first=end_first,
            keep=keep,
            patience=patience,
            cwd=cwd,
        )

    def _transfer(
        self,
        request: TransferRequest,
        on_line: Callable[[str], None],
        on_bytes: Callable[[Transferred], None] | None,
        timeout: float | None,
    ) -> None:
        env = self._login_env()
        if self._host.env.get("DOCKER_CONTENT_TRUST", "").lower() in _TRUE:  # whose signatures the client alone checks
            ended = self._run(
                argv.docker(self.capabilities, *request.words, env=env), on_line, patience=timeout, env=env
            )
        else:
            from jetson_containers.engine import transfer
            from jetson_containers.engine.transfer_events import TransferEvents

            ended = transfer.run(
                request,
                TransferEvents(on_line, on_bytes),
                argv=argv.docker(self.capabilities, "system", "dial-stdio", env=env),
                api_version=self.capabilities.api_version,
                env={**self._host.env, **env},
                children=self._children,
                patience=timeout,
            )
        what = f"{'pushing' if request.push else 'pulling'} `{request.reference}`"
        if ended.timed_out:
            raise RegistryError(f"{what}: no answer in {timeout:.0f} s", hint="check the network")
        if ended.exit_code != 0:
            error = translate(ended.output, what)
            if isinstance(error, NotReadyError):
                raise error
            raise RegistryError(error.message, hint=error.hint, details=error.details)

    def _login_env(self) -> dict[str, str]:
        """Under sudo the client would look for the logins of root instead of the user's."""
        if not self.capabilities.sudo:
            return {}
        folder = self._host.env.get("DOCKER_CONFIG") or str(Path(self._host.env.get("HOME", "/root")) / ".docker")
        return {"DOCKER_CONFIG": folder} if (Path(folder) / "config.json").is_file() else {}

    def _check_platform(self, request: BuildRequest) -> None:
        """Refuse a foreign platform that nothing here can execute, unless the Dockerfile executes nothing."""
        from jetson_containers.dockerfile.inject import parse

        capabilities = self.capabilities
        if request.platform is None or emulation.runs(request.platform, capabilities.platforms):
            return
        if capabilities.elsewhere:
            return  # another machine's emulators cannot be seen from here
        if any(step.keyword == "RUN" for step in parse(request.dockerfile)):
            raise NotReadyError(
                f"building `{request.tag}` for {request.platform}: this machine is {capabilities.architecture}, and"
                " no emulator for the other architecture is registered",
                hint=emulation.remedy(request.platform, self._host.root),
            )

    def _base_user(self, request: BuildRequest) -> str:
        """The user of the base image; needed only to restore it after a CA bundle was removed as root."""
        needed = request.ca_bundle is not None and self.capabilities.builder is Builder.LEGACY
        base = request.build_args.get("BASE_IMAGE", "")
        attributes = self._queries.inspect(base) if needed and base else None
        return str(((attributes or {}).get("Config") or {}).get("User") or "")

    def _nameable(self, source: str, image: LocalImage) -> tuple[str, bool]:
        """Find a name that FROM takes: BuildKit knows no IDs. The flag says that the name is temporary."""
        if not source.startswith("sha256:") and source != image.id.partition(":")[2]:
            return source, False
        if image.references:
            return image.references[0], False
        name = f"jetson-containers/label:{os.urandom(8).hex()}"
        self.tag(image.id, name)
        return name, True

    def _state(self, name: str) -> tuple[bool, bool]:
        """Whether a container was ever started, and whether the kernel killed it for want of memory."""
        form = "{{.State.StartedAt}} {{.State.OOMKilled}}"
        answer = self._host.ask(argv.docker(self.capabilities, "container", "inspect", "--format", form, name))
        started, _, oom = answer.out.strip().partition(" ")
        return bool(started) and not started.startswith(NEVER_STARTED), oom == "true"

    def _remove_left_over(self) -> None:
        """Once per process: remove containers and folders of ours whose process was killed before it could."""
        if not self._looked_for_left_over:
            from jetson_containers.engine.context import sweep

            self._looked_for_left_over = True
            sweep(Path(tempfile.gettempdir()))  # as a build does; a run may have only tests to do
            for container in owner.orphans(lambda *args: self._host.ask(argv.docker(self.capabilities, *args)).out):
                self._remove_container(container)

    def _remove_container(self, name: str) -> None:
        self._host.ask(argv.docker(self.capabilities, "container", "rm", "--force", "--volumes", name))


def _last_lines(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.strip()][-DETAIL_LINES:]


def _not_ready(error: Exception, message: str) -> Exception:
    """What keeps a container from starting lies in the environment, recognized or not."""
    if isinstance(error, BuildError):
        return NotReadyError(message, details=error.details)
    return error
