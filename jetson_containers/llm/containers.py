"""Steps and servers in containers, through `launch`, so that they see the board as with `./run.sh`."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import ipaddress
import os
import re
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jetson_containers.core import files, json_text
from jetson_containers.core.errors import InterruptedByUserError, NotReadyError, UsageError, command
from jetson_containers.core.secrets import Redactor
from jetson_containers.engine import argv, bridge, owner
from jetson_containers.launch.podman import PODMAN_NETWORK
from jetson_containers.llm.runtimes.interface import SCRIPTS_DIR
from jetson_containers.llm.step_progress import StepProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import ContainerEngine, Engine
    from jetson_containers.launch.command import Launch
    from jetson_containers.llm.pipeline.types import CommandStep
    from jetson_containers.llm.runtimes.interface import Service
    from jetson_containers.platforms.platform import Platform

SERVER = "io.jetson-containers.server"  # label of every server's container: those with it may be replaced
FACTS = "io.jetson-containers.server.facts"  # what it serves, where and how, as JSON: see `servers.ServerFacts`
HUB_VARIABLES = ("HF_ENDPOINT", "HF_HUB_OFFLINE")  # where the hub is, for users with a hub of their own
ON_HOST = ("--network", "host")
_MODULES = "HF_MODULES_CACHE=/tmp/modules"  # code of models; its usual place is below /data, which servers only read
NO_PROGRAM = 127  # docker's exit code where the image lacks the program
_NOT_STARTED = (125, 126, NO_PROGRAM)  # docker's own exit codes: no container, or nothing in it that could be run
_OTHER_MACHINE = "exec format error"  # an image of another architecture, without emulation
_HOST_SCRIPTS = Path(__file__).resolve().parent.parent / "container_scripts"


@dataclass(frozen=True, kw_only=True)
class Listening:
    """The address on which a server listens inside its container, and docker's options that make its port reachable."""

    host: str
    options: tuple[str, ...]


