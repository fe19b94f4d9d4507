"""A model's name → prepared model → one answer: the steps in order, each inside the runtime's image."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.errors import StepError, ToldError, UsageError
from jetson_containers.pipeline import Pipeline
from jetson_containers.runtimes.base import ChatOptions, StepCommand
from jetson_containers.runtimes.llama_cpp import LlamaCpp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetson_containers.console import Console
    from jetson_containers.engine.base import Engine
    from jetson_containers.platforms import Platform
    from jetson_containers.runtimes.base import Runtime
    from jetson_containers.settings import Settings

RUNTIMES: dict[str, Runtime] = {"llama_cpp": LlamaCpp()}
TINY = "/data/models/tiny-llama"
_HUB_VARIABLES = ("HF_ENDPOINT", "HF_HUB_OFFLINE")  # where the hub is, for those who have one of their own


@dataclass(frozen=True)
class ChatRequest:
    """What was asked. An empty `quantization` or `image` means the runtime's default, or what autotag finds."""

    model: str
    runtime: str = "llama_cpp"
    quantization: str = ""
    prompt: str = ""
    context: int = 2048
    max_tokens: int = 64
    threads: int = 0
    seed: int | None = None
    image: str = ""
    force: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One chat turn. `tokens_per_s` is the decode speed the runtime printed; None when it printed none."""

    model: str
    runtime: str
    quantization: str
    image: str
    artefact: str
    answer: str
    tokens_per_s: float | None


class ContainerRunner:
    """Runs commands in one image through `launch`, so that they see the board as `./run.sh` shows it."""

    def __init__(self, image: str, platform: Platform, engine: Engine, settings: Settings, console: Console) -> None:
        self.image = image
        self._platform = platform
        self._engine = engine
        self._settings = settings
        self._console = console

    def argv(self, command: Sequence[str], *, network: bool, token: bool) -> tuple[list[str], dict[str, str]]:
        """The docker command and the environment it needs; never with a secret in the argv."""
        from jetson_containers import launch  # noqa: PLC0415 - only when something runs

        options: list[str] = [] if network else ["--network", "none"]
        if network:
            options += [word for name in _HUB_VARIABLES if os.environ.get(name) for word in ("--env", name)]
        env = {key: value for key, value in os.environ.items() if token or not re.search("TOKEN", key)}
        if os.getuid() != 0:
            # What the steps leave below data/ belongs to the user who asked, not to root.
            options += ["--user", f"{os.getuid()}:{os.getgid()}", "--env", "HOME=/tmp"]
        planned = launch.plan_run(
            [*options, self.image, *command],
            self._platform,
            self._engine.capabilities,
            self._settings,
            root=Path("/"),
            env=env,
            stdin_tty=False,
            stdout_tty=False,
        )
        for notice in planned.notices:
            self._console.detail(notice.text)
        return list(planned.argv), {**env, **planned.env_additions}

    def run(self, command: Sequence[str], *, network: bool, token: bool, show: bool) -> tuple[int, str]:
        """Run to the end. stdout and stderr come back together; with `show` they are also streamed to stderr."""
        argv, env = self.argv(command, network=network, token=token)
        lines: list[str] = []
        with subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        ) as process:  # fmt: skip
            if process.stdout is None:  # pragma: no cover - PIPE was asked for
                raise StepError("no output pipe")
            for line in process.stdout:
                lines.append(line)
                if show:
                    sys.stderr.write(line)
        return process.returncode, "".join(lines)


def chat(
    request: ChatRequest,
    platform: Platform,
    engine: Callable[[], Engine],
    settings: Settings,
    console: Console,
    *,
    dry_run: bool = False,
) -> Answer | None:
    """Prepare the model where needed, then ask once. Raises UsageError, NoCompatibleImageError or StepError."""
    runtime = runtime_named(request.runtime)
    quantization = request.quantization or runtime.default_quantization
    data = settings.path("data")
    source, steps, name = source_of(request.model, data)
    runtime.prepare(source, name, quantization)  # a quantization that does not exist is said before anything starts
    options = ChatOptions(
        request.prompt, request.max_tokens, request.context, request.threads or _threads(), request.seed
    )
    if dry_run:
        _show(source, steps, name, runtime, quantization, options, console)
        return None
    image = request.image or image_for(runtime.packages, platform, engine(), settings, console)
    runner = ContainerRunner(image, platform, engine(), settings, console)
    if is_hub_name(source):
        source = fetch([source], runner, console)[0]
    prepared = runtime.prepare(source, name, quantization)
    artefact = prepared[-1].output if prepared else source
    command = runtime.chat(artefact, options)
    pipeline = Pipeline(data, runner, console, {"image": image, "runtime": runtime.name})
    pipeline.run([*steps, *prepared], force=request.force)
    console.info(f"chat: {request.prompt}")
    code, text = runner.run(command, network=False, token=False, show=False)
    if code != 0:
        raise StepError(
            f"step `chat` failed (exit status {code})",
            details=text.strip().splitlines()[-15:],
            hint=f"the prepared model is {artefact}; `--dry-run` shows the command",
        )
    answer = Answer(
        request.model,
        runtime.name,
        quantization,
        image,
        artefact,
        runtime.answer(text, request.prompt),
        runtime.tokens_per_second(text),
    )
    if not console.as_json:
        console.result(answer.answer)
    if answer.tokens_per_s is not None:
        console.ok(f"{name} {quantization}: {answer.tokens_per_s:g} tokens/s with {image}")
    return answer


def runtime_named(name: str) -> Runtime:
    """The runtime of that name. Raises UsageError listing the ones there are."""
    if name not in RUNTIMES:
        raise UsageError(f"no runtime `{name}`", hint=f"there is: {', '.join(sorted(RUNTIMES))}")
    return RUNTIMES[name]


def source_of(model: str, data: Path) -> tuple[str, tuple[StepCommand, ...], str]:
    """Where the model is in the container, the steps that bring it there, and a name for what is made of it.

    Raises UsageError for a path that is not there, lies outside the data directory, or is no model.
    """
    if model == "tiny":
        return TINY, (StepCommand("make", ("make-tiny-model", "{output}"), (), TINY),), "tiny-llama"
    path = Path(model.rstrip("/"))
    if model.startswith("/data/"):
        path = data / model.removeprefix("/data/").rstrip("/")
    if path.exists():
        resolved = path.resolve()
        if not resolved.is_relative_to(data.resolve()):
            raise UsageError(
                f"`{model}` is outside the data directory {data}, containers do not see it",
                hint=f"move it below {data}/models, or choose another directory with JETSON_CONTAINERS_DATA",
            )
        if resolved.is_dir() and not (resolved / "config.json").is_file():
            raise UsageError(f"`{model}` holds no config.json, so it is no model directory")
        inside = "/data/" + str(resolved.relative_to(data.resolve()))
        return inside, (), resolved.stem if resolved.is_file() else resolved.name
    if is_hub_name(model):
        return model, (), model.partition("@")[0].rpartition("/")[2]
    raise UsageError(
        f"no model `{model}`",
        hint="give a Hugging Face name (org/model), a directory or .gguf file below data/models, or `tiny`",
    )


def is_hub_name(model: str) -> bool:
    """Whether this reads as a name of the hub: `org/model`, perhaps with `@revision`."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", model) is not None


