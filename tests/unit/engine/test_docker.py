"""The engine: names of images, and what importing it costs."""

from __future__ import annotations

import os
import sys

from jetson_containers.core.process import Children
from jetson_containers.engine.queries import local_image


def test_local_image_without_names_and_labels_is_read() -> None:
    """An image without names and labels is read."""
    image = local_image({"Id": "sha256:1", "RepoTags": None, "Config": {"Labels": None}, "Architecture": "arm64"})
    assert (image.references, image.labels, image.architecture, image.size) == ((), {}, "arm64", 0)


def test_engine_import_is_light() -> None:
    """Importing the engine imports no large library."""
    heavy = (
        "{'docker', 'requests', 'jinja2', 'rich', 'yaml', 'huggingface_hub', 'resolvelib', 'http.server', 'hashlib',"
        " 'jetson_containers.dockerfile.parser', 'jetson_containers.engine.context'}"
    )
    program = f"import sys, jetson_containers.engine.docker; print(sorted({heavy} & set(sys.modules)))"
    assert Children().run([sys.executable, "-c", program], env=os.environ).output == "[]"
