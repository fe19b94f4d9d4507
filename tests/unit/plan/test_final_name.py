"""Names of stages and of final images."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.plan.final_name import final_name
from jetson_containers.plan.plan import (
    PlanOptions,
    make,
    stage_image,
)
from tests.unit.plan.helpers import ORIN, Tree


class TestNames:
    @pytest.mark.parametrize(
        ("package", "key", "image"),
        [
            ("numpy", "sha256:0123456789abcdef0123", "jetson-containers/stage:numpy-0123456789abcdef"),
            ("pytorch:2.8", "sha256:" + "a" * 64, "jetson-containers/stage:pytorch-2.8-" + "a" * 16),
            ("X:1+cu126", "sha256:" + "b" * 64, "jetson-containers/stage:x-1-cu126-" + "b" * 16),
        ],
    )
    def test_stage_image_has_the_package_and_the_key(self, package: str, key: str, image: str) -> None:
        """The image of a stage has the package and the key in its name."""
        assert stage_image(package, key) == image

    @pytest.mark.parametrize(
        ("name", "image"),
        [
            ("", "llm:1.2-r36.4-cu126-22.04"),
            ("me/", "me/llm:1.2-r36.4-cu126-22.04"),
            ("reg.io:5000/me/", "reg.io:5000/me/llm:1.2-r36.4-cu126-22.04"),
            ("mine", "mine:r36.4-cu126-22.04"),
            ("reg.io:5000/mine", "reg.io:5000/mine:r36.4-cu126-22.04"),
            ("mine:v1", "mine:v1-r36.4-cu126-22.04"),
            ("reg.io:5000/ns/mine:v1+x", "reg.io:5000/ns/mine:v1-x-r36.4-cu126-22.04"),
            ("mine:v1-r36.4-cu126-22.04", "mine:v1-r36.4-cu126-22.04"),
            ("mine:r36.4-cu126-22.04", "mine:r36.4-cu126-22.04"),
        ],
    )
    def test_final_name_follows_the_option_name(self, tree: Tree, name: str, image: str) -> None:
        """The name of the final image follows `--name`."""
        assert final_name(tree.add("llm:1.2"), ORIN, name) == image

    @pytest.mark.parametrize(
        ("fields", "image"),
        [
            ({"prefix": "jp6"}, "llm:jp6-1.2-r36.4-cu126-22.04"),
            ({"postfix": "l4t-r36"}, "llm:1.2-l4t-r36"),
            ({"postfix": ""}, "llm:1.2"),
        ],
    )
    def test_final_name_has_prefix_and_postfix_of_the_package(
        self, tree: Tree, fields: dict[str, str], image: str
    ) -> None:
        """A package can put a prefix and a postfix into the name."""
        assert final_name(tree.add("llm:1.2", **fields), ORIN) == image

    @pytest.mark.parametrize("name", ["Mine", "a b", ":v1", "mine:a:b", "x@sha256:" + "0" * 64, "/", "-x"])
    def test_final_name_refuses_what_docker_refuses(self, tree: Tree, name: str) -> None:
        """A name that docker refuses is a usage error."""
        with pytest.raises(UsageError, match="--name"):
            final_name(tree.add("llm"), ORIN, name)

    @pytest.mark.parametrize(
        ("requested", "named"),
        [(("b", "a"), "a"), (("a", "b:2"), "b"), (("bee",), "b"), (("b>=1",), "b"), (("gone",), "c")],
    )
    def test_final_name_is_of_the_last_package_requested(
        self, tree: Tree, requested: tuple[str, ...], named: str
    ) -> None:
        """The image is named after the last package requested."""
        tree.add("a"), tree.add("b:2", aliases=("bee",)), tree.add("c")
        resolution = tree.solved("a", "b:2", "c", requested=requested)
        plan = make(resolution, ORIN, PlanOptions(base="ubuntu:22.04"))
        assert plan.final.partition(":")[0] == named

    @pytest.mark.parametrize("name", ["jetson-containers/stage", "ghcr.io/jetson-containers/stage:mine", "x" * 256])
    def test_final_name_is_not_of_a_stage_nor_too_long(self, tree: Tree, name: str) -> None:
        """Stages are removed by `prune`, and Docker takes 255 characters before the tag."""
        with pytest.raises(UsageError, match=r"where stages are|at most 255"):
            final_name(tree.add("llm:1.2"), ORIN, name)
