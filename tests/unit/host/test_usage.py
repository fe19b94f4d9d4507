"""What a machine does, read from folders of files: a Jetson, an older one, a PC, and nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.host import usage
from jetson_containers.host.usage import ContainerUsage, Counters, GpuUsage, MemoryUsage, WatchedContainer

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
ORIN = {
    "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 5000000 kB\nSwapTotal: 4000 kB\nSwapFree: 1000 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1510400\n",
    "sys/devices/system/cpu/cpu1/online": "0\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/class/devfreq/17000000.gpu/device/load": "835\n",
    "sys/class/devfreq/15340000.vic/device/load": "10\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51437\n",
    "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "40000\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr1_input": "1200\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5000\n",
    "sys/class/hwmon/hwmon1/curr2_input": "400\n",
    "sys/class/hwmon/hwmon1/in7_label": "sum of shunt voltages\n",
    "sys/class/hwmon/hwmon0/name": "pwmfan\n",
    "proc/77/cgroup": "0::/system.slice/docker-abc.scope\n",
    "sys/fs/cgroup/system.slice/docker-abc.scope/memory.current": f"{300 * MIB}\n",
    "sys/fs/cgroup/system.slice/docker-abc.scope/memory.stat": f"anon 5\ninactive_file {100 * MIB}\n",
}
STAT = "cpu  1 1 1\ncpu0 {busy} 0 0 {idle} 0 0 0 0 0 0\nintr 5\n"
CPU_STAT = "usage_usec {used}\nuser_usec 1\n"
RUNNING = (WatchedContainer(name="server", image="llama_cpp:1", pid=77),)


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def reading(root: Path, busy: int, idle: int, used: int, seconds: float) -> Counters:
    files = {"proc/stat": STAT.format(busy=busy, idle=idle)}
    machine(root, {**files, "sys/fs/cgroup/system.slice/docker-abc.scope/cpu.stat": CPU_STAT.format(used=used)})
    return usage.counters(root, RUNNING, seconds)


def test_usage_of_a_jetson_is_that_of_its_files(tmp_path: Path) -> None:
    """Loads since the last reading, clocks, the board's power, sensors that are on, memory of a container."""
    root = machine(tmp_path, ORIN)
    before = reading(root, 100, 100, 1_000_000, 10.0)
    found = usage.usage(root, RUNNING, before, reading(root, 130, 170, 2_500_000, 12.0))
    assert [(core.load, core.mhz) for core in found.cores] == [(30.0, 1510.4), (None, None)]
    assert found.load == 30.0
    assert found.memory == MemoryUsage(
        total=8_000_000 * 1024, used=3_000_000 * 1024, swap_total=4000 * 1024, swap_used=3000 * 1024
    )
    assert found.gpus == (GpuUsage(name="17000000.gpu", load=83.5, mhz=624.75, max_mhz=1020.0),)
    assert found.temperatures == {"cpu": 51.4, "cpu 2": 40.0}
    assert (found.rails, found.watts) == ({"VDD_IN": 6.0, "VDD_CPU_GPU_CV": 2.0}, 6.0)
    assert found.containers == (ContainerUsage(name="server", image="llama_cpp:1", memory=200 * MIB, cpu=75.0),)


def test_usage_of_an_older_jetson_reads_what_its_kernel_has(tmp_path: Path) -> None:
    """The monitors of L4T 32 multiply themselves, and cgroups have one folder for each controller."""
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    group = "sys/fs/cgroup/memory/docker/abc"
    root = machine(
        tmp_path,
        {
            f"{folder}/rail_name_0": "POM_5V_IN\n", f"{folder}/in_power0_input": "2532\n",
            f"{folder}/rail_name_1": "NC\n", f"{folder}/in_power1_input": "9\n",
            "proc/77/cgroup": "4:cpu,cpuacct:/docker/abc\n9:memory:/docker/abc\n",
            f"{group}/memory.usage_in_bytes": "5000\n", f"{group}/memory.stat": "total_inactive_file 1000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/abc/cpuacct.usage": "3000000000\n",
            "sys/class/devfreq/57000000.gpu/device/load": "0\n",
        },
    )  # fmt: skip
    before = Counters(cores={}, containers={77: 2_000_000}, seconds=1.0)
    found = usage.usage(root, RUNNING, before, usage.counters(root, RUNNING, 2.0))
    assert (found.rails, found.watts) == ({"POM_5V_IN": 2.532}, 2.53)
    assert found.containers[0].memory == 4000
    assert found.containers[0].cpu == 100.0
    assert found.gpus[0].load == 0.0


