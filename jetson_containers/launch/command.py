"""`jetson-containers run`: the `docker run` command for this host, and its execution.

`plan_run` decides (pure, but for looking whether files exist below `root`); `run` shows or executes. The user's own
options, image and command follow ours untouched and in order; an option the user gives takes the place of our default.
"""

from __future__ import annotations

import functools
import os
import posixpath
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import EngineMissingError, NotReadyError, UsageError
from jetson_containers.core.files import make_data_directory
from jetson_containers.core.suggest import did_you_mean
from jetson_containers.launch import devices, display, docker_options
from jetson_containers.launch.gpu import gpu_part, ulimit_part
from jetson_containers.launch.least import least_part, user_part
from jetson_containers.launch.official import official_part
from jetson_containers.launch.options import OWN, hide_secrets
from jetson_containers.launch.parts import LaunchHost, LaunchPart, Mount, Notice, NoticeSeverity
from jetson_containers.launch.podman import PODMAN_NETWORK, podman_part
from jetson_containers.launch.webcam import plan_webcams, run_with

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import RunCapabilities
    from jetson_containers.launch.display import CookieFile
    from jetson_containers.launch.docker_options import RunLine
    from jetson_containers.launch.gpu import Gpu
    from jetson_containers.launch.options import RunRequest
    from jetson_containers.launch.webcam import Webcams
    from jetson_containers.platforms.platform import Platform

HELP = """\
Usage: run.sh [OPTIONS] [DOCKER OPTIONS] IMAGE [COMMAND] [ARG...]

Run a container with what this host has: GPU, /data, cameras, sound, display. Options of `docker run`, the image and
its command pass through untouched; docker's exit code comes back.

Options (before IMAGE):
  --dry-run        print the command and do nothing
  --data DIR       mount DIR as /data instead of the repository's data directory
  --no-gpu         start without GPU
  --least          take away what the image may not need: capabilities, the host's network, devices, tokens
  --camera         check that a camera is there, and pass media devices too
  --docker-socket  let the container drive this host's container engine
  --csi2webcam     make a webcam of each CSI camera while the container runs; --csi-capture-res=1640x1232@30,
                   --csi-output-res=1280x720@30 (width x height @ rate)
  --verify KEY     start only what the registry shows a signature of, by this key (cosign.pub), and exactly that
  --podman         start it with Podman instead of Docker; the GPU by CDI
  --verbose        say each host path that is mounted and how the GPU is reached

Defaults, unless you give your own: --rm --network host --shm-size=8g --name jetson_container_..., -it on a terminal.
HF_TOKEN and HUGGINGFACE_TOKEN are passed on without showing their values.

Examples:
  ./run.sh $(./autotag llama_cpp) llama-cli --version
  ./run.sh --detach --restart unless-stopped --env HF_TOKEN $(./autotag mlc) my-server
  docker run --help   lists docker's options"""

