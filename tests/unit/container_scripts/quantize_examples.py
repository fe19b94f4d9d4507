"""What tests of container_scripts share: helpers and examples."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.unit.driver_images import SCRIPTS_DIR, Images

if TYPE_CHECKING:
    from types import ModuleType


def torch(image: Images, **members: object) -> ModuleType:
    return image.holds(
        "torch",
        float16="float16",
        bfloat16="bfloat16",
        long="long",
        tensor=lambda rows: rows,
        ones=lambda *_, **__: "ones",
        **members,
    )


def with_key(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPTS_DIR / "with_key.py"), *words]
    return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, check=False)
