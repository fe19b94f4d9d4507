"""What tests of platforms share: helpers and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import JetsonError
from jetson_containers.platforms.detect import detect
from tests.paths import TESTS_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOSTS = TESTS_DIR / "hosts"
ORIN = HOSTS / "orin-nx-16gb-r36.4.0"
PC = HOSTS / "x86_64-nvidia"


def failure(target: str = "", env: Mapping[str, str] | None = None, root: Path = ORIN) -> JetsonError:
    with pytest.raises(JetsonError) as caught:
        detect(root, env, target)
    return caught.value
