"""`farm …`: machines that build stages together; `build --farm ADDRESS` gives them work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli import build
from jetson_containers.cli.abbreviations import AbbreviatingGroup
from jetson_containers.cli.app import App, collect, command, global_options, list_option, split_list
from jetson_containers.cli.farm_options import access_options, farm_access
from jetson_containers.cli.keys import signer, take_password
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.engine.interface import Capabilities
    from jetson_containers.farm.access import FarmAccess

LOOPBACK = "127.0.0.1"
DASHBOARD = f"{LOOPBACK}:8787"


@dataclass(frozen=True, kw_only=True)
class AccessArguments:
    """What was given of the options of TLS."""

    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    allow_unencrypted: bool

    def read(self) -> FarmAccess:
        """The same for the farm."""
        return farm_access(self.tls_ca, self.tls_cert, self.tls_key, unencrypted=self.allow_unencrypted)


@dataclass(frozen=True, kw_only=True)
class WorkerArguments:
    """What was given on the line of `farm worker`."""

    label_text: str
    memory: str
    cores: int
    jobs: int
    emulate: bool
    name: str
    host: str


def _with_access(function: Any) -> Any:
    for decorate in reversed(access_options()):
        function = decorate(function)
    return function


@click.group(
    cls=AbbreviatingGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: jetson-containers farm worker tls://build-host:8786 --labels r36.4,gpu",
)
@global_options
@click.pass_obj
def farm(app: App, /, **options: Any) -> None:
    """Build on several machines: a scheduler, a worker on each, and `build --farm`."""
    app.update(options)


@command("scheduler")
@click.option("--host", default=LOOPBACK, show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(1, 65535), default=8786, show_default=True, help="Port to listen at.")
@click.option(
    "--dashboard",
    default=DASHBOARD,
    show_default=True,
    metavar="HOST:PORT",
    help="Where Dask's dashboard is served, without a password; `none` for nowhere.",
)
@_with_access
@collect(lambda: AccessArguments, "access_given")
def farm_scheduler(app: App, *, host: str, port: int, dashboard: str, access_given: AccessArguments) -> int:
    """Run the scheduler of a farm; one for all machines.

    Example: jetson-containers farm scheduler --host 0.0.0.0 --tls-ca ca.pem --tls-cert farm.pem --tls-key farm.key
    """
    from jetson_containers.farm import access, serve

    allowed = access_given.read()
    tls = allowed.certificate is not None
    access.check(f"{'tls' if tls else 'tcp'}://{host}:{port}", allowed, "--host")
    where = "" if dashboard == "none" else dashboard
    serve.scheduler(host, port, where, allowed, tls=tls, console=app.console)
    return 0


@command("worker")
@click.argument("address")
@list_option("--labels", "label_text", help="What this machine has, for builds with --farm-labels: r36.4,cu126,gpu.")
@click.option("--memory", default="", help="Memory for builds, as 64G; otherwise what is available.")
@click.option("--cores", type=click.IntRange(min=0), default=0, help="CPU cores for builds; 0: those of this process.")
@click.option("--jobs", type=click.IntRange(min=0), default=0, help="Stages at the same time; 0: as cores allow.")
@click.option("--emulate", is_flag=True, help="Also take stages of platforms that run here only by emulation.")
@click.option("--name", default="", help="Name of this worker; otherwise its host and process.")
@click.option("--host", default="", help="Address that this worker listens at; otherwise the one that leads there.")
@_with_access
@collect(lambda: AccessArguments, "access_given")
@collect(lambda: WorkerArguments, "given")
def farm_worker(app: App, *, address: str, given: WorkerArguments, access_given: AccessArguments) -> int:
    """Build stages on this machine's engine for the scheduler at ADDRESS, until Ctrl-C.

    With DOCKER_HOST=ssh://BOARD the engine is a board's, which needs nothing but docker; say its --cores and --memory.

    Example: jetson-containers farm worker tls://build-host:8786 --labels r36.4,cu126,gpu --memory 64G
    """
    from jetson_containers.builder import resources, stage_registry
    from jetson_containers.farm import access, labels, machine, serve
    from jetson_containers.registry.client import RegistryClient

    take_password(app)
    allowed = access_given.read()
    access.check(address, allowed, "ADDRESS")
    if given.host:  # a worker listens too, and takes tasks from whoever reaches it
        access.check(f"{'tls' if access.is_tls(address) else 'tcp'}://{given.host}:{access.PORT}", allowed, "--host")
    offered = labels.check(split_list(given.label_text), "--labels")
    access.require()
    size = _memory(given.memory)
    signs = signer(app)
    options = build.machine_options(app)
    capabilities = app.engine.capabilities
    remote = capabilities.elsewhere
    if remote and not (size and given.cores):
        raise UsageError("the engine is on another machine", hint="say its --cores and --memory")
    available = resources.detect(
        jobs=given.jobs, cores=given.cores, memory=size, most_jobs=resources.job_limit(app.settings.env)
    )
    worker = serve.WorkerOptions(
        address=address,
        slots=available.slots,
        labels=offered,
        platforms=_platforms(capabilities, emulate=given.emulate),
        memory=available.memory,
        scratch=app.settings.path("cache") / "farm",
        host=given.host,
    )
    registries = RegistryClient.of(app.settings)
    built_by = machine.StageMachine(
        app.engine,
        options,
        available,
        app.platform,
        lambda namespace: stage_registry.StageRegistry(namespace, registries, signs),
        app.console,
        name=given.name or serve.default_name(),
        remote=remote,
    )
    serve.worker(worker, built_by, allowed, app.console)
    return 0


def _memory(text: str) -> int:
    from jetson_containers.recipes.schema import size

    found = size(text) if text else 0
    if found is None or (text and not found):
        raise UsageError(f"--memory: `{text}` is not a size", hint="as in `--memory 64G`")
    return found


def _platforms(capabilities: Capabilities, *, emulate: bool) -> tuple[str, ...]:
    """What the engine builds for: its own platform first, and with `emulate` the others that run there."""
    return capabilities.platforms if emulate else capabilities.platforms[:1]


@command("status")
@click.argument("address")
@_with_access
@collect(lambda: AccessArguments, "access_given")
def farm_status(app: App, *, address: str, access_given: AccessArguments) -> int:
    """Show the workers of the scheduler at ADDRESS, and what they build.

    Example: jetson-containers farm status tls://build-host:8786
    """
    from jetson_containers.core.console import human_bytes
    from jetson_containers.farm import access, client

    allowed = access_given.read()
    checked = access.check(address, allowed, "ADDRESS")
    found = client.status(client.FarmOptions(address=checked, access=allowed))
    if app.console.as_json:
        app.console.result_json(asdict(found))
        return 0
    for worker in found.workers:
        building = ", ".join(worker.building) or "-"
        app.console.result(
            f"{worker.name}  {' '.join(worker.labels)}  {human_bytes(worker.memory)}  {worker.slots} at a time  "
            f"building: {building}  waiting: {worker.waiting}"
        )
    app.console.info(f"{len(found.workers)} workers; dashboard: {found.dashboard}")
    return 0


for _subcommand in (farm_scheduler, farm_worker, farm_status):
    farm.add_command(_subcommand)
