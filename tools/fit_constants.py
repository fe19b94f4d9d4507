"""Fits the speeds of `facts/fit.yaml` on published figures, and predicts each of those by constants fitted without it.

Run: .venv/bin/python tools/fit_constants.py. It prints, per runtime, the constants that the rows marked `fitted` lead
to. The time of one token is a sum of terms, each a constant times what the shape and the board decide (bytes over
bandwidth, bytes over what the GPU takes in, operations over its rate, one, layers): a least-squares problem in relative
errors with constants of zero and more, and no more than all of the bandwidth.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from fit_published import comparisons

from jetson_containers.llm.fit import constants, speed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fit_published import Published

# What is fitted for each runtime: on rows of one sequence, then, with that, on rows of several at once. The terms of
# `_terms` that are left out keep the table's constants.
FITTED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "vllm": (("efficiency", "overhead", "overhead_recurrent", "compute", "bytes_per_cycle"), ("compute_batched",)),
    "llama_cpp": (
        ("efficiency", "bytes_per_cycle", "kilocycles_per_layer"),
        ("kilocycles_batched", "kilocycles_experts", "compute_batched"),
    ),
    "mlc": (("efficiency", "overhead", "bytes_per_cycle"), ()),
    "lmdeploy": (("bytes_per_cycle", "overhead"), ()),
    "transformers": (("overhead_per_layer",), ()),
}
# Runtimes that run in the loop of another have its constants.
_ALIKE = {"gptq": "transformers"}
_INVERSE = frozenset({"efficiency", "compute", "compute_batched", "bytes_per_cycle"})
_KILO = ("kilocycles_per_layer", "kilocycles_batched", "kilocycles_experts")
_LEAST = {
    "efficiency": 1.0,
    "compute": 1.0,
    "compute_batched": 1.0,
}  # the factor is 1 over the share, and no more than all of the bandwidth can be used
_MILLISECONDS = 1000
_SWEEPS = 500


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A runtime's constants as the table writes them, and each row beside what the other rows say of it."""

    runtime: str
    constants: Mapping[str, float]
    rows: tuple[tuple[Published, float], ...]  # with the speed predicted without the row


def fit(runtime: str, rows: Sequence[Published]) -> Fitted:
    """Fit a runtime on rows; leave each model out once, with all of its rows."""
    found = _factors(runtime, rows)
    without = []
    for model in dict.fromkeys(row.model for row in rows):
        others = _factors(runtime, [row for row in rows if row.model != model])
        for row in (row for row in rows if row.model == model):
            seconds = sum(value * others.get(name, _constants(row)[name]) for name, value in _terms(row).items())
            without.append((row, _at_once(row) / seconds))
    return Fitted(runtime=runtime, constants=_written(found), rows=tuple(without))


def _factors(runtime: str, rows: Sequence[Published]) -> dict[str, float]:
    """What each fitted constant comes to as a factor of its term; those that no row says anything of are left out."""
    found: dict[str, float] = {}
    for names, few in zip(FITTED[runtime], (True, False), strict=True):
        chosen = [row for row in rows if (row.sequences == 1) is few]
        if names and chosen:
            equations = [_equation(row, names, found) for row in chosen]
            solved = _solve(equations, [_LEAST.get(name, 0.0) for name in names])
            said = [any(terms[place] for terms, _ in equations) for place in range(len(names))]
            found |= {name: factor for name, factor, any_row in zip(names, solved, said, strict=True) if any_row}
    return found


def fits() -> tuple[Fitted, ...]:
    """All runtimes that are fitted here."""
    rows = [row for row in comparisons() if row.fitted and row.speed is not None]
    return tuple(fit(name, [row for row in rows if _ALIKE.get(row.runtime, row.runtime) == name]) for name in FITTED)


def _equation(row: Published, names: Sequence[str], settled: Mapping[str, float]) -> tuple[list[float], float]:
    """The terms that are fitted, and what is left for them: both over the published time of one token."""
    published = _at_once(row) / (row.speed or 1.0)
    terms, known = _terms(row), {**_constants(row), **settled}
    fixed = sum(value * known[name] for name, value in terms.items() if name not in names)
    return [terms.get(name, 0.0) / published for name in names], 1 - fixed / published


