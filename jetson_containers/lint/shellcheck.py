"""shellcheck, where it is installed, started first and read last: it works while everything else is looked at."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core import json_text
from jetson_containers.core.errors import NotReadyError
from jetson_containers.lint.findings import finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.lint.findings import LintFinding

MISSING = "shellcheck is not installed, so scripts are not checked by it: apt-get install shellcheck"
TIMEOUT = 300  # seconds


class ShellCheck:
    """One run over many scripts."""

    def __init__(self, scripts: Sequence[Path], program: str | None = None) -> None:
        found = program if program is not None else shutil.which("shellcheck")
        self.available = bool(found)
        self._process: subprocess.Popen[str] | None = None
        if found and scripts:
            argv = [found, "--external-sources", "--source-path=SCRIPTDIR", "--format=json1", *map(str, scripts)]
            self._process = subprocess.Popen(  # the caller waits for it in `findings`
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )

    def findings(self) -> list[LintFinding]:
        """What it objected to. Raises NotReadyError when it fails itself."""
        if self._process is None:
            return []
        try:
            out, err = self._process.communicate(timeout=TIMEOUT)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        if self._process.returncode not in {0, 1}:
            raise NotReadyError(f"shellcheck failed: {err.strip()}", hint="run `shellcheck --version`")
        return [
            finding("shellcheck", Path(item["file"]), int(item["line"]), f"SC{item['code']}: {item['message']}")
            for item in json_text.parse(out)["comments"]
        ]