def listening(settings: Settings, address: str, port: int, *, bridge: bool = True) -> Listening:
    """A network of its own whose one port is published at `address`, an IP address or "localhost".

    The host's network where the user wants that (`least_privilege: false`), the engine has none to give (`bridge`), or
    the address is a name: only the server itself knows how to take requests for it.
    """
    place = {"localhost": "127.0.0.1", "": "::"}.get(address, address)
    if not (settings["least_privilege"] and bridge and _is_address(place)):
        return Listening(host=address, options=ON_HOST)
    published = f"[{place}]" if ":" in place else place
    network = PODMAN_NETWORK if settings["podman"] else "bridge"
    options = ("--network", network, "--publish", f"{published}:{port}:{port}")
    return Listening(host="0.0.0.0", options=options)  # noqa: S104 - of the container, which only the port leads to


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Containers:
    """Makes docker commands for one platform, and runs them.

    `image_for` finds the image with certain packages; `threads` is how many CPU threads a step may use, 0 for its own
    choice (a server gets its number on its command line). In a dry run nothing is made on the disk.
    """

    platform: Platform
    engine: ContainerEngine
    settings: Settings
    console: Console
    image: str
    image_for: Callable[[tuple[str, ...]], str]
    threads: int = 0
    dry_run: bool = False

    def plan(
        self,
        image: str,
        options: Sequence[str],
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        name: str = "",
        written: tuple[str, ...] | None = None,
    ) -> Launch:
        """The docker command, without secrets in the argv. `written`: folders of /data to write, None: all of it."""
        from jetson_containers.launch.command import plan_run
        from jetson_containers.launch.least import OWN_HOME, hand_over, user_of
        from jetson_containers.launch.options import parse

        least = bool(self.settings["least_privilege"])
        data = self.settings.path("data").absolute()
        own = ["--least"] * least + list(options)
        if least and written is None:  # a step: some write beside where they are started, GPTQModel its `logs`
            own += ["--workdir", OWN_HOME]
        if any(
            SCRIPTS_DIR in word for word in command
        ):  # otherwise a service file would need this checkout without using it
            own += ["--volume", f"{_HOST_SCRIPTS}:{SCRIPTS_DIR}:ro"]
        if os.getuid() != 0 and not least:
            # What the steps write below data/ belongs to the user who asked, not to root.
            own += ["--user", f"{os.getuid()}:{os.getgid()}", "--env", "HOME=/tmp"]
        request = parse([*own, image, *command])
        planned = plan_run(
            replace(request, written=written, user=user_of(data)) if least else request,
            self.platform,
            self.engine.run_capabilities,
            self.settings,
            root=Path("/"),
            env=env,
            stdin_tty=False,
            stdout_tty=False,
            name=name or None,
        )
        for notice in planned.notices:
            self.console.detail(notice.text)
        if planned.data is not None and not self.dry_run:
            for folder in ("", *planned.folders):
                files.make_data_directory(planned.data / folder)
            if least:
                hand_over(planned.data)
        return planned

    def run(self, step: CommandStep, argv: Sequence[str], *, show: bool) -> tuple[int, str]:
        """Run a step to its end; see `steps.StepRunner`."""
        env = without_tokens(os.environ)
        planned = self.planned_step(step, argv)
        self.remove(planned)
        redact = Redactor(self.settings.env, os.environ)
        lines: list[str] = []
        with terminate_on_signals(), subprocess.Popen(
            planned.argv, env={**env, **planned.env_additions}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        ) as process, StepProgress(console=self.console, name=step.name) as progress:  # fmt: skip
            try:
                for line in process.stdout or ():
                    lines.append(redact(line))
                    progress.line(lines[-1])
                    if show:
                        self.console.info(lines[-1].rstrip("\n"))
            except BaseException:
                end(process, lambda: self.remove(planned))  # the container would continue without docker's client
                raise
        return process.returncode, "".join(lines)

    def planned_step(self, step: CommandStep, argv: Sequence[str]) -> Launch:
        """The docker command of a step."""
        image = self.image_for(step.packages) if step.packages else self.image
        options: list[str] = []
        if step.network:
            options += [word for name in HUB_VARIABLES if os.environ.get(name) for word in ("--env", name)]
        else:
            options += ["--network", "none", "--env", "HF_HUB_OFFLINE=1"]
        options += [word for name, value in self.variables(step).items() for word in ("--env", f"{name}={value}")]
        return self.plan(image, options, argv, env=without_tokens(os.environ), name=self.name_of(step))

    def variables(self, step: CommandStep) -> dict[str, str]:
        """The step's own environment, with the number of threads where one was asked for."""
        threads = {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}
        return {**threads, **step.env}

    def name_of(self, step: CommandStep) -> str:
        """The container of a step: always the same name, so that the next run finds what a killed one left running."""
        place = f"{self.settings.path('data').resolve()}:{step.output}:{step.name}"
        return f"jetson-llm-{re.sub('[^a-z0-9_.-]', '-', step.name)}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"

    def remove(self, planned: Launch) -> None:
        """End and remove the container of that name, if there is one."""
        docker(client_of(planned), "rm", "--force", planned.name)

    def capture(self, command: Sequence[str], *, seconds: float | None = None) -> str | None:
        """What a command printed in the image, stdout and stderr together; None when it could not be started.

        One that takes longer than `seconds` is ended, and counts as not started.
        """
        options = ["--network", "none", "--env", "HF_HUB_OFFLINE=1"]
        name = f"jetson-llm-probe-{os.getpid()}-{threading.get_ident()}"
        planned = self.plan(self.image, options, command, env=without_tokens(os.environ), name=name)
        try:
            done = subprocess.run(
                planned.argv, env={**os.environ, **planned.env_additions}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self.remove(planned)  # the container would continue without docker's client
            return None
        not_run = done.returncode in _NOT_STARTED or _OTHER_MACHINE in done.stdout
        return None if not_run else done.stdout

    def listening(self, address: str, port: int) -> Listening:
        """How a server becomes reachable at an address and port of this machine."""
        return listening(self.settings, address, port, bridge=self._gives_networks)

    @property
    def _gives_networks(self) -> bool:
        """Whether the engine can give a container a network of its own; unknown counts as yes."""
        if self.platform.l4t is None or self.platform.l4t >= bridge.FIXED_L4T or self.settings["podman"]:
            return True
        wants = bridge.wants_raw_table(self.platform, cast("Engine", self.engine).capabilities.server_version)
        return not wants or bridge.has_raw_module()

    def server(
        self,
        service: Service,
        *,
        name: str,
        detach: bool = False,
        api_key: str = "",
        facts: str = "",
        listening: Listening | None = None,
    ) -> Launch:
        """The docker command of a server; without `listening` on the host's network.

        `facts` is what its label says of it, as JSON.
        """
        options = ["--env", "HF_HUB_OFFLINE=1", "--env", _MODULES, "--label", f"{SERVER}=1"]
        options += ["--label", f"{FACTS}={facts}"] if facts else []
        options += listening.options if listening else ON_HOST
        options += [word for key, value in service.env.items() for word in ("--env", f"{key}={value}")]
        secret = {service.key_env: api_key} if api_key else {}
        options += [word for key in secret for word in ("--env", key)]
        if detach:
            # Podman's own service starts containers after a reboot, and only those with this policy.
            options += ["--detach", "--restart", "always" if self.settings["podman"] else "unless-stopped"]
        else:
            options += owner.label()
        below = (value.removeprefix("/data/") for value in service.env.values() if value.startswith("/data/"))
        written = tuple(dict.fromkeys(("cache", *below)))
        environment = without_tokens(os.environ)
        planned = self.plan(self.image, options, service.argv, env=environment, name=name, written=written)
        return replace(planned, env_additions={**planned.env_additions, **secret})


def log_of(settings: Settings, name: str) -> Path:
    """Where a server's output goes: among the logs, or a new file in /tmp where those are another user's."""
    log = settings.path("logs") / "llm" / f"{name}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        files.open_no_link(log, "ab").close()
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        descriptor, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".log")
        os.close(descriptor)
        return Path(path)
    return log


