"""The two tutorials: each command as written becomes the right `docker run`, and docs/tutorials.md works as it stands.

`golden/tutorials/<command>.txt` is what our launcher makes of a command, on the board of the tutorial and on a newer
one (`UPDATE_GOLDEN=1 pytest …` writes them anew). The scripts of the page are executed by bash; stand-ins for the
programs in the image leave the files that MLC's documentation names, so order and paths are those of the page.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.main import main
from jetson_containers.launch import command
from jetson_containers.launch.command import plan_run
from jetson_containers.launch.options import parse
from jetson_containers.llm import fit_check
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named, of_board
from jetson_containers.llm.fit.predict import FitVerdict
from jetson_containers.llm.models import known
from jetson_containers.llm.run_hints import with_hints
from jetson_containers.llm.runtimes.interface import Job, Target
from jetson_containers.platforms import detect
from tests.fakes import CAPABILITIES
from tests.paths import ROOT_DIR, UNIT_DIR
from tests.unit.launch.test_command import settings_with

if TYPE_CHECKING:
    from pathlib import Path

ROOT = ROOT_DIR
PAGE = ROOT / "docs" / "tutorials.md"
GOLDEN = UNIT_DIR / "golden" / "tutorials"
HOSTS = {"orin-jp5": ("orin-nx-16gb,r35.4.1", "dustynv/mlc:51fb0f4-builder-r35.4.1"),
         "orin-jp6": ("orin-nx-16gb,r36.4.3", "mlc:0.20.0-r36.4-cu126-22.04")}  # fmt: skip

# As the pages have them, `<tok>` filled in. What is not a command of ours stands in the table of docs/tutorials.md.
BUILD = (
    "python3 -m mlc_llm.build --model Llama-2-7b-chat-hf --quantization q4f16_ft --artifact-path /data/models/mlc/dist "
    "--max-seq-len 4096 --target cuda --use-cuda-graph --use-flash-attn-mqa"
)
REDPAJAMA = "RedPajama-INCITE-Chat-3B-v1"
COMMANDS = {
    "download": (
        "./run.sh --env HUGGINGFACE_TOKEN=hf_secretsecret $(./autotag mlc) /bin/bash -c "
        "'ln -s $(huggingface-downloader meta-llama/Llama-2-7b-chat-hf) "
        "/data/models/mlc/dist/models/Llama-2-7b-chat-hf'"
    ),
    "build": f"./run.sh $(./autotag mlc) {BUILD}",
    "container": "./run.sh $(./autotag mlc)",
    "unquantized": "./run.sh $(./autotag mlc) bash -c 'cd /data/MLC-LLM-on-Jetson && python3 Llama-2-7b-chat-hf.py'",
    "help": "./run.sh $(./autotag mlc) mlc_llm --help",
    "convert": (
        f"./run.sh $(./autotag mlc) mlc_llm convert_weight ./dist/models/{REDPAJAMA}/ --quantization q4f16_1 "
        f"-o dist/{REDPAJAMA}-q4f16_1-MLC"
    ),
    "config": (
        f"./run.sh $(./autotag mlc) mlc_llm gen_config ./dist/models/{REDPAJAMA}/ --quantization q4f16_awq "
        f"--conv-template redpajama_chat -o dist/{REDPAJAMA}-q4f16_1-MLC/"
    ),
    "compile": (
        f"./run.sh $(./autotag mlc) mlc_llm compile ./dist/{REDPAJAMA}-q4f16_1-MLC/mlc-chat-config.json --device cuda "
        f'--opt "cutlass_attn=1;cutlass_norm=0;cublas_gemm=0;cudagraph=0" -o dist/libs/{REDPAJAMA}-q4f16_1-cuda.so'
    ),
    "clone": (
        "./run.sh $(./autotag mlc) bash -c "
        f"'git lfs install; git clone https://huggingface.co/togethercomputer/{REDPAJAMA}'"
    ),
}  # fmt: skip


def plan_with_hints(args: list[str], *given: Any, **options: Any) -> command.Launch:
    request = parse(args)
    return with_hints(plan_run(request, *given, **options), request.line, given[0])


def planned(tmp_path: Path, name: str, host: str) -> command.Launch:
    target, image = HOSTS[host]
    words = shlex.split(COMMANDS[name].replace("$(./autotag mlc)", image))
    (tmp_path / "root").mkdir(exist_ok=True)
    return plan_with_hints(
        words[1:], detect.parse_target(target), CAPABILITIES, settings_with(data=tmp_path / "data", cache=tmp_path),
        root=tmp_path / "root", env={}, name="unique",
    )  # fmt: skip


def render(tmp_path: Path, name: str) -> str:
    lines = [COMMANDS[name]]
    for host in HOSTS:
        made = planned(tmp_path, name, host)
        lines += ["", f"{host}: {made.shell}"]
        lines += [f"  environment: {key}" for key in sorted(made.env_additions)]
        lines += [f"  made: data/{folder}" for folder in made.folders]
        for notice in made.notices:
            if not notice.text.startswith("mount: ") and "GPU" not in notice.text:
                lines.append(f"  {notice.severity.value}: {notice.text}")
                lines += [f"    {notice.hint}"] * bool(notice.hint)
    return "\n".join(lines).replace(str(tmp_path), "/srv") + "\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_tutorial_command_becomes_the_docker_run_of_its_golden_copy(tmp_path: Path, name: str) -> None:
    """A command as written becomes the docker run of its golden copy."""
    path = GOLDEN / f"{name}.txt"
    text = render(tmp_path, name)
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("host", HOSTS)
def test_tutorial_command_itself_passes_through_unchanged(tmp_path: Path, name: str, host: str) -> None:
    """The command itself passes through unchanged."""
    made = planned(tmp_path, name, host)
    words = shlex.split(COMMANDS[name])
    after = words[words.index("mlc)") + 1 :]
    assert list(made.argv[len(made.argv) - len(after) :]) == after
    assert "secret" not in made.shell


def said(made: command.Launch) -> str:
    return "\n".join(f"{notice.text} | {notice.hint}" for notice in made.notices)


NOTICES = [
    ("download", "orin-jp5", "the value of HUGGINGFACE_TOKEN is passed through the environment"),
    ("build", "orin-jp6", "llm compile Llama-2-7b-chat-hf --runtime mlc --quantization q4f16_ft --context 4096`"),
    ("convert", "orin-jp5", "this image has the MLC of JetPack 5"),
    ("convert", "orin-jp6", "`dist/RedPajama-INCITE-Chat-3B-v1-q4f16_1-MLC` is relative to the container"),
    ("config", "orin-jp6", "use `q4f16_autoawq`"),
    ("compile", "orin-jp6", "use `cutlass=1`"),
    ("clone", "orin-jp6", "huggingface-downloader ORG/MODEL"),
]  # fmt: skip
SILENT = [("build", "orin-jp5"), ("container", "orin-jp5"), ("help", "orin-jp6"), ("unquantized", "orin-jp5")]


@pytest.mark.parametrize(("name", "host", "text"), NOTICES)
def test_run_hints_say_what_was_meant(tmp_path: Path, name: str, host: str, text: str) -> None:
    """What was meant is shown."""
    assert text in said(planned(tmp_path, name, host))


@pytest.mark.parametrize(("name", "host"), SILENT)
def test_run_hints_are_silent_about_what_is_right(tmp_path: Path, name: str, host: str) -> None:
    """What is right is not commented."""
    assert "mlc" not in said(planned(tmp_path, name, host)).lower()


def test_run_hints_need_no_reminder_in_a_working_directory_below_data(tmp_path: Path) -> None:
    """A working directory below data needs no reminder."""
    for words in (
        "--workdir /data/models/mlc mlc:0.20.0-r36.4 mlc_llm convert_weight x -o dist/y",
        "-w /data mlc:0.20.0-r36.4 mlc_llm convert_weight x -o dist/y",
        "mlc:0.20.0-r36.4 mlc_llm convert_weight x -o /data/y",
        "mlc:0.20.0-r36.4 bash -c 'cd /data/models && mlc_llm convert_weight x -o dist/y'",
    ):
        platform = detect.parse_target("r36.4.3")
        made = plan_with_hints(
            shlex.split(words),
            platform,
            CAPABILITIES,
            settings_with(data=tmp_path, cache=tmp_path),
            root=tmp_path,
            env={},
        )
        assert "relative" not in said(made)


def test_run_hints_name_a_link_that_is_there_already(tmp_path: Path) -> None:
    """A link that is there already is named."""
    assert "does not replace" not in said(planned(tmp_path, "download", "orin-jp5"))
    link = tmp_path / "data/models/mlc/dist/models/Llama-2-7b-chat-hf"
    link.parent.mkdir(parents=True)
    link.symlink_to("/nowhere")
    assert "`ln -s` does not replace it | use `ln -sfn`" in said(planned(tmp_path, "download", "orin-jp5"))


def test_run_hints_folders_of_a_tutorial_are_made(tmp_path: Path) -> None:
    """The directories a tutorial takes for granted are made."""
    from jetson_containers.core.console import Console, Level

    made = planned(tmp_path, "download", "orin-jp5")
    command.run(made, Console(level=Level.QUIET), execute=lambda _launch: 0)
    assert (tmp_path / "data/models/mlc/dist/models").is_dir()
    assert not list((tmp_path / "data/models/mlc/dist/models").iterdir())


def test_tutorial_page_has_every_command_of_the_tutorials() -> None:
    """The page has every command of the tutorials."""
    page = PAGE.read_text(encoding="utf-8")
    for written in (
        "sudo apt-get update && sudo apt-get install git python3-pip",
        "git clone --depth=1 https://github.com/dusty-nv/jetson-containers",
        "cd jetson-containers pip3 install -r requirements.txt",
        "cd ./data && git clone https://github.com/LJ-Hao/MLC-LLM-on-Jetson-Nano.git && cd ..",
        "./run.sh --env HUGGINGFACE_TOKEN=<tok> $(./autotag mlc)",
        "sudo docker images",
        f"./run.sh $(./autotag mlc) {BUILD}",
        "./run.sh dustynv/mlc:51fb0f4-builder-r35.4.1",
        "cd /data/MLC-LLM-on-Jetson && python3 Llama-2-7b-chat-hf.py",
        "python3 Llama-2-7b-chat-hf-q4f16_ft.py",
        "mlc_llm --help",
        'python -c "import tvm; print(tvm.__file__)"',
        "mkdir dist/libs",
        "git lfs install",
        "q4f16_awq",
        'cutlass_attn=1;cutlass_norm=0;cublas_gemm=0;cudagraph=0"',
    ):
        assert written in page, written


def test_tutorial_page_has_the_targets_of_the_program() -> None:
    """The page's targets are those of the program."""
    from jetson_containers.llm.runtimes.mlc import devices

    rows = dict(re.findall(r"^\| `([\w:-]+)`[^|]*\| `-([\w.]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows == {name: place.file + place.suffix for name, place in devices.targets().items()}


DIST = "models/mlc/dist"
LLAMA, QUANTIZED = f"{DIST}/models/Llama-2-7b-chat-hf", f"{DIST}/Llama-2-7b-chat-hf-q4f16"
SCRIPTS = {
    "jetson": ("r35.4.1", ["huggingface-downloader", "python3"], [
        f"{LLAMA}/config.json", f"{QUANTIZED}_ft/params/params_shard_0.bin",
        f"{QUANTIZED}_ft/params/ndarray-cache.json",
        f"{QUANTIZED}_ft/params/mlc-chat-config.json", f"{QUANTIZED}_ft/Llama-2-7b-chat-hf-q4f16_ft-cuda.so"]),
    "newer": ("r36.4.3", ["huggingface-downloader", "mlc_llm", "mlc_llm", "mlc_llm", "chat-mlc"], [
        f"{LLAMA}/config.json", f"{QUANTIZED}_1-MLC/tensor-cache.json", f"{QUANTIZED}_1-MLC/mlc-chat-config.json",
        f"{QUANTIZED}_1-MLC/tokenizer.json", f"{DIST}/libs/Llama-2-7b-chat-hf-q4f16_1-cuda.so"]),
    "compile": ("r36.4.3", ["mlc_llm", "git", "git", "mlc_llm", "mlc_llm", "mlc_llm"], [
        f"{DIST}/models/{REDPAJAMA}/config.json",
        f"{DIST}/{REDPAJAMA}-q4f16_1-MLC/params_shard_0.bin",
        f"{DIST}/{REDPAJAMA}-q4f16_1-MLC/tokenizer_config.json", f"{DIST}/libs/{REDPAJAMA}-q4f16_1-cuda.so"]),
}  # fmt: skip


def script(name: str) -> str:
    found = re.search(rf"<!-- runs: {name} -->\n```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout and an image's programs, all of them `tutorial_tools.py` under other names."""
    text = UNIT_DIR.joinpath("tutorial_tools.py").read_text(encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for name in (
        "run.sh",
        "autotag",
        "bin/huggingface-downloader",
        "bin/git",
        "bin/mlc_llm",
        "bin/python3",
        "bin/chat-mlc",
    ):
        program = tmp_path / name
        alone = "" if name == "run.sh" else " -IS"  # the others need nothing installed, and start faster
        program.write_text(f"#!{sys.executable}{alone}\n{text}", encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


def run(place: Path, text: str, target: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": f"{place / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "STAND_IN": str(place),
        "STAND_IN_TARGET": target,
        "TOKEN": "hf_secretsecret", "HOME": str(place), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    return subprocess.run(["bash", "-e", "-c", text], cwd=place, env=env, capture_output=True, text=True, check=False)


@pytest.mark.long
@pytest.mark.parametrize("name", SCRIPTS)
def test_tutorial_script_makes_the_documented_files_in_order(place: Path, name: str) -> None:
    """A script of the page makes the documented files in order."""
    target, order, files = SCRIPTS[name]
    done = run(place, script(name), target)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    log = (place / "log").read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in log if line.split()[0] not in {"run.sh", "autotag"}] == order
    for file in files:
        assert (place / "data" / file).exists(), file


def test_run_hints_name_a_failed_download_that_ln_hides(place: Path) -> None:
    """A failed download that ln hides is named."""
    first = script("jetson").splitlines()[0].replace("--env HUGGINGFACE_TOKEN=$TOKEN", "")
    done = run(place, first, "r35.4.1")
    assert done.returncode == 0  # `ln -s PATH` links PATH into the current directory
    assert "`ln` succeeds even if the download" in done.stderr
    assert "gated" in done.stderr
    assert not (place / "data" / LLAMA).exists()


def rows_of(heading: str) -> list[list[str]]:
    """The cells of the table below a heading of the page."""
    part = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


BOARDS = [("orin-nx-16gb", 8), ("orin-nx-16gb", 0), ("xavier-nx-8gb", 8)]  # the columns, with the GiB of swap


@pytest.mark.parametrize("row", rows_of("LMDeploy on Jetson"), ids=lambda row: row[0])
def test_tutorial_models_of_the_post_are_judged_as_it_measured(row: list[str]) -> None:
    """Every model of the post, by the post's name, on both boards: what the page says is what is predicted."""
    name, context = row[0].strip("`"), int(row[1])
    config = known.config(name)
    assert config is not None
    found = []
    for board, swap in BOARDS:
        platform = detect.parse_target(f"{board},r35.4.1")
        target = Target(platform=platform, versions={"lmdeploy": "0.2.5"})
        job = Job(source="/data/m", name=name, config=config, quantization="w4a16", target=target, context=context)
        machine = of_board(board_named(board), swap=swap * GIB, l4t=35)
        forecast = fit_check.forecast(job, "lmdeploy", machine)
        assert forecast is not None
        found.append(forecast.fit.verdict.value)
        if forecast.fit.verdict is FitVerdict.NO and board == "orin-nx-16gb":
            assert "swap on a disk (not ZRAM) would be enough" in forecast.fit.reason
    assert found == row[2:]


LLAMA_PAGE = rows_of("How Llama is quantized and run")
PROGRAMS = {
    "gptq": "gptq_quantize.py", "awq": "llmcompressor_quantize.py", "bitsandbytes": "bnb_quantize.py",
    "exllama": "exllama_convert.py", "vllm": "vllm serve", "": "llama-quantize",
}  # fmt: skip


@pytest.mark.parametrize("command", [row[1].strip("`") for row in LLAMA_PAGE if "llm " in row[1]])
def test_tutorial_commands_for_llama_have_the_steps_they_stand_for(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each command in place of the page's is understood, fits the board, and runs the program that does the work."""
    words = shlex.split(command)
    runtime = words[words.index("--runtime") + 1] if "--runtime" in words else ""
    more = ["--target", "agx-orin-64gb,r36.4.3", "--offline", "--dry-run"]
    assert main([*words[1:], *more]) == 0
    printed = capfd.readouterr().out
    assert PROGRAMS.get(runtime, PROGRAMS[""]) in printed
    assert "Llama-2-7b-chat-hf" in printed


def test_tutorial_page_has_every_line_of_the_page_on_llama() -> None:
    """The page's lines stand in the table as they were written."""
    written = " ".join(row[0] for row in LLAMA_PAGE)
    for line in (
        "pip install auto-gptq",
        "pip install auto-awq",
        "git clone https://github.com/ggerganov/llama.cpp.git",
        "cd llama.cpp && make",
        "python3 -m pip install -r requirements.txt",
        "python3 convert.py llama-2-7b-4bit-gptq --outfile llama-2-7b-4bit-gptq.gguf --outtype q4_0",
        './main -m llama-2-7b-4bit-gptq.gguf -p "The quick brown fox" -n 128',
        "BaseQuantizeConfig(bits=4, group_size=128, desc_act=False)",
        "ExLlama",
        "vLLM",
    ):
        assert line in written, line


KERNELS = [
    ("xavier-nx-8gb,r35.4.1", BUILD, "`q4f16_ft` and `--use-flash-attn-mqa`: no kernels"),
    ("xavier-nx-8gb,r35.4.1", BUILD.replace("q4f16_ft", "q4f16_1"), "`--use-flash-attn-mqa`: no kernels"),
    ("xavier-nx-8gb,r35.4.1", BUILD.replace(" --use-flash-attn-mqa", ""), "`q4f16_ft`: no kernels"),
    ("xavier-nx-8gb,r35.4.1", "python3 -m mlc_llm.build --quantization q4f16_1", ""),
    ("orin-nx-16gb,r35.4.1", BUILD, ""),
    ("x86_64,cpu", BUILD, ""),
]


@pytest.mark.parametrize(("target", "line", "expected"), KERNELS)
def test_run_hints_name_kernels_that_the_gpu_lacks(tmp_path: Path, target: str, line: str, expected: str) -> None:
    """A line that asks for kernels of compute capability 8 on an older GPU is warned of, whatever else it has."""
    made = plan_with_hints(
        ["dustynv/mlc:51fb0f4-builder-r35.4.1", *shlex.split(line)], detect.parse_target(target), CAPABILITIES,
        settings_with(data=tmp_path / "data", cache=tmp_path), root=tmp_path, env={}, name="unique",
    )  # fmt: skip
    texts = [notice.text for notice in made.notices if "no kernels" in notice.text]
    assert len(texts) == bool(expected)
    assert all(text.startswith(expected) for text in texts)