_TOKENS = ("HF_TOKEN", "HUGGINGFACE_TOKEN")
# Options that cannot go with `--network host`: who gives one means a network of the container's own.
_OWN_NETWORK = ("network", "link", "ip", "ip6", "link-local-ip", "network-alias", "mac-address")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A command that is ready to run.

    `argv` starts with docker (or sudo) and holds no secret; `env_additions` are what docker's environment must have
    besides the caller's, secrets among them. `mounts` are those we add, the data directory included.
    """

    argv: tuple[str, ...]
    env_additions: Mapping[str, str] = field(repr=False)
    notices: tuple[Notice, ...]
    image: str
    command: tuple[str, ...]
    name: str
    gpu: Gpu
    mounts: tuple[Mount, ...] = ()
    data: Path | None = None  # created before the start; None when the user mounts /data
    folders: tuple[str, ...] = ()  # below it, created too
    cookie: CookieFile | None = None  # written before the start
    dry_run: bool = False
    webcams: Webcams | None = None  # made before the start, ended with the container

    @property
    def shell(self) -> str:
        """The command as it can be pasted into a shell."""
        return shlex.join(self.argv)


def plan_run(
    request: RunRequest,
    platform: Platform,
    capabilities: RunCapabilities,
    settings: Settings,
    *,
    root: Path = Path("/"),
    env: Mapping[str, str] | None = None,
    stdin_tty: bool = False,
    stdout_tty: bool = False,
    name: str | None = None,
) -> Launch:
    """Make the command for a parsed line of our options, docker's options, IMAGE and COMMAND.

    `root` is where the host's files are looked up, `env` the caller's environment (default: this process's; `.env`
    files of `settings` stand below it), `name` the container's name (default: a unique one). Raises UsageError for a
    line without an image, NotReadyError when `--camera` and its kind ask for what is not there.
    """
    env = os.environ if env is None else env
    merged = {**settings.env, **env}
    image = request.image
    host = LaunchHost(platform=platform, capabilities=capabilities, env=merged, root=root)
    line, hidden = hide_secrets(request.line)
    data = Path(os.path.abspath(request.data or settings.path("data")))  # noqa: PTH100 - Path.absolute keeps `..`
    cookie, x11 = display.x11_part(host, line, settings.path("cache").expanduser())
    gpu, gpu_options = gpu_part(host, line, no_gpu=request.no_gpu)
    webcams = _webcams(host, line, request, settings.path("logs"))
    chosen_name = line.last("name") or name or unique_name()
    whole = _join(
        _terminal(line, stdin_tty=stdin_tty, stdout_tty=stdout_tty),
        _defaults(line, chosen_name, network=_network(host, least=request.least)),
        gpu_options,
        ulimit_part(host, line, gpu),
        _from_dotenv(line, merged),
        official_part(host, line, image),
        LaunchPart(mounts=_data_mounts(data, request.written)),
        devices.host_mounts(host, services=not request.least),
        *(_least_parts(host, request, gpu) if request.least else (_tokens(line, merged), _hub(line, merged), x11)),
        LaunchPart(argv=webcams.options if webcams else ()),
        *_device_parts(host, line, request),
        LaunchPart(notices=(*_notices(line, request, hidden, platform), *_elsewhere(host, request))),
    )
    mounts = tuple(mount for mount in whole.mounts if posixpath.normpath(mount.target) not in line.mount_targets)
    options = (*whole.argv, *(word for mount in mounts for word in mount.argv), *line.words)
    additions = {key: value for key, value in {**whole.env, **hidden}.items() if env.get(key) != value}
    return Launch(
        argv=(*_docker(capabilities, _passed_by_name(whole, line), additions), *options, image, *line.command),
        env_additions=additions,
        notices=(*whole.notices, *(Notice(text=f"mount: {mount}", severity=NoticeSeverity.DETAIL) for mount in mounts)),
        image=image,
        command=line.command,
        name=chosen_name,
        gpu=gpu,
        mounts=mounts,
        data=data if any(mount.target == "/data" for mount in mounts) and not capabilities.elsewhere else None,
        folders=request.written or (),
        cookie=cookie if any(cookie and mount.source == str(cookie.path) for mount in mounts) else None,
        dry_run=request.dry_run,
        webcams=webcams,
    )


def _notices(line: RunLine, request: RunRequest, hidden: Iterable[str], platform: Platform) -> tuple[Notice, ...]:
    """What is to be said of the line itself."""
    odd = _oddities(line, least=request.least)
    return (*odd, *_hidden_values(hidden), *_other_family(request.image, platform))


def _elsewhere(host: LaunchHost, request: RunRequest) -> tuple[Notice, ...]:
    """What the paths of a line mean where its engine is on another machine."""
    if not host.capabilities.elsewhere:
        return ()
    named = "" if request.data else "name its folder for /data with `--data DIR`; "
    return (
        Notice(
            text="the engine is on another machine: mounts are paths there, and GPU and devices were"
            " looked for on this machine",
            hint=f"{named}the board's own GPU and cameras take `run` on the board",
        ),
    )


def _webcams(host: LaunchHost, line: RunLine, request: RunRequest, logs: Path) -> Webcams | None:
    """What `--csi2webcam` starts. Raises UsageError where nothing would end it, else as `plan_webcams`."""
    if request.webcam is None:
        return None
    if line.is_on("detach"):
        raise UsageError(
            "`--csi2webcam` ends with its container, which `--detach` does not wait for", hint="leave out `--detach`"
        )
    return plan_webcams(host, request.webcam, root=os.geteuid() == 0, logs=logs)


def _device_parts(host: LaunchHost, line: RunLine, request: RunRequest) -> tuple[LaunchPart, ...]:
    """What of the host's devices and services the container gets."""
    if request.least:
        parts = (devices.docker_socket_part(host, request), devices.camera_part(host, request))
        return (*parts, podman_part(host, line, request.user))
    return (
        display.pulse_part(host, line),
        devices.upload_key_part(host),
        devices.docker_socket_part(host, request),
        devices.camera_part(host, request),
        devices.device_part(host, request),
        devices.group_part(host, request),
        devices.optional_permissions_part(host),
        podman_part(host, line),
    )


