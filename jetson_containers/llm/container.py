"""Steps and servers in containers, through `launch`, so that they see the board as `./run.sh` shows it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.building.logs import Redactor
from jetson_containers.runtimes.base import DRIVERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jetson_containers.console import Console
    from jetson_containers.engine.base import Engine
    from jetson_containers.launch import Launch
    from jetson_containers.platforms import Platform
    from jetson_containers.runtimes.base import Service, StepCommand
    from jetson_containers.settings import Settings

OWNER = "io.jetson-containers.owner"  # of a server's container: the process that ends it, as PID.START
HUB_VARIABLES = ("HF_ENDPOINT", "HF_HUB_OFFLINE")  # where the hub is, for those who have one of their own
_NOT_RUN = (125, 126, 127)  # of `docker run`: no such image, no such program; what is printed is docker's
_OTHER_MACHINE = "exec format error"  # an image of another architecture, without emulation
_HOST_DRIVERS = Path(__file__).resolve().parent.parent / "drivers"


@dataclass(frozen=True)
class Containers:
    """Makes docker commands for one platform, and runs them.

    `image_for` finds the image with certain packages; `threads` is how many CPU threads a step may use, 0 for its own
    choice (a server gets its number on its command line).
    """

    platform: Platform
    engine: Engine
    settings: Settings
    console: Console
    image: str
    image_for: Callable[[tuple[str, ...]], str]
    threads: int = 0

    def plan(
        self, image: str, options: Sequence[str], command: Sequence[str], *, env: Mapping[str, str], name: str = ""
    ) -> Launch:
        """The docker command; never with a secret in the argv."""
        from jetson_containers import launch  # noqa: PLC0415 - only when something runs

        own = [*options, "--volume", f"{_HOST_DRIVERS}:{DRIVERS}:ro"]
        if os.getuid() != 0:
            # What the steps leave below data/ belongs to the user who asked, not to root.
            own += ["--user", f"{os.getuid()}:{os.getgid()}", "--env", "HOME=/tmp"]
        planned = launch.plan_run(
            [*own, image, *command],
            self.platform,
            self.engine.capabilities,
            self.settings,
            root=Path("/"),
            env=env,
            stdin_tty=False,
            stdout_tty=False,
            name=name or None,
        )
        for notice in planned.notices:
            self.console.detail(notice.text)
        if planned.data is not None:
            launch.make_data_dir(planned.data)
        return planned

    def run(self, step: StepCommand, argv: Sequence[str], *, show: bool) -> tuple[int, str]:
        """Run a step to its end; see `pipeline.Runner`."""
        image = self.image_for(step.packages) if step.packages else self.image
        options: list[str] = []
        if step.network:
            options += [word for name in HUB_VARIABLES if os.environ.get(name) for word in ("--env", name)]
        else:
            options += ["--network", "none", "--env", "HF_HUB_OFFLINE=1"]
        threads = {"OMP_NUM_THREADS": str(self.threads)} if self.threads else {}
        options += [word for name, value in {**threads, **step.env}.items() for word in ("--env", f"{name}={value}")]
        env = dict(os.environ) if step.token else without_tokens(os.environ)
        planned = self.plan(image, options, argv, env=env, name=self.name_of(step))
        self.remove(planned)
        redact = Redactor(os.environ)
        lines: list[str] = []
        try:
            with subprocess.Popen(
                planned.argv, env={**env, **planned.env_additions}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace",
            ) as process:  # fmt: skip
                for line in process.stdout or ():
                    lines.append(redact(line))
                    if show:
                        sys.stderr.write(lines[-1])
        except BaseException:
            self.remove(planned)  # docker's client is gone, the container would go on
            raise
        return process.returncode, "".join(lines)

    def name_of(self, step: StepCommand) -> str:
        """The container of a step: always the same, so that the next run finds what a killed one left running."""
        place = f"{os.path.abspath(self.settings.path('data'))}:{step.output}:{step.name}"  # noqa: PTH100 - as launch
        return f"jetson-llm-{re.sub('[^a-z0-9_.-]', '-', step.name)}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"

    def remove(self, planned: Launch) -> None:
        """End and remove the container of that name, if there is one."""
        docker(planned, "rm", "--force", planned.name)

    def capture(self, command: Sequence[str]) -> str:
        """What a command printed in the image, stdout and stderr together; "" when it could not be run."""
        options = ["--network", "none", "--env", "HF_HUB_OFFLINE=1"]
        planned = self.plan(self.image, options, command, env=without_tokens(os.environ))
        done = subprocess.run(
            planned.argv, env={**os.environ, **planned.env_additions}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        return "" if done.returncode in _NOT_RUN or _OTHER_MACHINE in done.stdout else done.stdout

    def server(self, service: Service, *, name: str, detach: bool = False, api_key: str = "") -> Launch:
        """The docker command of a server on the host's network (it listens on the address it was told)."""
        options = ["--env", "HF_HUB_OFFLINE=1"]
        options += [word for key, value in service.env.items() for word in ("--env", f"{key}={value}")]
        secret = {service.key_env: api_key} if api_key else {}
        options += [word for key in secret for word in ("--env", key)]
        if detach:
            options += ["--detach", "--restart", "unless-stopped"]
        else:
            options += ["--label", f"{OWNER}={os.getpid()}.{started_at(os.getpid())}"]
        planned = self.plan(self.image, options, service.argv, env=without_tokens(os.environ), name=name)
        return replace(planned, env_additions={**planned.env_additions, **secret})


def log_of(settings: Settings, name: str) -> Path:
    """Where a server's output goes: among the logs, or a new file in /tmp where those are another user's."""
    log = settings.path("logs") / "llm" / f"{name}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.open("ab").close()
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        descriptor, path = tempfile.mkstemp(prefix=f"{name}-", suffix=".log")
        os.close(descriptor)
        return Path(path)
    return log


@contextlib.contextmanager
def running(planned: Launch, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server's container in the background, its output in `log`; it is ended and removed on the way out."""
    remove_orphans(planned)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**without_tokens(os.environ), **planned.env_additions}
    with log.open("wb") as out, subprocess.Popen(
        planned.argv, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is ours: it ends an answer, not the server
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            docker(planned, "rm", "--force", planned.name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()


def remove_orphans(planned: Launch) -> None:
    """Remove servers whose owner was killed before it could end them."""
    listed = docker(planned, "ps", "--filter", f"label={OWNER}", "--format", '{{.ID}} {{.Label "' + OWNER + '"}}')
    for line in listed.splitlines():
        container, _, owner = line.partition(" ")
        pid, _, start = owner.partition(".")
        if pid.isdigit() and started_at(int(pid)) != start:
            docker(planned, "rm", "--force", container)


def docker(planned: Launch, *words: str) -> str:
    """Run another command of the same docker client (and sudo, where it needs that); its stdout."""
    client = planned.argv[: planned.argv.index("run")]
    done = subprocess.run(
        [*client, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    return done.stdout


def started_at(pid: int) -> str:
    """When a process started, in clock ticks since boot; "" without one. Numbers are used again, starts are not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def without_tokens(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without the hub's tokens (only a download needs them); empty ones hide those of an `.env`."""
    kept = {key: value for key, value in env.items() if "TOKEN" not in key}
    return {**kept, "HF_TOKEN": "", "HUGGINGFACE_TOKEN": ""}


def pause(seconds: float) -> None:
    """Wait; interruptible, and one place for tests to make short."""
    threading.Event().wait(seconds)