def _at_once(row: Published) -> int:
    return row.at_once if row.prompt else row.sequences


def _terms(row: Published) -> dict[str, float]:
    """Of the time of one token of each sequence, what each constant is multiplied with."""
    work, sequences = row.work, _at_once(row)
    filled = row.prompt + row.output // 2 if row.prompt else row.filled or constants.system().filled
    filled = min(filled, row.context)
    attention, recurrent = speed.mixers(work.config)
    prompts = sequences / row.output if row.prompt else 0.0  # per step
    read = speed.read(work, filled, sequences)
    whole = 1 + prompts  # a prompt has the overhead of one step
    layers, hz = attention + recurrent, work.machine.hz or constants.system().hz
    terms = {
        "overhead": whole,
        "overhead_per_layer": whole * attention,
        "overhead_recurrent": whole * recurrent,
        "kilocycles_per_layer": whole * layers * 1000 / hz,
    }
    if sequences > 1:
        terms["kilocycles_experts" if work.held.routed else "kilocycles_batched"] = layers * 1000 / hz
        if work.machine.flops:
            terms["compute_batched"] = speed.operations(work, sequences - 1, filled) / work.machine.flops
    if _is_bound_by_the_gpu(work):
        terms["bytes_per_cycle"] = read / (work.machine.sm_hz or 1)
    else:
        terms["efficiency"] = read / (work.machine.bandwidth or 1)
    peak = speed.rate(work)
    if prompts and peak and not row.cached:
        terms["compute"] = prompts * speed.operations(work, row.prompt, row.prompt // 2) / peak
    return terms


def _is_bound_by_the_gpu(work: speed.Workload) -> bool:
    if not work.machine.sm_hz or work.machine.bandwidth is None:
        return False
    return (
        work.runtime.intake(work.format, work.machine.sm) * work.machine.sm_hz
        < work.runtime.efficiency * work.machine.bandwidth
    )


def _constants(row: Published) -> dict[str, float]:
    """The table's constants as factors of the terms."""
    runtime = row.work.runtime
    return {
        "efficiency": 1 / runtime.efficiency,
        "bytes_per_cycle": 1 / runtime.intake(row.work.format, row.work.machine.sm),
        "compute": 1 / (runtime.compute_experts if row.work.held.routed else runtime.compute),
        "compute_batched": 1 / runtime.compute_batched,
        "kilocycles_per_layer": runtime.cycles / 1000,
        "kilocycles_batched": runtime.cycles_batched / 1000,
        "kilocycles_experts": runtime.cycles_experts / 1000,
        "overhead": runtime.overhead,
        "overhead_per_layer": runtime.overhead_per_layer,
        "overhead_recurrent": runtime.overhead_recurrent,
    }


def _solve(equations: Sequence[tuple[Sequence[float], float]], least: Sequence[float]) -> list[float]:
    """Least squares with no factor below the `least`, by coordinate descent on the normal equations."""
    size = len(equations[0][0])
    products = [[sum(row[i] * row[j] for row, _ in equations) for j in range(size)] for i in range(size)]
    targets = [sum(row[i] * target for row, target in equations) for i in range(size)]
    found = list(least)
    for _ in range(_SWEEPS):
        for i in range(size):
            if products[i][i]:
                others = sum(products[i][j] * found[j] for j in range(size) if j != i)
                found[i] = max(least[i], (targets[i] - others) / products[i][i])
    return found


def _written(factors: Mapping[str, float]) -> dict[str, float]:
    """As the table has them: shares of a peak, bytes, thousands of cycles, milliseconds."""
    return {
        name: (1 / factor if factor else 0.0) if name in _INVERSE else factor * (1 if name in _KILO else _MILLISECONDS)
        for name, factor in factors.items()
    }


def main() -> int:
    """Print the constants, and the mean error of rows predicted without themselves."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    for fitted in fits():
        said = ", ".join(f"{name}: {value:.3g}" for name, value in fitted.constants.items())
        errors = [abs(predicted / row.speed - 1) for row, predicted in fitted.rows if row.speed]
        print(f"{fitted.runtime}: {{{said}}}  # {len(errors)} rows, left out {sum(errors) / len(errors):.1%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