def _show(
    source: str,
    steps: Sequence[StepCommand],
    name: str,
    runtime: Runtime,
    quantization: str,
    options: ChatOptions,
    console: Console,
) -> None:
    """Print the exact commands, one a line, as they would run in the image."""
    if is_hub_name(source):
        console.result(shlex.join(["huggingface-downloader", source]))
        source = f"$(huggingface-downloader {source})"
    prepared = runtime.prepare(source, name, quantization)
    for step in (*steps, *prepared):
        console.result(" ".join(step.argv).replace("{output}", step.output))
    console.result(shlex.join(runtime.chat(prepared[-1].output if prepared else source, options)))


def fetch(
    repositories: Sequence[str], runner: ContainerRunner, console: Console, *, options: Sequence[str] = ()
) -> list[str]:
    """Download with the in-image downloader, which resumes and verifies; the paths as containers see them.

    Raises ToldError: the downloader itself has said on stderr what is wrong, and what helps.
    """
    argv, env = runner.argv(["huggingface-downloader", *options, *repositories], network=True, token=True)
    console.info(f"download: {' '.join(repositories)}")
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    paths = [line for line in done.stdout.splitlines() if line.startswith("/")]
    if done.returncode != 0:
        raise ToldError("the download failed", done.returncode)
    if len(paths) < len(repositories):
        raise StepError(f"the downloader of {runner.image} named no path", details=done.stdout.splitlines()[-5:])
    return paths


def image_for(packages: Sequence[str], platform: Platform, engine: Engine, settings: Settings, console: Console) -> str:
    """The image autotag finds locally or in a registry. Raises NoCompatibleImageError with the way to build one."""
    from jetson_containers import autotag  # noqa: PLC0415 - only when no image was named

    return autotag.find(packages, platform, engine, settings, console)


def download(
    repositories: Sequence[str],
    image: str,
    platform: Platform,
    engine: Callable[[], Engine],
    settings: Settings,
    console: Console,
    *,
    options: Sequence[str] = (),
) -> list[str]:
    """Download below the data directory by an image's downloader; host paths of what came.

    `options` are handed to it. Raises ToldError or StepError. Without an image, `hub.download` does the same.
    """
    image = image or image_for(("huggingface_hub",), platform, engine(), settings, console)
    runner = ContainerRunner(image, platform, engine(), settings, console)
    data = settings.path("data")
    return [str(data / path.removeprefix("/data/")) for path in fetch(repositories, runner, console, options=options)]


def _threads() -> int:
    """As many threads as cores: runtimes that guess in a container often take the host's count or one too many."""
    return len(os.sched_getaffinity(0))