@contextlib.contextmanager
def running(planned: Launch, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server's container in the background, its output in `log`; it is ended and removed on exit.

    Raises UsageError when a container of that name exists that is not ours to replace.
    """
    claim(planned)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**without_tokens(os.environ), **planned.env_additions}
    with terminate_on_signals(), files.open_no_link(log, "wb") as out, subprocess.Popen(
        planned.argv, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is ours: it ends an answer, not the server
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            end(process, lambda: _remove_own(planned))


def claim(planned: Launch, *, running: bool = False) -> None:
    """Free the name of a server: an earlier one of ours is removed, with `running` also one that runs.

    Raises UsageError for any other container of that name.
    """
    client = client_of(planned)
    words = ["ps", "--all", "--filter", f"name=^{re.escape(planned.name)}$"]
    for line in docker(client, *words, "--format", "{{.Names}}\t{{.Status}}").splitlines():
        name, status = line.split("\t")
        if name != planned.name:
            continue
        ours = docker(client, *words, "--filter", f"label={SERVER}", "--quiet").strip()
        if not ours or (status.startswith("Up") and not running):
            what = "which is a running server" if ours else "which is not one of our servers"
            ends = stop_command(client, name) if ours else command(program(client), "rm", "-f", name)
            raise UsageError(
                f"a container `{name}` exists already, {what}",
                hint=f"use `--name` for another name; {ends} ends that one",
            )
        docker(client, "rm", "--force", name)


def _remove_own(planned: Launch) -> None:
    """Remove the container that this process started, not one that others gave the same name."""
    ours = (f"label={owner.OWNER}={owner.owner()}", f"name=^{re.escape(planned.name)}$")
    words = ["--all", "--quiet", *(word for pattern in ours for word in ("--filter", pattern))]
    client = client_of(planned)
    for container in docker(client, "ps", *words).split():
        docker(client, "rm", "--force", container)


def end(process: subprocess.Popen[Any], remove: Callable[[], None]) -> None:
    """Remove a container until docker's client has ended; one that had not been created yet comes in between."""
    for _ in range(20):
        remove()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
            break
    else:
        process.kill()
    remove()


@contextlib.contextmanager
def terminate_on_signals() -> Iterator[None]:
    """Inside it, SIGTERM and SIGHUP (a lost terminal) end the work as Ctrl-C does, so that containers are removed.

    Signals that are ignored (`nohup`) stay ignored. Outside the main thread Python allows no handlers: nothing happens.
    """

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # once is enough; the clean-up must not be interrupted
        raise InterruptedByUserError(
            f"stopped by {signal.Signals(number).name}", hint="run the same command again to resume"
        )

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        ends = (each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is signal.SIG_DFL)
        before = {each: signal.signal(each, stop) for each in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def remove_orphans(client: Sequence[str]) -> None:
    """Remove servers whose owner was killed before it could end them: those of this user and these process numbers.

    To be called before a port is looked at: until then an orphan listens on its own.
    """
    for container in owner.orphans(partial(docker, client)):
        docker(client, "rm", "--force", container)


def stop_command(client: Sequence[str], *names: str) -> str:
    """The command that ends servers."""
    return server_command(client, "stop", *names)


def server_command(client: Sequence[str], *words: str) -> str:
    """A command of ours for a server that a client has started."""
    return command("jetson-containers", "llm", *words, *(["--podman"] if program(client) == "podman" else []))


def program(client: Sequence[str]) -> str:
    """How a user calls a client: `docker`, `podman`."""
    return Path(client[-1]).name if client else "docker"


def inspected(client: Sequence[str], fields: Mapping[str, str], *options: str) -> list[dict[str, Any]]:
    """Fields of containers by name; `fields` maps names to places in docker's answer, `options` narrow `docker ps`.

    Raises NotReadyError where the engine does not list them. One that ends meanwhile is left out.
    """
    listed = ask_docker(client, "ps", "--quiet", "--no-trunc", *options)
    if listed.returncode != 0:
        raise NotReadyError((listed.stderr.strip() or "docker ps failed").splitlines()[0])
    if not (found := listed.stdout.split()):
        return []
    form = "{" + ",".join(f'"{name}":{{{{json {place}}}}}' for name, place in fields.items()) + "}"
    shown = ask_docker(client, "inspect", "--format", form, *found)
    return [json_text.parse(line) for line in shown.stdout.splitlines() if line.strip()]


def client_for(engine: ContainerEngine) -> tuple[str, ...]:
    """The docker client of an engine, with sudo where that is needed."""
    return tuple(argv.docker(engine.run_capabilities))


def client_of(planned: Launch) -> tuple[str, ...]:
    """The docker client that starts it, with sudo where that is needed."""
    return planned.argv[: planned.argv.index("run")]


def docker(client: Sequence[str], *words: str) -> str:
    """Run another command of a docker client; its stdout."""
    return ask_docker(client, *words).stdout


def ask_docker(client: Sequence[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run another command of a docker client, whatever its exit status."""
    return subprocess.run(
        [*client, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


def without_tokens(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without the hub's tokens (only a download needs them); empty ones hide those of an `.env`."""
    kept = {key: value for key, value in env.items() if "TOKEN" not in key}
    return {**kept, "HF_TOKEN": "", "HUGGINGFACE_TOKEN": ""}


def pause(seconds: float) -> None:
    """Wait; interruptible, and one place for tests to shorten."""
    threading.Event().wait(seconds)
