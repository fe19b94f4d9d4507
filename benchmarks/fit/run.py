"""Our predictions and those of llmfit beside every published speed of one client, with the same board.

Run `.venv/bin/python benchmarks/fit/run.py LLMFIT`, where LLMFIT is the program of the package `llmfit` (1.1.17, in an
environment of its own: `python3 -m venv E; E/bin/pip install llmfit==1.1.17`, then E/bin/llmfit). It needs no network.
It prints a table and writes `result.json` beside itself. llmfit gets each board as a hardware profile (memory as one
pool, bandwidth and 16-bit TFLOPS as we take them) and answers by `llmfit plan`; a figure that has the prompts' reading
in it is compared with llmfit's speed as it says it and with its time for the prompt added, whichever is nearer in the
mean of a runtime.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from fit_published import comparisons  # noqa: E402

from jetson_containers.llm.models import known  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fit_published import Published

# llmfit's name of the nearest format, by our format or the beginning of our name of it.
NEAREST = {
    "fp16": "F16", "bf16": "BF16", "fp8": "Q8_0", "nvfp4": "AWQ-4bit", "w4a16": "AWQ-4bit", "awq": "AWQ-4bit",
    "int4": "GPTQ-Int4", "mxfp4": "MXFP4", "q4f16": "mlx-4bit", "q0f16": "F16",
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Compare, print, write. 2 without the program."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print(__doc__, file=sys.stderr)
        return 2
    rows = [row for row in comparisons() if row.speed_error is not None and row.sequences == 1 and not row.beyond]
    compared = [found for row in rows if (found := _compare(row, arguments[0]))]
    result = {
        "rows": len(rows),
        "compared": len(compared),
        "runtimes": {name: _summary(name, compared) for name in dict.fromkeys(row["runtime"] for row in compared)},
        "each": compared,
    }
    Path(__file__).with_name("result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{len(compared)} of {len(rows)} rows (llmfit knows the model); mean absolute error")
    print(f"{'runtime':14}{'rows':>5}{'ours':>8}{'free rows':>11}{'llmfit':>8}")
    for name, row in result["runtimes"].items():
        free = f"{row['ours_free']:.0%}" if row["ours_free"] is not None else ""
        print(f"{name:14}{row['rows']:5}{row['ours']:8.0%}{free:>11}{row['llmfit']:8.0%}")
    return 0


def _summary(runtime: str, compared: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = [row for row in compared if row["runtime"] == runtime]
    free = [row for row in rows if not row["fitted"]]
    return {
        "rows": len(rows),
        "ours": _mean([row["ours"] for row in rows], rows),
        "ours_free": _mean([row["ours"] for row in free], free) if free else None,
        "llmfit": min(_mean([row[key] for row in rows], rows) for key in ("llmfit", "llmfit_with_prompt")),
        "llmfit_free": min(_mean([row[key] for row in free], free) for key in ("llmfit", "llmfit_with_prompt"))
        if free
        else None,
    }


def _mean(predicted: Sequence[float], rows: Sequence[dict[str, Any]]) -> float:
    errors = [abs(speed / row["published"] - 1) for speed, row in zip(predicted, rows, strict=True)]
    return round(sum(errors) / len(errors), 4)


def _compare(row: Published, program: str) -> dict[str, Any] | None:
    """One row; None where llmfit does not know the model."""
    theirs = _llmfit(row, program)
    if theirs is None or row.predicted_speed is None:
        return None
    speed, prefill = theirs
    whole = speed
    if row.prompt and prefill:
        whole = row.output / (row.prompt / prefill + row.output / speed)
    return {
        "model": row.model, "runtime": row.runtime, "quantization": row.quantization, "board": row.board,
        "mode": row.mode, "fitted": row.fitted, "published": row.speed, "ours": round(row.predicted_speed, 2),
        "llmfit": round(speed, 2), "llmfit_with_prompt": round(whole, 2), "source": row.source,
    }  # fmt: skip


def _llmfit(row: Published, program: str) -> tuple[float, float | None] | None:
    """Tokens per second, and those of the prompt, that llmfit says; None where it does not know the model."""
    name = known.full_name(row.model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "board.json")
        path.write_text(json.dumps(_profile(row)), encoding="utf-8")
        common = [program, "--json", "--profile", str(path)]
        plan = _ask([*common, "plan", name, "--context", str(row.context), "--quant", _quantization(row)])
        info = _ask([*common, "info", name])
    speed = next((path["estimated_tps"] for path in (plan or {}).get("run_paths", []) if path["path"] == "gpu"), None)
    if speed is None:
        return None
    models = [model for model in (info or {}).get("models", []) if model["name"].lower() == name.lower()]
    return float(speed), models[0].get("prefill_tps") if models else None


def _ask(argv: Sequence[str]) -> dict[str, Any] | None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _profile(row: Published) -> dict[str, Any]:
    """The board as llmfit's hardware profile of schema 1."""
    machine = row.work.machine
    hardware = {
        "total_ram_gb": round(machine.memory / (1 << 30), 2),
        "unified_memory": True,
        "gpu_memory_bandwidth_gbps": round((machine.bandwidth or 0) / 1e9, 1),
        "ddr_bandwidth_gbps": round((machine.bandwidth or 0) / 1e9, 1),
        "gpu_compute_tflops_fp16": round((machine.flops or 0) / 1e12, 2),
    }
    return {"schema_version": 1, "name": "board", "hardware": hardware}


def _quantization(row: Published) -> str:
    if row.runtime == "llama_cpp":
        return row.quantization
    return next((theirs for ours, theirs in NEAREST.items() if row.quantization.startswith(ours)), "AWQ-4bit")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
