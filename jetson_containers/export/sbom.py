"""The bill of materials of an image in the form of CycloneDX 1.6, by its own library."""

from __future__ import annotations

import datetime
import uuid
from typing import TYPE_CHECKING

from jetson_containers import __version__
from jetson_containers.core.errors import NotReadyError
from jetson_containers.images import labels

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.images.installed import Installed, InstalledContents

_SPACE = uuid.UUID("5b0f7a40-6d55-5a1d-9f0a-9f3a3a1c7d11")  # of our serial numbers: the same image has the same one


def bill_of_materials(reference: str, image: LocalImage, contents: InstalledContents) -> str:
    """The document as JSON: the image, what its files say is installed, and the recipes its labels name.

    The same image gives the same bytes. Raises NotReadyError without the library.
    """
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion
    except ImportError as error:
        raise NotReadyError(
            "a bill of materials needs the Python library of CycloneDX",
            hint="pip install -r requirements-sbom.txt",
        ) from error
    bom = Bom(serial_number=uuid.uuid5(_SPACE, image.id))
    bom.metadata.timestamp = _created(image)
    bom.metadata.component = Component(type=ComponentType.CONTAINER, name=reference, version=image.id, bom_ref="image")
    bom.metadata.tools.components.add(
        Component(type=ComponentType.APPLICATION, name="jetson-containers", version=__version__, bom_ref="tool")
    )
    parts = [_component(one, contents) for one in contents.packages]
    parts += [_recipe(name) for name in labels.read(image.labels).packages]
    bom.components.update(parts)
    bom.register_dependency(bom.metadata.component, parts)
    text: str = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return text


def _component(one: Installed, contents: InstalledContents) -> Component:
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    space, _, short = one.name.rpartition("/") if one.kind == "npm" else ("", "", one.name)
    qualifiers = {}
    if one.kind == "deb":
        space = contents.distro
        qualifiers = {"arch": one.arch, "distro": f"{contents.distro}-{contents.release}"}
    url = PackageURL(type=one.kind, namespace=space or None, name=short, version=one.version, qualifiers=qualifiers)
    return Component(
        type=ComponentType.LIBRARY,
        name=one.name,
        version=one.version,
        purl=url,
        bom_ref=url.to_string(),
        properties=[Property(name="jetson-containers:file", value=f"/{one.place}")],
    )


def _recipe(name: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    package, _, version = name.partition(":")
    return Component(type=ComponentType.APPLICATION, name=package, version=version or None, bom_ref=f"recipe:{name}")


def _created(image: LocalImage) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(image.created[:19]).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return datetime.datetime.fromtimestamp(0, tz=datetime.timezone.utc)