def _data_mounts(data: Path, written: tuple[str, ...] | None) -> tuple[Mount, ...]:
    """The data directory, read-only but for the folders `written`."""
    if written is None:
        return (Mount(source=str(data), target="/data"),)
    below = (Mount(source=str(data / folder), target=f"/data/{folder}") for folder in written)
    return (Mount(source=str(data), target="/data", readonly=True), *below)


def _least_parts(host: LaunchHost, request: RunRequest, gpu: Gpu) -> tuple[LaunchPart, ...]:
    """What `--least` takes away, and the user who may write the data."""
    own = user_part(request.line, request.user)
    groups = (*docker_options.parse(own.argv).groups, *request.line.groups)
    grouped = replace(request, line=docker_options.RunLine(groups=groups))
    return (least_part(request.line, gpu), own, devices.group_part(host, grouped))


def run(launch: Launch, console: Console, *, execute: Callable[[Launch], int] | None = None) -> int:
    """Show the notices, then print the command (`--dry-run`) or become it.

    Does not return when docker is started: exit code and signals are docker's own. Raises NotReadyError when the
    data directory cannot be made, EngineMissingError when docker was removed since it was probed.
    """
    for notice in launch.notices:
        _say(console, notice)
    if launch.dry_run:
        _show(launch, console)
        return 0
    console.detail(launch.shell)
    if launch.data is not None:
        for folder in ("", *launch.folders):
            make_data_directory(launch.data / folder)
    if launch.cookie is not None:
        _write_cookie(launch.cookie, console)
    if launch.webcams is not None:
        start = functools.partial(execute or wait_for, launch)
        return run_with(launch.webcams, start, console)
    return (execute or become)(launch)


