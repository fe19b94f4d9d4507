"""What the checks in front of a runtime's server cost: llama-server of one image, with them and bare.

Run `.venv/bin/python benchmarks/checks/run.py` on a quiet machine with an engine and the image of llama_cpp; it prints
a table and writes `result.json` beside itself. The model is the tiny one of the tests, which makes thousands of tokens
a second: a larger one hides what is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(ROOT / "jetson-containers")
REQUESTS = 100
ROUNDS = 6
TOKENS = 128
AT_ONCE = 8


@contextlib.contextmanager
def served(data: Path, image: str, *, checks: bool) -> Iterator[int]:
    """The port of a server."""
    env = {**os.environ, "JETSON_CONTAINERS_DATA": str(data), "JETSON_CONTAINERS_CHECK_REQUESTS": str(checks).lower()}
    argv = [COMMAND, "llm", "serve", "tiny", "--image", image, "--detach", "--another", "--json", "--threads", "1"]
    shown = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
    answer = json.loads(shown)
    try:
        yield int(answer["url"].split(":")[2].split("/")[0])
    finally:
        subprocess.run(["docker", "rm", "-f", answer["name"]], stdout=subprocess.DEVNULL, check=True)


def ask(port: int, method: str, path: str, body: Any = None) -> bytes:
    """The answer's body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    with contextlib.closing(connection):
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        return connection.getresponse().read()


def milliseconds(work: Callable[[], object], count: int) -> float:
    """The median of one request."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def completion(tokens: int, *, stream: bool) -> dict[str, Any]:
    """A request for exactly so many tokens."""
    return {"prompt": "A Jetson is", "max_tokens": tokens, "stream": stream, "ignore_eos": True, "temperature": 0}


def rate(port: int, at_once: int) -> float:
    """Events per second of streams, all of them together."""
    counts: list[int] = []

    def one() -> None:
        text = ask(port, "POST", "/v1/completions", completion(TOKENS, stream=True))
        counts.append(text.count(b"data: {"))

    started = time.perf_counter()
    threads = [threading.Thread(target=one) for _ in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def measured(port: int) -> dict[str, float]:
    """Milliseconds of one request, events per second of streams."""
    ask(port, "POST", "/v1/completions", completion(8, stream=True))
    return {
        "health_ms": milliseconds(lambda: ask(port, "GET", "/health"), REQUESTS),
        "one_token_ms": milliseconds(
            lambda: ask(port, "POST", "/v1/completions", completion(1, stream=False)), REQUESTS // 3
        ),
        "tokens_per_s_1": statistics.median(rate(port, 1) for _ in range(3)),
        f"tokens_per_s_{AT_ONCE}": statistics.median(rate(port, AT_ONCE) for _ in range(3)),
    }


def main() -> int:
    """Measure both in turns, print and write the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="data directory that has the tiny model prepared already")
    given = parser.parse_args()
    argv = [str(ROOT / "autotag"), "--disable", "registry,build", "llama_cpp"]
    image = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    rows: dict[str, list[dict[str, float]]] = {"bare": [], "checked": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for name, found in rows.items():
                with served(given.data or Path(folder) / "data", image, checks=name == "checked") as port:
                    found.append(measured(port))
    medians = {name: _of_rounds(found, best=False) for name, found in rows.items()}
    best = {name: _of_rounds(found, best=True) for name, found in rows.items()}
    load = os.getloadavg()[0]
    result = {
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "machine": platform.machine(),
        "cores": os.cpu_count(), "load": round(load, 1), "image": image, "rounds": ROUNDS,
        "median": medians, "best": best,
    }  # fmt: skip
    for what, found in (("median", medians), ("best", best)):
        for key in found["bare"]:
            sys.stdout.write(f"{what:8}{key:16} {found['bare'][key]:9.2f} {found['checked'][key]:9.2f}\n")
    (Path(__file__).parent / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _of_rounds(found: list[dict[str, float]], *, best: bool) -> dict[str, float]:
    """The median of the rounds, or the one that the rest of the machine disturbed least."""
    taken = {}
    for key in found[0]:
        values = [row[key] for row in found]
        least_disturbed = max(values) if key.startswith("tokens_per_s") else min(values)
        taken[key] = round(least_disturbed if best else statistics.median(values), 3)
    return taken


if __name__ == "__main__":
    sys.exit(main())
