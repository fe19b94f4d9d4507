"""Stand-ins for what the tutorials' commands call: under those names they leave the documented files.

`run.sh` plans with the real launcher and runs the container's command here, with /data at `$STAND_IN/data`. Each call
is written to `$STAND_IN/log`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

ROOT = Path(os.environ.get("STAND_IN", "/nonexistent"))
GATED = "meta-llama/"


def run(args: list[str]) -> int:
    from jetson_containers.core import settings
    from jetson_containers.core.files import make_data_directory
    from jetson_containers.launch.command import plan_run
    from jetson_containers.launch.options import parse
    from jetson_containers.llm.run_hints import with_hints
    from jetson_containers.platforms import detect
    from tests.fakes import CAPABILITIES

    found = {name: settings.Value(option.default, "default") for name, option in settings.OPTIONS.items()}
    found["data"] = settings.Value(ROOT / "data", "test")
    platform = detect.parse_target(os.environ["STAND_IN_TARGET"])
    engine = replace(CAPABILITIES, runtimes=("nvidia", "runc"))
    configured = settings.Settings(found, {})
    request = parse(args)
    planned = plan_run(request, platform, engine, configured, root=ROOT / "host", env=os.environ)
    planned = with_hints(planned, request.line, platform)
    assert "hf_secret" not in " ".join(planned.argv), "the token stands in the argv"
    for notice in planned.notices:
        sys.stderr.write(f"{notice.severity.value}: {notice.text}\n")
    workdir = next((planned.argv[n + 1] for n, word in enumerate(planned.argv) if word == "--workdir"), "/data")
    for folder in ("", *planned.folders):
        make_data_directory(ROOT / "data" / folder)
    here = Path(str(ROOT) + workdir)
    here.mkdir(parents=True, exist_ok=True)
    # a container's own environment: what is passed by name, and nothing else of the caller's
    names = [planned.argv[n + 1] for n, word in enumerate(planned.argv) if word == "--env"]
    given = {**os.environ, **planned.env_additions}
    env = {name: given[name] for name in names if name in given}
    env |= {name: os.environ[name] for name in ("STAND_IN", "PATH")}
    command = [word.replace("/data/", f"{ROOT}/data/") for word in planned.command]
    return subprocess.run(command, cwd=here, env=env, check=False).returncode


def autotag(args: list[str]) -> int:
    tag = "51fb0f4-r35.4.1" if "r35" in os.environ["STAND_IN_TARGET"] else "0.20.0-r36.4-cu126-22.04"
    sys.stdout.write(f"{args[0]}:{tag}\n")
    return 0


def downloader(args: list[str]) -> int:
    if args[0].startswith(GATED) and not os.environ.get("HUGGINGFACE_TOKEN"):
        return fail("401: this model is gated")
    folder = ROOT / "data/models/huggingface" / args[0].replace("/", "--") / "snapshots/0123"
    sys.stdout.write(f"{checkpoint(folder)}\n")
    return 0


def git(args: list[str]) -> int:
    if args[0] == "clone":
        checkpoint(Path(args[1].rpartition("/")[2]))
    return 0


def mlc_build(args: list[str]) -> int:
    given = dict(pairwise(args))
    dist, model, mode = Path(given["--artifact-path"]), given["--model"], given["--quantization"]
    place = Path(model) if Path(model).is_dir() else dist / "models" / model  # a directory is taken as it is
    if not (place / "config.json").is_file():
        return fail(f"{place}: no config.json")
    model = place.name
    made = dist / f"{model}-{mode}"
    weights(made / "params", "ndarray-cache.json")
    configuration(made / "params")
    (made / "mod_cache_before_build.pkl").touch()
    (made / f"{model}-{mode}-{given['--target']}.so").touch()
    return 0


def mlc_llm(args: list[str]) -> int:
    command, rest = args[0], args[1:]
    if command == "--help":
        sys.stdout.write("usage: MLC LLM Command Line Interface. [-h] {compile,convert_weight,gen_config,chat,serve}\n")
        return 0
    given = dict(pairwise(rest))
    source, output = Path(rest[0]), Path(given["-o"])
    if command == "compile":
        if not source.is_file() or source.name != "mlc-chat-config.json":
            return fail(f"{source} is not an mlc-chat-config.json")
        if not output.parent.is_dir():
            return fail(f"argument --output/-o: Directory does not exist: {output.parent}")
        output.touch()
    elif not (source / "config.json").is_file():
        return fail(f"{source}: no config.json")
    elif command == "convert_weight":
        weights(output, "tensor-cache.json")
    else:
        configuration(output)
    return 0


def chat_mlc(args: list[str]) -> int:
    place = Path(args[0])
    found = [where for where in (place, place / "params") if (where / "mlc-chat-config.json").is_file()]
    library = Path(args[args.index("--model-lib") + 1]) if "--model-lib" in args else next(place.glob("*.so"))
    return 0 if found and library.is_file() else fail("no model")


def checkpoint(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).touch()
    return folder


def weights(folder: Path, index: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("params_shard_0.bin", index):
        (folder / name).touch()


def configuration(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("mlc-chat-config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).touch()


def fail(text: str) -> int:
    sys.stderr.write(text + "\n")
    return 1


PROGRAMS = {
    "run.sh": run, "autotag": autotag, "huggingface-downloader": downloader, "git": git, "mlc_llm": mlc_llm,
    "chat-mlc": chat_mlc,
}  # fmt: skip


def main() -> int:
    name, args = Path(sys.argv[0]).name, sys.argv[1:]
    if name == "python3":
        if args[:2] != ["-m", "mlc_llm.build"]:
            os.execv(sys.executable, [sys.executable, *args])
        program, shown = mlc_build, ["python3", *args]
        args = args[2:]
    else:
        program, shown = PROGRAMS[name], [name, *args]
    with (ROOT / "log").open("a", encoding="utf-8") as log:
        log.write(" ".join(" ".join(shown).split()).replace(str(ROOT), "") + "\n")
    return program(args)


if __name__ == "__main__":
    sys.exit(main())
