"""GPTQModel on small machines."""

from __future__ import annotations

import os


def enough() -> None:
    """Give GPTQModel two workers before it is imported, where it would give itself one.

    7.3 takes half of the cores and ends with "Virtual pool 'model_loader:cpu' requests 2 workers" when that is one.
    """
    if (os.cpu_count() or 1) < 3:
        os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
