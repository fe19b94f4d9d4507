"""What our way costs beside the plain one: a chat beside the bare container, a download beside the hub's own client.

Run `.venv/bin/python benchmarks/llm/run.py` on a quiet machine with an engine and the image of llama_cpp; it prints a
table and writes `result.json` beside itself. The hub is one on loopback with the real protocol, so a download is bound
by the disk and the processor, not by a network.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.hubserver import HubServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 5
MEGABYTES = 512
MODEL = "/data/models/llama_cpp/tiny-llama/tiny-llama-Q4_K_M.gguf"
QUESTION = "What is a Jetson?"


def seconds(work: Callable[[], object], before: Callable[[], object] = lambda: None, runs: int = RUNS) -> list[float]:
    """Time some work; the first run is not counted."""
    times = []
    for _ in range(runs + 1):
        before()
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return times[1:]


def run(*argv: str, **env: str) -> Callable[[], object]:
    """A command whose output nobody reads."""
    merged = {**os.environ, **env}
    return lambda: subprocess.run(argv, env=merged, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def chats(data: Path, image: str) -> dict[str, list[float]]:
    """One question and its answer; the model is prepared before."""
    ours = (str(ROOT / "jetson-containers"), "llm", "chat", "tiny", "--image", image, "-p", QUESTION)
    run(*ours, JETSON_CONTAINERS_DATA=str(data))()
    plain = (
        "docker", "run", "--rm", "--network", "host", "-v", f"{data}:/data", image, "llama-cli", "-m", MODEL, "-c",
        "512", "-n", "256", "--single-turn", "--simple-io", "-p", QUESTION,
    )  # fmt: skip
    return {
        "llm chat (prepared model)": seconds(run(*ours, JETSON_CONTAINERS_DATA=str(data))),
        "docker run … llama-cli (peer)": seconds(run(*plain)),
    }


def downloads(work: Path) -> dict[str, list[float]]:
    """One file of random bytes from a hub on loopback, from nothing each time."""
    data, other = work / "ours", work / "peer"
    with HubServer() as hub:
        hub.add("bench/model", {"config.json": b"{}", "model.safetensors": os.urandom(MEGABYTES * 1_000_000)})
        ours = run(
            str(ROOT / "jetson-containers"), "download", "bench/model", HF_ENDPOINT=hub.url,
            JETSON_CONTAINERS_DATA=str(data),
        )  # fmt: skip
        client = str(Path(sys.executable).with_name("hf"))
        peer = run(client, "download", "bench/model", HF_ENDPOINT=hub.url, HF_HOME=str(other))
        return {
            f"download, {MEGABYTES} MB (sha256 verified)": seconds(
                ours, lambda: shutil.rmtree(data, ignore_errors=True)
            ),
            f"hf download, {MEGABYTES} MB (peer)": seconds(peer, lambda: shutil.rmtree(other, ignore_errors=True)),
        }


def main() -> None:
    """Measure, print, write."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    image = subprocess.run(
        [str(ROOT / "autotag"), "--disable", "registry,build", "llama_cpp"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        results = {
            **chats(work / "data", image),
            "llm fit, all runtimes": seconds(
                run(str(ROOT / "jetson-containers"), "llm", "fit", "Llama-2-7b-chat-hf", "--board", "orin-nx-16gb")
            ),
            **downloads(work),
        }
    table = {
        name: {
            key: round(value, 3)
            for key, value in (("best_s", min(times)), ("median_s", statistics.median(times)), ("worst_s", max(times)))
        }
        for name, times in results.items()
    }
    for name, row in table.items():
        print(f"{name:42} {row['median_s']:8.2f} s  (best {row['best_s']:.2f}, worst {row['worst_s']:.2f})")
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    place = Path(__file__).with_name("result.json")
    place.write_text(json.dumps({"machine": machine, "image": image, "runs": RUNS, "results": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
