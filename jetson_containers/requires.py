"""The `requires:` grammar → predicate on `Platform`, with the reason when false.

One rule is L4T (`>=r36`, `==r35.*`, `>=36`), CUDA (`>=cu124`, `cu126`, `cpu`), Python (`>=py310`), Ubuntu (`>=22.04`,
`jammy`), architecture (`tegra sbsa x86_64 aarch64`, `!=…`) or SM (`>=sm80`). All rules of a package must hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.platforms import Platform


@dataclass(frozen=True)
class RuleResult:
    """One rule's verdict; `reason` is a sentence in either case."""

    rule: str
    ok: bool
    reason: str


def check_all(rules: Sequence[str], platform: Platform) -> tuple[RuleResult, ...]:
    """Evaluate every rule. Raises RequirementSyntaxError for one outside the grammar."""
    raise NotImplementedError
