"""What each command prints with `--json`, from which `schema` makes JSON Schemas. A test holds real output to them."""

from __future__ import annotations

from typing import Any

from jetson_containers.cli.schema_types import FieldsOf, MapOf, Maybe, OneOf, With

_PACKAGE = {
    "name": str, "family": str, "version": Maybe(str), "aliases": [str], "group": str, "depends": [str],
    "requires": [str], "path": str,
}  # fmt: skip
_PLATFORM = {
    "arch": str, "machine": str, "docker_platform": str, "l4t": Maybe(str), "jetpack": Maybe(str), "cuda": Maybe(str),
    "python": str, "distro": str, "distro_version": str, "sm": [int], "driver_cuda": Maybe(str), "soc": Maybe(str),
    "board": Maybe(str), "memory": Maybe(int),
}  # fmt: skip
_STAGE = {
    "package": str, "kind": str, "key": str, "parent": Maybe(str), "image": str, "depends": [str], "state": str,
    "layers": int, "needed": bool, "tree": str,
}  # fmt: skip
_ESTIMATE = {"stages": int, "seconds": float, "bytes": int, "untimed": [str], "unsized": [str], "stated": int}
_PLAN = {
    "schema": int, "platform": _PLATFORM, "request": [str], "base": str, "packages": [str], "stages": [_STAGE],
    "final": Maybe(str), "layers": int, "notices": [str], "tests": [str], "estimate": Maybe(_ESTIMATE),
}  # fmt: skip
_PLANS = {
    "schema": int, "platform": _PLATFORM, "plans": [_PLAN], "errors": [{"request": str, "reason": str}],
    "totals": MapOf(int), "estimate": Maybe(_ESTIMATE),
}  # fmt: skip
_BUILT = FieldsOf("builder.types:BuildReport", {"schema?": int})
_STEP = {"name": str, "argv": [str], "output": str, "state": str, "shell": [str]}
_COMMANDS = {  # of `llm … --dry-run`
    "model": str, "runtime": str, "quantization": str, "artefact": str, "steps": [_STEP], "command": [str],
    "shell": [str],
}  # fmt: skip
_PREPARED = {"artefact": str, "steps": [FieldsOf("llm.pipeline.types:StepResult")]}
_FIT = {
    "runtime": str, "quantization": str, "context": int, "board": str, "weights_bytes": float, "kv_bytes": float,
    "runtime_bytes": float, "baseline_bytes": float, "total_bytes": float, "available_bytes": float, "fits": bool,
    "peak_bytes": float, "decode_tokens_per_s": Maybe(float), "decode_tokens_per_s_full": Maybe(float),
    "decode_tokens_per_s_most": Maybe(float), "prefill_tokens_per_s": Maybe(float), "first_token_s": Maybe(float),
    "batch_tokens_per_s": Maybe(float), "max_batch": int, "sequences": int, "measured": bool, "verdict": str,
    "reason": str, "activation_bytes": float, "needed_bytes": float, "swap_bytes": float, "steps": MapOf(float),
    "notes": [str],
}  # fmt: skip
_MODEL_FIT = {"model": str, **_FIT}
_CANDIDATE = {
    "image": str, "source": str, "ok": bool, "reason": str, "rank": Maybe(int), "rule": str, "pushed": Maybe(str),
    "size": Maybe(int), "digest": Maybe(str),
}  # fmt: skip
_SETTING = {"value": Any, "origin": str}
_SERVER = FieldsOf(
    "llm.servers:ServerFacts",
    {"name": str, "id": str, "status": str, "since": str, "image": str, "detached": bool},
)
_STEP_ROW = {"step": str, "state": str, "note?": str, "changes?": [str]}
_FILE = {"name": str, "size": int, "sha256": Maybe(str), "state": str}
_DOWNLOAD = {
    "repo": Maybe(str), "revision": Maybe(str), "commit": Maybe(str), "path": str, "files": [_FILE], "bytes": int,
}  # fmt: skip
_POWER = Maybe(FieldsOf("llm.power:PowerReport"))
_PATH = {"path": str}
_LOGIN = {"registry": str, "config": str}

ERROR = {"error": {"kind": str, "message": str, "hint": Maybe(str), "details": [str], "exit_code": int}}

