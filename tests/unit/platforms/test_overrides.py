"""Upstream's environment variables, and how they go with a target."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import ConfigError
from jetson_containers.images.name import platform_tag
from jetson_containers.platforms import overrides
from jetson_containers.platforms.detect import detect, parse_target
from tests.unit.platforms.helpers import HOSTS, ORIN, failure


class TestEnvironment:
    @pytest.mark.parametrize(
        ("env", "tag"),
        [
            ({"L4T_VERSION": "35.4.1"}, "r35.4-cu114-20.04"),
            ({"L4T_VERSION": "R36.3.0"}, "r36.3-cu122-22.04"),
            ({"L4T_VERSION": "36.4.3", "CUDA_VERSION": "12.8"}, "r36.4-cu128-22.04"),
            ({"CUDA_VERSION": "12.8.1"}, "r36.4-cu128-22.04"),
            ({"CUDA_VERSION": "128"}, "r36.4-cu128-22.04"),
            ({"LSB_RELEASE": "24.04"}, "r36.4-cu126-24.04"),
            ({"LSB_RELEASE": "24.04", "PYTHON_VERSION": "3.11"}, "r36.4-cp311-cu126-24.04"),
            ({"PYTHON_VERSION": "3.12.4"}, "r36.4-cp312-cu126-22.04"),
            ({"JETPACK_VERSION": "5.1.2"}, "r35.4-cu114-20.04"),
            ({"JETPACK_VERSION": "6.1"}, "r36.4-cu126-22.04"),
            ({"SYSTEM_ARCH": "x86_64"}, "x86_64-cu132-24.04"),
            ({"SYSTEM_ARCH": "x86_64", "CUDA_VERSION": "12.8"}, "x86_64-cu128-24.04"),
            ({"CUDA_ARCH": "sbsa"}, "sbsa-cu132-24.04"),
            ({"CUDA_ARCH": "tegra-aarch64", "L4T_VERSION": "36.3.0", "SYSTEM_ARCH": "aarch64"}, "r36.3-cu122-22.04"),
            ({"L4T_VERSION": "", "CUDA_VERSION": ""}, "r36.4-cu126-22.04"),
            ({"CUDA_VERSION": "cu128"}, "r36.4-cu128-22.04"),
            ({"CUDA_VERSION": "CUDA 12.8"}, "r36.4-cu128-22.04"),
            ({"L4T_VERSION": "L4T 36.3.0"}, "r36.3-cu122-22.04"),
            ({"JETPACK_VERSION": "JetPack 5.1.2"}, "r35.4-cu114-20.04"),
            ({"PYTHON_VERSION": "py312"}, "r36.4-cp312-cu126-22.04"),
            ({"LSB_RELEASE": "Ubuntu 24.04"}, "r36.4-cu126-24.04"),
            ({"CUDA_VERSION": "cpu"}, "r36.4-cpu-22.04"),
            ({"PYTHON_VERSION": "cp312"}, "r36.4-cp312-cu126-22.04"),
            ({"PYTHON_VERSION": "312"}, "r36.4-cp312-cu126-22.04"),
            ({"LSB_RELEASE": "noble"}, "r36.4-cu126-24.04"),
            ({"LSB_RELEASE": "Ubuntu 24.04.1 LTS"}, "r36.4-cu126-24.04"),
            ({"LSB_RELEASE": "bookworm"}, "r36.4-cu126-debian12"),
            ({"JETPACK_VERSION": "6.2.1+b38"}, "r36.4-cu126-22.04"),
            ({"JETPACK_VERSION": "JP60"}, "r36.3-cu122-22.04"),
            ({"JETPACK_VERSION": "513"}, "r35.5-cu114-20.04"),
            ({"L4T_VERSION": "L4T 35.4.1"}, "r35.4-cu114-20.04"),
            ({"L4T_VERSION": "36.3.0-20240506102626"}, "r36.3-cu122-22.04"),
        ],
    )
    def test_environment_variables_of_upstream_mean_what_they_meant(self, env: dict[str, str], tag: str) -> None:
        """Upstream's variables mean what they meant."""
        assert platform_tag(detect(ORIN, env)) == tag

    @pytest.mark.parametrize(
        "env",
        [
            {"L4T_VERSION": "36.4.0"}, {"SYSTEM_ARCH": "aarch64"}, {"SYSTEM_ARCH": "tegra-aarch64"},
            {"CUDA_ARCH": "tegra-aarch64", "L4T_VERSION": "r36.4"}, {"JETPACK_VERSION": "6.1"},
        ],
    )  # fmt: skip
    def test_environment_variables_that_repeat_the_host_change_nothing(self, env: dict[str, str]) -> None:
        """Variables that repeat the host change nothing."""
        assert detect(ORIN, env) == detect(ORIN)

    def test_environment_variables_name_a_machine_where_the_host_cannot_be_read(self) -> None:
        """Variables name a machine where this one cannot be read."""
        platform = detect(HOSTS / "bad/garbage-release", {"L4T_VERSION": "36.4.3"})
        assert platform == parse_target("r36.4.3")
        assert any("nv_tegra_release" in notice for notice in platform.notices)
        assert platform.origins["l4t"] == "$L4T_VERSION 36.4.3"

    @pytest.mark.parametrize(
        "env",
        [
            {"L4T_VERSION": "banana"}, {"CUDA_VERSION": "0.0"}, {"CUDA_VERSION": "twelve"}, {"PYTHON_VERSION": "2.7"},
            {"PYTHON_VERSION": "3.13t"}, {"PYTHON_VERSION": "3.13-nogil"}, {"LSB_RELEASE": "jam"},
            {"CUDA_ARCH": "sparc"}, {"SYSTEM_ARCH": "i386"}, {"JETPACK_VERSION": "-"},
            {"CUDA_VERSION": "12"}, {"CUDA_VERSION": "jammy"}, {"L4T_VERSION": "jp6.2"}, {"CUDA_ARCH": "87"},
            {"CUDA_VERSION": "9" * 5000 + ".1"}, {"L4T_VERSION": "9" * 5000}, {"PYTHON_VERSION": "3." + "9" * 5000},
        ],
    )  # fmt: skip
    def test_environment_variable_with_an_impossible_value_is_named(self, env: dict[str, str]) -> None:
        """A value that cannot be right names its variable."""
        error = failure(env=env)
        assert isinstance(error, ConfigError)
        assert f"${next(iter(env))}" in error.message
        assert error.hint

    @pytest.mark.parametrize(
        ("env", "meant"),
        [
            ({"CUDA_VERSION": "12,8"}, "`12.8`"), ({"CUDA_VERSION": "v12-8"}, "`12.8`"),
            ({"L4T_VERSION": "36,4,3"}, "`36.4.3`"), ({"PYTHON_VERSION": "3,12"}, "`3.12`"),
        ],
    )  # fmt: skip
    def test_environment_variable_with_other_separators_says_what_is_meant(
        self, env: dict[str, str], meant: str
    ) -> None:
        """Numbers that are separated otherwise are not guessed, but named."""
        assert f"did you mean {meant}?" in str(failure(env=env).hint)

    @pytest.mark.parametrize(
        ("env", "hint"),
        [
            ({"L4T_VERSION": "jp5.1"}, "that is a JetPack: unset L4T_VERSION, and write `--target jp5.1`"),
            ({"LSB_RELEASE": "py3.12"}, "that is a Python version"),
            ({"CUDA_VERSION": "13"}, "of CUDA 13 there is 13.0, 13.1, "),
            ({"CUDA_VERSION": "9"}, "write CUDA_VERSION=12.8"),
        ],
    )
    def test_environment_variable_of_another_kind_or_half_a_version_gets_its_own_hint(
        self, env: dict[str, str], hint: str
    ) -> None:
        """What is a value of another variable, or only the first number of a version, is called so."""
        assert hint in str(failure(env=env).hint)

    @pytest.mark.parametrize(
        ("env", "both"),
        [
            ({"L4T_VERSION": "36.4.3", "SYSTEM_ARCH": "x86_64"}, ("$L4T_VERSION", "$SYSTEM_ARCH")),
            ({"L4T_VERSION": "36.4.3", "CUDA_VERSION": "13.0"}, ("$L4T_VERSION", "$CUDA_VERSION")),
            ({"L4T_VERSION": "36.4.3", "JETPACK_VERSION": "5.1"}, ("$L4T_VERSION", "$JETPACK_VERSION")),
            ({"CUDA_ARCH": "sbsa", "SYSTEM_ARCH": "x86_64"}, ("$CUDA_ARCH", "$SYSTEM_ARCH")),
        ],
    )
    def test_environment_variables_that_contradict_are_both_named(
        self, env: dict[str, str], both: tuple[str, str]
    ) -> None:
        """Variables that contradict each other are both named."""
        error = failure(env=env)
        assert isinstance(error, ConfigError)
        assert all(name in error.message for name in both)

    def test_target_overrides_environment_variables_that_name_a_machine(self) -> None:
        """A target overrides the variables that name a machine."""
        env = {"L4T_VERSION": "35.4.1", "SYSTEM_ARCH": "aarch64", "JETPACK_VERSION": "5.1.2"}
        assert detect(ORIN, env, "x86_64") == parse_target("x86_64")

    def test_target_and_a_contradicting_variable_are_both_named(self) -> None:
        """A target and a variable that contradict each other are both named."""
        error = failure("r35.4.1", {"CUDA_VERSION": "12.8"})
        assert "$CUDA_VERSION" in error.message
        assert "--target" in error.message


class TestCudaSource:
    def test_cuda_source_that_changes_nothing_is_noted(self) -> None:
        """CUDA 12 has no wheels with a toolkit's directories; without CUDA it does not matter."""
        for target, noted in (("r36.4.3", True), ("x86_64,cu129", True), ("x86_64,cu130", False), ("cpu", False)):
            platform = overrides.with_cuda_source(parse_target(target), "wheels", "$X")
            assert platform.cuda_source == "wheels"
            assert any("$X" in notice for notice in platform.notices) is noted, target
        assert not overrides.with_cuda_source(parse_target("r36.4.3"), "apt", "default").notices

    def test_cuda_source_that_is_none_is_refused_with_what_there_is(self) -> None:
        """A word that is none names the setting, its origin and the two that there are."""
        with pytest.raises(ConfigError, match=r"`cuda_source` \(config.yaml\): `pip` is none") as caught:
            overrides.with_cuda_source(parse_target("sbsa"), "pip", "config.yaml")
        assert caught.value.hint == "it is apt or wheels"
