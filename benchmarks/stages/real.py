"""What our builds cost beside plain `docker build` of the same Dockerfiles, on real engines.

    .venv/bin/python benchmarks/stages/real.py [--base IMAGE] [--stages 24] [--work 1.0] [--runs 3]
    .venv/bin/python benchmarks/stages/real.py --newer    # an engine of the next Debian release, for bake (root)
    .venv/bin/python benchmarks/stages/real.py --newer --chain-only --with-network-settings

Measured, in seconds, each as the median of paired runs:

- `chain`: a chain of packages is built from nothing, by `build` and by one `docker build` after the other, both with
  the client and the builder that `build` chooses: two builders differ by more than what we add. Every stage
  works for `--work` seconds of the clock, so that the rest of a pair is what the tools take.
- `again`: the same with everything built: one `build`, and as many `docker build` from the layer cache.
- with `--newer` also `wide`: packages that stand beside each other on one, by bake and stage by stage.

The CPU seconds of the clients stand beside the clock: they say what we add on a machine that does other work, too.
A build of one package goes before: what the first command on a machine does once (compile our modules, look into the
base image) belongs to no chain.

Both build the same texts, which differ from run to run, so that no run finds another's layers. The images are removed
at the end. It prints a table and writes `real-result.json` beside itself, with the options in its name.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from jetson_containers.core import settings  # noqa: E402 - this checkout stands on the module path
from jetson_containers.engine import argv, docker, probe  # noqa: E402
from jetson_containers.engine.interface import Builder  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

NETWORK = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_", "CURL_CA_", "HTTP_", "HTTPS_", "http_", "https_")
BRIDGE = f"jbench{os.getpid()}"  # two runs at once must not share one
COMMAND = "ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nRUN sleep {work}; echo {text} >>/stages\n"


@dataclass(frozen=True, kw_only=True)
class PlainBuilder:
    """How a user calls the builder that `build` chooses; `env` selects it."""

    words: Sequence[str]
    env: Mapping[str, str]

    @classmethod
    def chosen(cls, env: Mapping[str, str]) -> PlainBuilder:
        """Ask our engine for its client and builder."""
        host = probe.ProbedHost.real(dict(env))
        capabilities = docker.DockerEngine(settings.load({"engine": "auto"}, files=()), host=host).capabilities
        buildx = capabilities.builder is Builder.BUILDX
        words = [capabilities.client, *(("buildx", "build", "--load") if buildx else ("build",))]
        return cls(words=words, env=argv.builder_env(capabilities.builder))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where builds take place: programs and engine by `env`, files below `folder`."""

    env: Mapping[str, str]
    folder: Path
    base: str
    work: float
    builder: PlainBuilder

    def tree(self, names: Sequence[str], depends: Callable[[int], str]) -> Path:
        """A tree of small packages whose texts nobody has built before."""
        tree = self.folder / f"tree-{secrets.token_hex(4)}"
        for number, name in enumerate(names):
            place = tree / "bench" / name
            place.mkdir(parents=True)
            header = f"#---\n# name: {name}\n# depends: [{depends(number)}]\n# group: bench\n# build_size: 1M\n#---\n"
            (place / "Dockerfile").write_text(header + COMMAND.format(work=self.work, text=secrets.token_hex(8)))
        return tree

    def ours(self, tree: Path, *packages: str, engine: str = "auto") -> float:
        """Seconds of one `build`."""
        argv = [sys.executable, "-m", "jetson_containers", "build", "--packages", str(tree), "--base", self.base]
        argv += ["--name", "jbench/", "--engine", engine, "--quiet", "--offline"]
        return self.timed([*argv, *packages])

    def plain(self, tree: Path, names: Sequence[str], tag: str) -> float:
        """Seconds of one `docker build` after the other, each on the one before."""
        began = time.monotonic()
        below = self.base
        for name in names:
            argv = [*self.builder.words, "--quiet", "--network=host", f"--build-arg=BASE_IMAGE={below}"]
            below = f"{tag}:{name}"
            self.timed([*argv, f"--tag={below}", str(tree / "bench" / name)], self.builder.env)
        return time.monotonic() - began

    def timed(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> float:
        """Seconds of a command, which must succeed; `env` comes on top of the environment."""
        began = time.monotonic()
        both = {**self.env, **(env or {})}
        done = subprocess.run(argv, cwd=ROOT, env=both, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
        return time.monotonic() - began

    def images(self) -> set[str]:
        """The names of all images of the engine."""
        argv = ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]
        return set(subprocess.run(argv, env=self.env, capture_output=True, text=True, check=True).stdout.split())

    def remove(self, names: Sequence[str]) -> None:
        """Remove images of this benchmark."""
        mine = [name for name in self.images() if name.startswith(("jbench", *names))]
        for name in mine:
            subprocess.run(["docker", "image", "rm", name], env=self.env, capture_output=True, check=False)


def clients() -> float:
    """CPU seconds of all programs that were started so far: unlike the clock, the machine's load leaves them alone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def warm_up(bench: Bench) -> None:
    """Build one package in both ways."""
    tree = bench.tree(["jbench-first"], lambda _number: "")
    bench.ours(tree, "jbench-first")
    bench.ours(tree, "jbench-first")
    bench.plain(tree, ["jbench-first"], "jbench-plain")
    bench.remove(["jetson-containers/stage:jbench-first"])


def chain(bench: Bench, count: int, runs: int) -> dict[str, Any]:
    """A chain from nothing, and again; pairs take turns in which is first."""
    names = [f"jbench-p{number:02d}" for number in range(1, count + 1)]
    rows: list[dict[str, float]] = []
    for run in range(runs):
        ours = bench.tree(names, lambda number: names[number - 1] if number else "")
        plain = bench.tree(names, lambda number: names[number - 1] if number else "")
        steps = {
            "build": lambda tree=ours: bench.ours(tree, names[-1]),
            "docker": lambda tree=plain, run=run: bench.plain(tree, names, f"jbench-plain{run}"),
        }
        row = {}
        for kind in ("chain", "again"):
            for name in sorted(steps, reverse=bool(run % 2)):
                before = clients()
                row[f"{kind} {name}"] = steps[name]()
                row[f"{kind} {name}, CPU of clients"] = round(clients() - before, 2)
        rows.append(row)
        print(json.dumps({name: round(value, 2) for name, value in row.items()}), flush=True)
        bench.remove([f"jetson-containers/stage:{name}" for name in names])
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    overheads = [row["chain build"] / row["chain docker"] - 1 for row in rows]
    return {
        "stages": count,
        "work": bench.work,
        **{name: round(value, 2) for name, value in median.items()},
        "overhead": round(statistics.median(overheads), 4),
        "again_times_faster": round(statistics.median(row["again docker"] / row["again build"] for row in rows), 1),
        "runs": rows,
    }


def wide(bench: Bench, count: int, runs: int) -> dict[str, Any]:
    """Packages beside each other on one: bake, and stage by stage with the same slots."""
    names = ["jbench-root", *(f"jbench-leaf{number:02d}" for number in range(1, count))]
    rows = []
    for run in range(runs):
        row = {}
        for engine in sorted(("bake", "buildx"), reverse=bool(run % 2)):
            tree = bench.tree(names, lambda number: names[0] if number else "")
            row[engine] = bench.ours(tree, "--multiple", "jbench-*", engine=engine)
            bench.remove([f"jetson-containers/stage:{name}" for name in names])
        rows.append(row)
        print(json.dumps(row), flush=True)
    median = {name: round(statistics.median(row[name] for row in rows), 2) for name in ("bake", "buildx")}
    return {"stages": count, "work": bench.work, **median, "runs": rows}


def bakes(bench: Bench, count: int, runs: int) -> dict[str, Any]:
    """A chain by bake and stage by stage."""
    names = [f"jbench-p{number:02d}" for number in range(1, count + 1)]
    rows = []
    for run in range(runs):
        row = {}
        for engine in sorted(("bake", "buildx"), reverse=bool(run % 2)):
            tree = bench.tree(names, lambda number: names[number - 1] if number else "")
            row[engine] = bench.ours(tree, names[-1], engine=engine)
            bench.remove([f"jetson-containers/stage:{name}" for name in names])
        rows.append(row)
        print(json.dumps(row), flush=True)
    median = {name: round(statistics.median(row[name] for row in rows), 2) for name in ("bake", "buildx")}
    return {"stages": count, "work": bench.work, **median, "runs": rows}


@contextlib.contextmanager
def newer_engine(folder: Path) -> Iterator[dict[str, str]]:
    """An engine of its own with buildx (scripts/buildx.sh), beside the machine's; the environment that leads there."""
    programs = subprocess.run(
        [ROOT / "scripts" / "buildx.sh"], capture_output=True, text=True, check=True
    ).stdout.strip()
    env = {
        **os.environ,
        "PATH": f"{programs}/usr/bin:{programs}/usr/sbin:{os.environ['PATH']}",
        "DOCKER_CONFIG": f"{programs}/config",
        "DOCKER_HOST": f"unix://{folder}/socket",
    }
    settings = {
        "data-root": f"{folder}/data",
        "exec-root": f"{folder}/exec",
        "pidfile": f"{folder}/pid",
        "bridge": BRIDGE,
        "hosts": [env["DOCKER_HOST"]],
        "iptables": False,
        "ip6tables": False,
    }
    (folder / "daemon.json").write_text(json.dumps(settings))
    with contextlib.ExitStack() as undo:
        subprocess.run(["ip", "link", "add", "name", BRIDGE, "type", "bridge"], check=True)
        undo.callback(subprocess.run, ["ip", "link", "delete", BRIDGE], check=False)
        subprocess.run(["ip", "address", "add", f"10.214.{secrets.randbelow(250)}.1/24", "dev", BRIDGE], check=True)
        log = undo.enter_context((folder / "log").open("w"))
        undo.callback(shutil.rmtree, folder / "data", ignore_errors=True)
        argv = [f"{programs}/usr/sbin/dockerd", "--config-file", str(folder / "daemon.json")]
        child = subprocess.Popen(argv, env=env, stdout=log, stderr=log, start_new_session=True)
        undo.callback(child.wait)
        undo.callback(child.terminate)
        for _ in range(300):
            if subprocess.run(["docker", "version"], env=env, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        yield env


def engine_of(env: Mapping[str, str]) -> str:
    """The engine's version, for the result."""
    argv = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="jetson-containers/base:debian12-amd64", help="an image that is here")
    parser.add_argument("--stages", type=int, default=24)
    parser.add_argument("--work", type=float, default=1.0, help="seconds that each stage sleeps")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--newer", action="store_true")
    parser.add_argument(
        "--with-network-settings",
        action="store_true",
        help="give `build` the CA bundle, index and proxies of this machine's environment; the plain commands get none",
    )
    parser.add_argument("--chain-only", action="store_true", help="neither bake nor stage by stage beside it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jbench-") as name, contextlib.ExitStack() as undo:
        folder = Path(name)
        cache = {
            "JETSON_CONTAINERS_CACHE": str(folder / "cache"),
            "JETSON_CONTAINERS_LOGS": str(folder / "logs"),
            # As it is installed: a machine for tests may forbid to keep what was compiled.
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        os.environ.update(cache)
        if not given.with_network_settings:
            for variable in [variable for variable in os.environ if variable.startswith(NETWORK)]:
                del os.environ[variable]  # the plain commands are given none of it
        env = {**os.environ}
        if given.newer:
            env = undo.enter_context(newer_engine(folder))
            saved = subprocess.Popen(["docker", "image", "save", given.base], stdout=subprocess.PIPE)
            subprocess.run(["docker", "image", "load"], env=env, stdin=saved.stdout, capture_output=True, check=True)
        bench = Bench(env=env, folder=folder, base=given.base, work=given.work, builder=PlainBuilder.chosen(env))
        load = [round(value, 1) for value in os.getloadavg()]  # processes that want a core; compare with `cores`
        machine = {
            "engine": engine_of(env),
            "client": " ".join([Path(bench.builder.words[0]).name, *bench.builder.words[1:]]),
            **bench.builder.env,
            "cores": os.cpu_count(),
            "load": load,
        }
        warm_up(bench)
        result: dict[str, Any] = {**machine, "chain": chain(bench, given.stages, given.runs)}
        if given.newer and not given.chain_only:
            result["chain by bake"] = bakes(bench, given.stages, given.runs)
            result["wide by bake"] = wide(bench, given.stages, given.runs)
    print(json.dumps(result, indent=1))
    kinds = {"newer": given.newer, "chain": given.chain_only, "network": given.with_network_settings}
    file = HERE / ("-".join(["real-result", *(name for name, is_on in kinds.items() if is_on)]) + ".json")
    file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
