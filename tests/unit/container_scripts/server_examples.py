"""What tests of container_scripts share: helpers and examples."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

SYSTEM = {"role": "system", "content": "Be brief."}


USER = {"role": "user", "content": "Hi"}


def options(**words: Any) -> SimpleNamespace:
    report = SimpleNamespace(prompt_tokens=None, completion_tokens=None, finish_reason=None)
    made = {"max_tokens": 0, "temperature": None, "top_p": None, "seed": None, "stop": (), "report": report}
    return SimpleNamespace(cancelled=threading.Event(), **{**made, **words})