RESULTS: dict[str, Any] = {
    "autotag": {
        "request": [str], "platform": _PLATFORM, "choice": Maybe(str), "candidates": [_CANDIDATE], "notices": [str],
    },
    "build": OneOf((_BUILT, _PLAN, _PLANS, [str], [MapOf(Any)])),
    "bundle": {"image": str, "lock": str, "images": int},
    "completion": {"shell": str, "script": str},
    "config get": {"setting": str, **_SETTING},
    "config list": MapOf({**_SETTING, "help": str}),
    "config path": [{"file": str, "exists": bool}],
    "config set": {"setting": str, **_SETTING, "file": str},
    "context": {"package": str, "directory": str, "builds": [{"dockerfile": str, "command": [str]}]},
    "data": _PATH,
    "df": [{"what": str, "count": Maybe(int), "bytes": int}],
    "doctor": [FieldsOf("doctor.types:Check")],
    "download": [_DOWNLOAD],
    "farm status": FieldsOf("farm.client:FarmStatus"),
    "flatten": {"image": str},
    "images": [{"image": str, "role": str, "size": int, "created": str, "packages": [str], "key": str}],
    "info": OneOf((With(_PLATFORM, {"origins": MapOf(str), "sandbox": bool}), MapOf(_SETTING))),
    "lint": OneOf((
        [{"file": str, "line": Maybe(int), "rule": str, "severity": str, "message": str, "remedy": str}],
        [FieldsOf("lint.findings:LintRule")],
    )),
    "keys new": {"private": str, "public": str},
    "list": [With(_PACKAGE, {"absent?": str})],
    "llm bench": OneOf((FieldsOf("llm.bench:BenchReport", {"power": _POWER}), _COMMANDS)),
    "llm chat": OneOf((FieldsOf("llm.chat:ChatAnswer", {"tokens_per_s": Maybe(float)}), _COMMANDS)),
    "llm compile": OneOf((_PREPARED, _COMMANDS)),
    "llm fit": With(_MODEL_FIT, {"advice": [str], "alternatives": [_MODEL_FIT], "version?": str}),
    "llm list": [FieldsOf("llm.stored:Stored")],
    "llm measured": [FieldsOf("llm.fit.measured:Measurement")],
    "llm metrics": [FieldsOf("llm.metrics:ServerMetrics")],
    "llm ps": [_SERVER],
    "llm quantize": OneOf((_PREPARED, _COMMANDS)),
    "llm serve": OneOf((FieldsOf("llm.serve:Served"), _COMMANDS, {"kind": str, "text": str})),
    "llm show": FieldsOf("llm.models.details:ModelDetails"),
    "llm stop": [str],
    "llm suggest": [With(_MODEL_FIT, {"score?": float})],
    "llm upload": {
        "repository": str, "files": [{"name": str, "bytes": int}], "commit": Maybe(str),
    },
    "login": _LOGIN,
    "logout": _LOGIN,
    "man": {"directory": str, "pages": [str]},
    "mirror fill": {
        "git": [str], "files": [str], "python": [str], "npm": [str], "fetched": int, "failed": MapOf(str),
        "left_out": [str],
    },
    "new": {"directory": str, "files": [str]},
    "outdated": [{
        "kind": str, "name": str, "version": str, "packages": [str], "state": str, "newest": Maybe(str),
        "vulnerabilities": Maybe([str]), "unknown": [str],
    }],
    "prune": {
        "removed": [str], "dry_run": bool, "bytes": Maybe(int), "build_cache?": Maybe(int), "logs?": [str],
        "log_bytes?": int,
    },
    "registry refresh": {"file": str, "asked": [Any], "failed": [str], "tags": int},
    "report": OneOf((
        FieldsOf("builder.records:Record", {"schema": int}),
        [{"id": str, "began": str, "seconds": float, "result": str, "request": Any}],
    )),
    "root": _PATH,
    "schema": OneOf(([str], MapOf(Any))),
    "search": [_PACKAGE],
    "setup": [_STEP_ROW],
    "show": {
        **_PACKAGE, "default": bool, "docs": Maybe(str), "notes": Maybe(str), "license": Maybe(str),
        "source": MapOf(Any), "build_args": MapOf(Any), "test": [str], "memory_per_job": Maybe(int),
        "artifacts": Maybe(str), "versions": [str], "origin": str, "tree": str,
    },
    "stats": {
        "time": str, "power_mode": Maybe(str), "clocks_fixed": Maybe(bool),
            "cores": [FieldsOf("host.usage:CoreUsage")], "load": Maybe(float),
            "memory": FieldsOf("host.usage:MemoryUsage"), "gpus": [FieldsOf("host.usage:GpuUsage")],
            "memory_controller_load": Maybe(float), "temperatures": MapOf(float), "rails": MapOf(float),
            "watts": Maybe(float), "containers": [FieldsOf("host.usage:ContainerUsage")], "missing": [str]
        ,
    },
    "test": OneOf((_BUILT, {
        "image": str, "sm": [int], "linked_files": int, "gpu_code": MapOf({"code": Any, "ptx": Any}),
        "problems": [str], "notes": [str],
    })),
    "tree": {"request": [str], "packages": [str], "depends": MapOf([str]), "trees": MapOf(str)},
    "update": OneOf(({"before": str, "after": str}, {"upstream": str, "commit": str})),
    "verify": {"schema": int, "images": [{
        "schema": int, "image": str, "id": str, "status": str, "date": str, "version": str, "built_for": MapOf(Any),
        "board": MapOf(Any), "ran": [str], "packages": MapOf(MapOf(Any)),
    }]},
    "why": {
        "package": str, "available": bool, "rules": [{"rule": str, "ok": bool, "reason": str}], "required_by": [str],
        "versions": [{"package": str, "absent": Maybe(str)}], "path": str, "refused": Maybe(str),
    },
}  # fmt: skip

# Commands whose result `--json` does not change, and what it is.
OTHER_RESULTS = {
    "export": "a pipeline, or the path of a folder",
    "farm scheduler": "a service that runs until it is ended",
    "farm worker": "a service that runs until it is ended",
    "graph": "a drawing in the format that was asked for",
    "llm logs": "what a server printed",
    "llm rm": "the paths that were removed, one per line",
    "lock": "a lock, which is JSON of its own",
    "lock-pips": "the locks that changed, one per line",
    "mirror serve": "the setting `mirrors` as JSON, then a service that runs until it is ended",
    "provenance": "an in-toto statement, which is JSON of its own",
    "pull": "the name of the image",
    "push": "the name of the image",
    "run": "what the container prints",
    "sbom": "a CycloneDX document, which is JSON of its own",
    "site": "the path of the page",
}
