"""Final images: names, labels and push."""

from __future__ import annotations

import json

import pytest

from jetson_containers.core.errors import (
    PackageTestError,
    RegistryError,
)
from jetson_containers.engine.interface import RunResult
from tests.unit.builder.helpers import Site, chain


def test_final_image_has_the_documented_labels(site: Site) -> None:
    """The final image has the documented labels."""
    site.run(chain("a", "b", tests=("test.sh",)))
    final = site.label("b:1-x86_64-cpu")
    assert (final.role, final.key, final.packages) == ("final", "sha256:b", ("a", "b"))
    assert final.platform["arch"] == "x86_64"
    assert final.plan.startswith("sha256:")
    assert final.tests["status"] == "passed"
    assert set(final.tests["packages"]) == {"a", "b"}
    lower = site.label("jetson-containers/stage:a")
    assert (lower.role, lower.key, lower.packages, lower.plan) == ("stage", "sha256:a", ("a",), "")


def test_final_name_changed_builds_nothing(site: Site) -> None:
    """Another name for the same plan builds nothing."""
    site.run(chain("a", "b"))
    site.built()
    report = site.run(chain("a", "b", final="me/thing:1"))
    assert (report.images, site.built()) == (("me/thing:1",), [])
    assert site.label("me/thing:1").role == "final"


def test_push_comes_after_the_tests(site: Site) -> None:
    """Final images are pushed after their tests."""
    report = site.run(chain("a", tests=("t.sh",)), push="reg.io:5000/me/")
    assert report.pushed == ("reg.io:5000/me/a:1-x86_64-cpu",)
    assert "reg.io:5000/me/a:1-x86_64-cpu" in site.engine.registry
    kinds = [call[0] for call in site.engine.calls]
    assert kinds.index("run") < kinds.index("push")


def test_push_includes_an_image_that_is_up_to_date(site: Site) -> None:
    """An image that is up to date is pushed too."""
    site.run(chain("a"))
    assert site.run(chain("a"), push="me").pushed == ("me/a:1-x86_64-cpu",)


def test_push_that_is_refused_fails_the_run_but_not_the_image(site: Site) -> None:
    """A registry that refuses fails the run but not the image."""
    site.engine.registry_down = True
    with pytest.raises(RegistryError) as caught:
        site.run(chain("a"), push="me")
    assert caught.value.exit_code == 4
    assert "✓ a:1-x86_64-cpu" in site.said()
    assert json.loads((site.logs() / "build.json").read_text())["ok"] is False
    site.built()
    assert site.run(chain("a")).ok
    assert site.built() == []


def test_push_does_not_happen_after_a_failure(site: Site) -> None:
    """Nothing is pushed after a failure."""
    site.engine.answer = lambda _: RunResult(exit_code=1, output="")
    with pytest.raises(PackageTestError):
        site.run(chain("a", tests=("t.sh",)), push="me")
    assert site.engine.registry == {}