def test_usage_takes_from_tegrastats_what_the_files_do_not_have(tmp_path: Path) -> None:
    """A line fills in GPU, temperatures and rails, and gives way to files."""
    line = "EMC_FREQ 7% GR3D_FREQ 83%@624 cpu@50C VDD_IN 6120mW/6120mW"
    nothing = Counters(cores={}, containers={}, seconds=0.0)
    found = usage.usage(tmp_path, (), nothing, nothing, line)
    assert found.gpus == (GpuUsage(name="GR3D", load=83.0, mhz=624.0),)
    assert (found.memory_controller_load, found.temperatures, found.watts) == (7.0, {"cpu": 50.0}, 6.12)
    files = machine(tmp_path, ORIN)
    assert usage.usage(files, (), nothing, nothing, line).rails["VDD_IN"] == 6.0


def test_usage_without_anything_knows_nothing(tmp_path: Path) -> None:
    """What a machine does not tell is not zero."""
    nothing = usage.counters(tmp_path, RUNNING, 1.0)
    found = usage.usage(tmp_path, RUNNING, nothing, nothing)
    assert (found.cores, found.load, found.gpus, found.watts) == ((), None, (), None)
    assert found.memory == MemoryUsage(total=None, used=None, swap_total=None, swap_used=None)
    assert found.containers == (ContainerUsage(name="server", image="llama_cpp:1", memory=None, cpu=None),)


def test_usage_of_a_process_outside_the_groups_is_not_read(tmp_path: Path) -> None:
    """A path that leads out of the folder of control groups is not followed."""
    root = machine(tmp_path, {"proc/77/cgroup": "0::/../../outside\n", "outside/memory.current": "5\n"})
    nothing = usage.counters(root, RUNNING, 1.0)
    assert usage.usage(root, RUNNING, nothing, nothing).containers[0].memory is None


@pytest.mark.parametrize("text", ["", "No devices were found\n", "a, b\n"])
def test_usage_without_an_answer_of_nvidia_smi_stays_as_it_is(text: str, tmp_path: Path) -> None:
    """Words in place of rows change nothing."""
    nothing = Counters(cores={}, containers={}, seconds=0.0)
    sample = usage.usage(tmp_path, (), nothing, nothing)
    assert usage.of_nvidia_smi(sample, text) == sample


def test_usage_of_a_graphics_card_is_that_of_nvidia_smi(tmp_path: Path) -> None:
    """Each card has its row; what it does not tell stays open."""
    nothing = Counters(cores={}, containers={}, seconds=0.0)
    rows = "NVIDIA H200, 12, 1980, 1980, 1024, 143771, 31, 120.53\nNVIDIA T4, [N/A], 300, 1590, 0, 15360, 40, [N/A]\n"
    found = usage.of_nvidia_smi(usage.usage(tmp_path, (), nothing, nothing), rows)
    assert found.gpus == (
        GpuUsage(name="NVIDIA H200", load=12.0, mhz=1980.0, max_mhz=1980.0, memory_used=1024 * MIB,
                 memory_total=143771 * MIB),
        GpuUsage(name="NVIDIA T4", load=None, mhz=300.0, max_mhz=1590.0, memory_used=0, memory_total=15360 * MIB),
    )  # fmt: skip
    assert (found.temperatures, found.rails) == ({"GPU 0": 31.0, "GPU 1": 40.0}, {"GPU 0": 120.53})