def wait_for(launch: Launch) -> int:
    """Start docker and wait for it. Ctrl-C is the container's affair; a request to end is handed on."""
    environment = {**os.environ, **launch.env_additions}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # docker must not inherit that Ctrl-C is ignored
        process = subprocess.Popen(launch.argv, env=environment, preexec_fn=_heed_interrupt)  # noqa: PLW1509
        signal.signal(signal.SIGTERM, lambda number, _frame: process.send_signal(number))
        code = process.wait()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _heed_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def become(launch: Launch) -> int:
    """Replace this process by docker."""
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            _open_null(number)
        elif number:
            stream.flush()
    # Python ignores these, and what is ignored stays so after exec; if that fails, we are still here to be killed.
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    try:
        os.execvpe(launch.argv[0], launch.argv, {**os.environ, **launch.env_additions})  # noqa: S606 - no shell meant
    except FileNotFoundError as error:
        raise EngineMissingError(f"`{launch.argv[0]}` is not there", hint="jetson-containers doctor") from error
    except OSError as error:
        raise NotReadyError(f"`{launch.argv[0]}` cannot be started: {error.strerror}") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open_null(number: int) -> None:
    """Where the caller closed a standard stream (`<&-`), docker would take its next file for it and wait for ever."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    # dup2 of a descriptor on itself would leave it to be closed by exec.
    os.set_inheritable(number, True)  # noqa: FBT003 - the function takes no keywords


def unique_name() -> str:
    """A container name that two starts in the same second do not share."""
    return f"jetson_container_{time.strftime('%Y%m%d_%H%M%S')}_{os.urandom(3).hex()}"


def _hidden_values(names: Iterable[str]) -> list[Notice]:
    """Say that values were taken out of the argv."""
    return [
        Notice(
            text=f"the value of {name} is passed through the environment, not on docker's command line, where every "
            "user could read it",
            severity=NoticeSeverity.INFO,
        )
        for name in sorted(names)
    ]


def _other_family(image: str, platform: Platform) -> list[Notice]:
    """An image for another family of L4T than the machine's: its CUDA is not the one the driver is for."""
    from jetson_containers.images.name import ImageName
    from jetson_containers.platforms import cuda

    try:
        l4t = ImageName.parse(image).platform.l4t
    except UsageError:
        return []
    if l4t is None or platform.l4t is None:
        return []
    image_class, machine_class = cuda.class_of(l4t), cuda.class_of(platform.l4t)
    if not image_class or not machine_class or image_class.key(l4t) == machine_class.key(platform.l4t):
        return []
    return [
        Notice(
            text=f"the image is made for L4T {l4t}, and this is L4T {platform.l4t}, which takes images of "
            f"{machine_class.takes}: its GPU libraries may not work here",
            hint="`./autotag PACKAGE` names an image for this machine",
        )
    ]


def _terminal(line: RunLine, *, stdin_tty: bool, stdout_tty: bool) -> LaunchPart:
    """`-i` so that what is piped in arrives; `-t` only where a person sits at both ends.

    A terminal on one side only would break pipes (`-t` turns newlines into CR LF and mixes stderr into stdout).
    Who says anything about it (`-i`, `-t`, `-a`) gets exactly that.
    """
    if line.has("interactive", "tty", "attach"):
        return LaunchPart()
    if stdin_tty and stdout_tty:
        return LaunchPart(argv=("-it",))
    return LaunchPart() if line.is_on("detach") else LaunchPart(argv=("-i",))


def _network(host: LaunchHost, *, least: bool) -> str:
    """The host's, or one of its own, which Podman without root has under another name than `bridge`."""
    if not least:
        return "host"
    return PODMAN_NETWORK if host.capabilities.podman else "bridge"


def _defaults(line: RunLine, name: str, *, network: str) -> LaunchPart:
    argv: tuple[str, ...] = ()
    if not line.has("rm") and line.last("restart") in {None, "no", ""}:
        argv += ("--rm",)  # docker refuses it beside a restart policy
    if not line.has(*_OWN_NETWORK):
        argv += ("--network", network)
    if not line.has("shm-size", "ipc"):
        argv += ("--shm-size=8g",)
    if not line.has("name"):
        argv += ("--name", name)
    return LaunchPart(argv=argv)


def _tokens(line: RunLine, env: Mapping[str, str]) -> LaunchPart:
    """The Hugging Face token under both names programs look for, by name only; a name the user passes is the user's."""
    given = [name for name in _TOKENS if name in line.env_names]
    found = {name: env[name] for name in _TOKENS if env.get(name)}
    if found and not given:
        found = {**dict.fromkeys(_TOKENS, next(iter(found.values()))), **found}
    passed = tuple(word for name in _TOKENS if name in found and name not in given for word in ("--env", name))
    return LaunchPart(argv=passed, env={name: value for name, value in found.items() if not _is_set(line, name)})


def _hub(line: RunLine, env: Mapping[str, str]) -> LaunchPart:
    """A hub of one's own goes where the token goes: it is not for huggingface.co then."""
    if not env.get("HF_ENDPOINT") or "HF_ENDPOINT" in line.env_names:
        return LaunchPart()
    return LaunchPart(argv=("--env", "HF_ENDPOINT"), env={"HF_ENDPOINT": env["HF_ENDPOINT"]})


