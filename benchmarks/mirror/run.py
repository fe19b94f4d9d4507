"""A source build from a filled mirror while the origins cannot be reached: XGrammar, compiled for the CPU.

    .venv/bin/python benchmarks/mirror/run.py [xgrammar | cpu_features] [--snapshots DIR] [--base IMAGE]

`cpu_features` is small: a minute where XGrammar takes some. `mirror fill` fetches what the recipe in `tree/` pins: the
repository with its submodules, and the build tools. Then the hosts of the origins get addresses where nobody answers,
and the recipe is built twice: without the mirror, which has to fail, and from the folder alone. Debian's packages come
from Debian: they are not in a mirror.

`--snapshots` is a folder of `OWNER+NAME/repo` (bare repositories), for a machine that GitHub does not answer: it is
served in GitHub's place while the mirror is filled, and stopped before the builds. The image is removed at the end. It
prints the figures and writes `result.json` beside itself, where
the other package stays.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ORIGINS = ("github.com", "pypi.org", "files.pythonhosted.org")
NOWHERE = "127.0.0.9"  # loopback, where no server listens
NAME = "jbench-mirror/"  # of the images
PYTHON = "3.11"  # of the base image: the lock is for it
WAIT = 10.0  # seconds until git's server has to answer


def ours(words: Sequence[str], env: Mapping[str, str]) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a command line of ours on the tree of this benchmark; the seconds it took, and what came of it."""
    argv = [sys.executable, "-m", "jetson_containers", *words, "--packages", str(HERE / "tree")]
    began = time.monotonic()
    done = subprocess.run(
        argv, cwd=ROOT, env={**env, "PYTHON_VERSION": PYTHON}, capture_output=True, text=True, check=False
    )
    return time.monotonic() - began, done


@contextlib.contextmanager
def origin(snapshots: Path | None, folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which GitHub's repositories come from a folder of snapshots, where one is given."""
    if snapshots is None:
        yield dict(os.environ)
        return
    for repository in snapshots.glob("*+*/repo"):
        owner, _, name = repository.parent.name.partition("+")
        (folder / owner).mkdir(parents=True, exist_ok=True)
        (folder / owner / f"{name}.git").symlink_to(repository)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rights = ["-c", "uploadpack.allowAnySHA1InWant=true", "-c", "safe.directory=*"]
    argv = ["git", *rights, "daemon", "--export-all", f"--base-path={folder}", "--listen=127.0.0.1", f"--port={port}"]
    child = subprocess.Popen(argv, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + WAIT
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        found = {"git": {"https://github.com/": f"git://127.0.0.1:{port}/"}}
        yield {**os.environ, "JETSON_CONTAINERS_MIRRORS": json.dumps(found)}
    finally:
        child.terminate()
        child.wait()


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def filled(package: str, mirror: Path, base: str, env: Mapping[str, str]) -> dict[str, object]:
    """Fill the folder twice: the second time nothing is fetched."""
    words = ["mirror", "fill", package, "--into", str(mirror), "--base", base, "--no-images", "--json"]
    rows = []
    for _ in range(2):
        seconds, done = ours(words, env)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        rows.append((round(seconds, 1), json.loads(done.stdout)))
    (first, held), (again, second) = rows
    if second["fetched"]:
        raise SystemExit(f"the second fill fetched {second['fetched']} things again")
    return {
        "seconds": first,
        "seconds_again": again,
        "bytes": size(mirror),
        **{kind: held[kind] for kind in ("git", "files", "python", "fetched")},
    }


def main() -> int:
    """Fill, close the origins, build, print, write; 1 where the build from the mirror fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", nargs="?", default="xgrammar", choices=["xgrammar", "cpu_features"])
    parser.add_argument("--snapshots", type=Path)
    parser.add_argument("--base", default="jetson-containers/base:debian12-amd64", help="Debian 12, with Python 3.11")
    parser.add_argument("--logs", type=Path, help="keep the logs of the builds there")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--jobs", default="0", help="as in build")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="jbench-mirror-") as name:
        folder = Path(name)
        mirror = folder / "mirror"
        with origin(given.snapshots, folder / "origin") as env:
            result: dict[str, object] = {"filled": filled(given.package, mirror, given.base, env)}
        closed = " ".join(f"--add-host={host}:{NOWHERE}" for host in ORIGINS)
        words = ["build", given.package, "--base", given.base, "--name", NAME, "--engine", given.engine, "--json"]
        words += [
            f"--build-flags={closed}",
            "--logs",
            str(folder / "logs"),
            *(["--jobs", given.jobs] if given.jobs else []),
        ]
        _, refused = ours(words, os.environ)
        if refused.returncode == 0 or "github.com" not in refused.stdout + refused.stderr:
            raise SystemExit(f"the origins answer, or another error came first:\n{refused.stdout}{refused.stderr}")
        seconds, done = ours([*words, "--mirrors", str(mirror)], os.environ)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        report = json.loads(done.stdout)
    (stage,) = report["stages"]
    result["build"] = {"seconds": round(seconds, 1), "tests": stage["tests"], "load": round(os.getloadavg()[0], 1)}
    for name in (*report["images"], stage["image"]):
        subprocess.run(["docker", "image", "rm", name], capture_output=True, check=False)
    print(json.dumps(result, indent=1))
    file = HERE / "result.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**known, given.package: result}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
