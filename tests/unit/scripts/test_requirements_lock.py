"""requirements.lock beside requirements.txt: what the launchers install, each file by its hash."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]


def pinned() -> dict[str, list[tuple[Requirement, int]]]:
    """Every pin of the lock with its number of hashes, by name; some have one for each Python."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[tuple[Requirement, int]]] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        head = line.partition("--hash")[0]
        requirement = Requirement(head.strip())
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}(?= |$)", line)
        found.setdefault(canonicalize_name(requirement.name), []).append((requirement, len(hashes)))
    return found


def test_lock_pins_every_requirement_within_its_range() -> None:
    """A changed requirements.txt needs a new lock: `tools/lock_requirements.sh`."""
    pins = pinned()
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            wanted = Requirement(line)
            for pin, _ in pins[canonicalize_name(wanted.name)]:
                (version,) = (specifier.version for specifier in pin.specifier)
                assert wanted.specifier.contains(version), f"{pin} is not {wanted}"


def test_lock_pins_one_version_with_hashes() -> None:
    """Nothing is installed by a range or without a hash; pip refuses such a file, and so does this test."""
    assert len(pinned()) > 10
    for pins in pinned().values():
        for pin, hashes in pins:
            assert [specifier.operator for specifier in pin.specifier] == ["=="]
            assert hashes > 0
            assert pin.url is None