def _from_dotenv(line: RunLine, env: Mapping[str, str]) -> LaunchPart:
    """Values for `-e NAME` that stand in an `.env` file, where docker would not look."""
    return LaunchPart(env={name: env[name] for name in line.values("env") if "=" not in name and name in env})


def _is_set(line: RunLine, name: str) -> bool:
    """Whether the user gives a variable its value (`-e NAME=`), rather than only its name."""
    return any(value.startswith(f"{name}=") for value in line.values("env"))


def _oddities(line: RunLine, *, least: bool) -> tuple[Notice, ...]:
    """Options that are passed on although they will not do what they seem to."""
    notices = []
    for option in line.options:
        if not option.known:
            known = [*OWN, *docker_options.VALUED, *docker_options.FLAGS]
            dashes = "--" if len(option.name) > 1 else "-"
            notices.append(
                Notice(
                    text=f"unknown option of `docker run`: `{dashes}{option.name}`; it is passed on",
                    hint=did_you_mean(option.name, known, style="`--{}`") or None,
                )
            )
    if line.has("publish", "publish-all") and not line.has(*_OWN_NETWORK) and not least:
        notices.append(
            Notice(text="published ports have no effect on the host's network, where every port is open already",
                   hint="`--network bridge` gives the container a network of its own")
        )  # fmt: skip
    return tuple(notices)


def _docker(capabilities: RunCapabilities, names: Iterable[str], additions: Mapping[str, str]) -> tuple[str, ...]:
    """`docker run`, with sudo where it is needed; sudo then has to let the variables through that go by name."""
    command = (capabilities.client, "run")
    if not capabilities.sudo:
        return command
    kept = ",".join(sorted({*names, *additions}))
    return ("sudo", *((f"--preserve-env={kept}",) if kept else ()), *command)


def _passed_by_name(ours: LaunchPart, line: RunLine) -> set[str]:
    """Variables that docker takes from its environment: `--env NAME`, which is how all of ours are spelled."""
    pairs = zip(ours.argv, ours.argv[1:], strict=False)
    added = (value for option, value in pairs if option == "--env")
    return {value for value in (*added, *line.values("env")) if "=" not in value}


def _join(*parts: LaunchPart) -> LaunchPart:
    env: dict[str, str] = {}
    for part in parts:
        env.update(part.env)
    return LaunchPart(
        argv=tuple(word for part in parts for word in part.argv),
        mounts=tuple(mount for part in parts for mount in part.mounts),
        env=env,
        notices=tuple(notice for part in parts for notice in part.notices),
    )


def _write_cookie(cookie: CookieFile, console: Console) -> None:
    try:
        notice = display.write_cookie(cookie)
    except OSError as error:
        where = error.filename or cookie.path
        raise NotReadyError(
            f"the X11 cookie cannot be copied: {where}: {error.strerror}",
            hint="unset DISPLAY to start without windows",
        ) from error
    if notice:
        _say(console, notice)


def _show(launch: Launch, console: Console) -> None:
    if launch.env_additions:
        names = ", ".join(sorted(launch.env_additions))
        console.info(f"to run this by hand, first set in the environment: {names}")
    webcams = launch.webcams
    if not console.as_json:
        first = [shlex.join(argv) for argv in webcams.prepare] if webcams else []
        beside = [f"{shlex.join(argv)} &" for argv in webcams.streams] if webcams else []
        console.result("\n".join((*first, *beside, launch.shell)))
        return
    console.result_json(
        {
            "argv": launch.argv,
            "env": sorted(launch.env_additions),
            "image": launch.image,
            "command": launch.command,
            "name": launch.name,
            "gpu": launch.gpu,
            "mounts": launch.mounts,
            "notices": launch.notices,
            **({"webcams": webcams} if webcams else {}),
        }
    )


def _say(console: Console, notice: Notice) -> None:
    if notice.severity is NoticeSeverity.WARNING:
        console.warning(notice.text, notice.hint)
    elif notice.severity is NoticeSeverity.INFO:
        console.info(notice.text)
    else:
        console.detail(notice.text)
