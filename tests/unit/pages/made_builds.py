"""Records of builds that never ran, for the tests of pages."""

from __future__ import annotations

from typing import Any

from jetson_containers.builder import records


def span(action: str, began: float, seconds: float) -> records.Span:
    return records.Span(action=action, began=began, seconds=seconds)


def stage(number: int, package: str, *needs: int, spans: tuple[records.Span, ...] = (), **changes: Any) -> Any:
    """A stage whose key is its number; built in the time of its spans unless said otherwise."""
    values: dict[str, Any] = {
        "number": number,
        "package": package,
        "kind": "layer",
        "key": f"sha256:{number}",
        "image": f"jetson-containers/stage:{number}",
        "needs": tuple(f"sha256:{each}" for each in needs),
        "state": "built" if spans else "cached",
        "seconds": sum(each.seconds for each in spans),
        "spans": spans,
        **changes,
    }
    return records.RecordedStage(**values)


def request(*packages: str, **platform: str) -> records.RecordedRequest:
    facts = {"arch": "tegra", "l4t": "36.4", "cuda": "12.6", **platform}
    return records.RecordedRequest(
        packages=packages, final=f"{packages[-1]}:r36.4", base="ubuntu:22.04", platform=facts, stages=()
    )


def build(*stages: records.RecordedStage, **changes: Any) -> records.Record:
    values: dict[str, Any] = {
        "id": "20260102_030405",
        "tool": "1.0",
        "command": "./build.sh vllm",
        "began": "2026-01-02T03:04:05Z",
        "seconds": 100.0,
        "result": "ok",
        "requests": (request("vllm"),),
        "stages": stages,
        "log_dir": "",
        **changes,
    }
    return records.Record(**values)


def usual() -> records.Record:
    """Four stages: two at the same time, then one on both, then one that failed."""
    return build(
        stage(1, "python", spans=(span("build", 0, 20), span("test", 20, 5)), tests="passed", added=50_000_000,
              results=(records.RecordedTest(command="test.py", status="passed", seconds=5.0),), commands=4, reused=1),
        stage(2, "torch:2.8", spans=(span("build", 0, 60),), kind="artifact"),
        stage(3, "torch:2.8", 1, 2, spans=(span("build", 60, 10), span("test", 70, 10)), added=900_000_000,
              tests="deferred", layers=(records.LayerSize(command="RUN pip install torch", size=900_000_000),),
              results=(records.RecordedTest(command="gpu.py", status="deferred", seconds=1.0, reason="needs a GPU"),)),
        stage(4, "vllm", 3, spans=(span("build", 80, 15),), state="failed", cause="no version matches"),
        stage(5, "cmake", 4),
        result="failed", images={"vllm:r36.4": 1_000_000_000},
        failures=(records.RecordedFailure(package="vllm", cause="no version matches", remedy="run `pip list`",
                                         log="/logs/build/04_vllm.log", number=7, lines=("ERROR: <b>none</b>",)),),
        environment={"engine": "28.2"},
    )  # fmt: skip
