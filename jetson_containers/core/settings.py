"""Layered settings; each value knows where it came from.

Later overrides earlier: built-in defaults < `/etc/jetson-containers/config.yaml` < user file
(`$XDG_CONFIG_HOME/jetson-containers/config.yaml`) < repository `config.yaml` and `.env` < environment < flags.
`package_dirs` of all layers add up, the later layers first; an empty value drops those of the layers below it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core import mirrors, yaml_text
from jetson_containers.core.errors import ConfigError
from jetson_containers.core.files import read_regular, write_atomically
from jetson_containers.core.suggest import did_you_mean
from jetson_containers.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "JETSON_CONTAINERS_"
SYSTEM_FILE = Path("/etc/jetson-containers/config.yaml")
_LARGEST_FILE = 1 << 20  # bytes of settings, or of the `.env` of whatever directory the user stands in
_UNSPOKEN = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REGISTRY = r"(?!.*//)[0-9A-Za-z\[][^\s,;]*"  # no address with a scheme, no option
_FORM = "one `setting: value` a line, in UTF-8; `jetson-containers info --config` shows all settings"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One declaration per setting: type, default, extra environment variables, help, and which values it may have."""

    kind: type
    default: Any
    help: str
    env: tuple[str, ...] = ()  # names besides JETSON_CONTAINERS_<NAME>, the first set one wins
    choices: tuple[str, ...] = ()
    form: str = ""  # what a text, or each of a list, matches; other programs' variables (`env`) are theirs to judge
    least: int = 0
    most: int = 1_000_000
    place: str = ""  # "file", "directory": what has to be there when it is set; "new": a directory, or nothing yet


OPTIONS: dict[str, Setting] = {
    "packages": Setting(kind=Path, default=ROOT / "packages", help="the built-in package tree", place="directory"),
    "package_dirs": Setting(kind=list, default=[], help="further directories of packages"),
    "upstream": Setting(
        kind=str, default="", help="upstream's tree beside ours: a checkout, or a branch, tag or commit to fetch"
    ),
    "upstream_days": Setting(
        kind=int,
        default=7,
        help="age at which a branch or tag of `upstream` is fetched anew; 0: with every command",
        most=36_500,
    ),
    "data": Setting(kind=Path, default=ROOT / "data", help="mounted as /data in every container", place="new"),
    "logs": Setting(kind=Path, default=ROOT / "logs", help="one folder per build", place="new"),
    "cache": Setting(
        kind=Path, default=Path("~/.cache/jetson-containers"), help="indexes and registry listings", place="new"
    ),
    "registries": Setting(
        kind=list,
        default=[
            "docker.io/dustynv",
            "ghcr.io/nvidia-ai-iot",
            "docker.io/vllm/vllm-openai",
            "nvcr.io/nvidia/vllm",
            "nvcr.io/nvidia/sglang",
            "docker.io/lmsysorg/sglang",
            "docker.io/ollama/ollama",
        ],
        help="where autotag looks, in order: REGISTRY/NAMESPACE, or a repository of facts/images.yaml",
        form=_REGISTRY,
    ),
    "insecure_registries": Setting(
        kind=list, default=[], help="registries spoken to over plain HTTP (loopback always is)", form=_REGISTRY
    ),
    "offline": Setting(kind=bool, default=False, help="do not use the network", env=("HF_HUB_OFFLINE",)),
    "ca_bundle": Setting(
        kind=Path,
        default=None,
        help="certificates to trust during builds, mounted for the build only",
        env=("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        place="file",
    ),
    "wheelhouse": Setting(
        kind=Path,
        default=None,
        help="directory of wheels that pip prefers during builds",
        env=("PIP_FIND_LINKS",),
        place="directory",
    ),
    "index_url": Setting(
        kind=str,
        default="",
        help="package index pip uses during builds: http://… or https://…",
        env=("PIP_INDEX_URL",),
        form=r"https?://[^\s/]+\S*",
    ),
    "mirrors": Setting(
        kind=dict,
        default={},
        help='other servers to fetch from: china, or {"git": {"https://github.com/": URL}, "python": URL} and the like '
        "for apt, files, registries, npm, crates, hub; without credentials",
    ),
    "model_aliases": Setting(
        kind=list,
        default=[],
        help="your own names of models, each NAME=MODEL: coder=ollama://qwen2.5-coder:7b",
        form=r"[^=]+=.+",
    ),
    "cuda_source": Setting(
        kind=str,
        default="apt",
        help="where CUDA 13 comes from: apt (NVIDIA's repository) or wheels (the Python index)",
        choices=("apt", "wheels"),
    ),
    "engine": Setting(
        kind=str,
        default="auto",
        help="builder: auto, bake, buildx, buildkit or legacy",
        choices=("auto", "bake", "buildx", "buildkit", "legacy"),
    ),
    "podman": Setting(
        kind=bool, default=False, help="run and llm start containers with Podman instead of Docker; builds need Docker"
    ),
    "stage_registry": Setting(
        kind=str,
        default="",
        help="REGISTRY/NAMESPACE where builds look for stages by key, and push them",
        form=_REGISTRY,
    ),
    "jobs": Setting(
        kind=int, default=0, help="stages built at the same time; 0: as memory and cores allow", most=10_000
    ),
    "allow_install": Setting(kind=bool, default=False, help="let root install what making a base image needs"),
    "least_privilege": Setting(
        kind=bool,
        default=True,
        help="steps and servers of llm and the tests of images run without capabilities, with a network of their own; "
        "false: with the engine's own rights, servers on the host's network",
    ),
    "verify_key": Setting(
        kind=Path,
        default=None,
        help="public key (cosign.pub) by which a registry must have signed what is taken from it: what run and llm "
        "start, autotag chooses, and builds stand on or pull",
        place="file",
    ),
    "sign_key": Setting(
        kind=Path,
        default=None,
        help="private key (cosign.key) that signs what push, build and a farm's worker push to a registry; its "
        "password is asked for, or that of COSIGN_PASSWORD",
        place="file",
    ),
    "check_requests": Setting(
        kind=bool,
        default=True,
        help="requests to the servers of llama.cpp, vLLM, MLC and LMDeploy are checked in front of them, as our own "
        "servers check theirs: origin, key, size, time; false: they go to these servers themselves",
    ),
    "base": Setting(kind=str, default="", help="base image instead of the platform's own", form=r"[^\s-]\S*"),
    "stop_timeout": Setting(
        kind=int, default=20, help="seconds a registry or index may take to answer", least=1, most=86_400
    ),
}


@dataclass(frozen=True)
class Value:
    """A setting's value and where it came from, as `jetson-containers info --config` prints it."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Settings:
    """All settings. `env` is the environment with `.env` values below it: what upstream's variables are read from."""

    values: Mapping[str, Value]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def origin(self, name: str) -> str:
        """Where a value came from: "default", a file name, "$VARIABLE" or "--flag"."""
        return self.values[name].origin

    def path(self, name: str) -> Path:
        """Read a setting that is a path and must be set."""
        value = self[name]
        if not isinstance(value, Path):
            raise ConfigError(f"setting `{name}` is empty", hint=f"give it a value, or unset {PREFIX}{name.upper()}")
        return value

    @property
    def package_trees(self) -> tuple[Path, ...]:
        """The built-in tree, then `package_dirs`."""
        return (self.path("packages"), *self["package_dirs"])


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    files: tuple[Path, ...] | None = None,
    root: Path = ROOT,
) -> Settings:
    """Merge the layers. Raises ConfigError naming the origin of a value that cannot be used."""
    real_env = dict(os.environ if env is None else env)
    chosen = config_files(real_env, root) if files is None else files
    layers: list[tuple[str, Mapping[str, Any]]] = [(str(file), _read_yaml(file)) for file in chosen]
    dotenvs = [read_dotenv(root / ".env")]
    here = _current_directory() if env is None else None
    if here is not None and here != root:
        dotenvs.append(read_dotenv(here / ".env"))
    values = {name: Value(option.default, "default") for name, option in OPTIONS.items()}
    for origin, layer in layers:
        for key, raw in layer.items():
            if key not in OPTIONS:
                raise ConfigError(f"{origin}: unknown setting `{key}`", hint=_key_hint(str(key)))
            _lay(values, key, Value(_convert(key, raw, origin), origin))
    for origin, source in (*((".env", dotenv) for dotenv in dotenvs), ("", real_env)):
        for key, value in _from_env(source, origin).items():
            _lay(values, key, value)
    for key, raw in (flags or {}).items():
        if raw is not None:
            origin = f"--{key.replace('_', '-')}"
            _lay(values, key, Value(_convert(key, raw, origin), origin))
    cache = values["cache"]
    if cache.origin == "default" and real_env.get("XDG_CACHE_HOME"):
        values["cache"] = Value(Path(real_env["XDG_CACHE_HOME"]) / "jetson-containers", "$XDG_CACHE_HOME")
    values["cache"] = Value(_convert("cache", values["cache"].value, "$HOME"), values["cache"].origin)
    merged = {name: value for layer in (*dotenvs, real_env) for name, value in layer.items()}
    return Settings(values, _with_hub(merged, values["mirrors"].value))


def _with_hub(env: dict[str, str], found: Mapping[str, Any]) -> dict[str, str]:
    """Let a mirror of the model hub count where the variable of the hub's own library is not set."""
    return (
        {**env, mirrors.HUB_VARIABLE: found["hub"]} if found.get("hub") and not env.get(mirrors.HUB_VARIABLE) else env
    )


def _lay(values: dict[str, Value], key: str, value: Value) -> None:
    """Put a layer's value over those below. Directories of packages add up; the first of two packages counts."""
    below = values[key]
    if key == "package_dirs" and value.value and below.value:
        value = Value(list(dict.fromkeys([*value.value, *below.value])), f"{value.origin}, {below.origin}")
    values[key] = value


def config_files(env: Mapping[str, str], root: Path) -> tuple[Path, ...]:
    """The files that exist, in the order they are merged. JETSON_CONTAINERS_CONFIG names one instead of all."""
    if chosen := env.get(PREFIX + "CONFIG"):
        if not os.path.isfile(chosen):  # noqa: PTH113 - Path.is_file raises where the user may not look
            raise ConfigError(
                f"${PREFIX}CONFIG names `{chosen}`, which is not a file", hint=f"correct it, or unset {PREFIX}CONFIG"
            )
        return (Path(chosen),)
    return tuple(path for path in config_places(env, root) if os.path.isfile(path))  # noqa: PTH113 - as above


def config_places(env: Mapping[str, str], root: Path) -> tuple[Path, ...]:
    """Where settings may stand, in the order they are merged."""
    if chosen := env.get(PREFIX + "CONFIG"):
        return (Path(chosen),)
    own = user_file(env)
    return (SYSTEM_FILE, *([own] if own else []), root / "config.yaml")


def user_file(env: Mapping[str, str]) -> Path | None:
    """The user's own file; None without a home directory. JETSON_CONTAINERS_CONFIG names another."""
    if chosen := env.get(PREFIX + "CONFIG"):
        return Path(chosen)
    home = env.get("XDG_CONFIG_HOME") or (env.get("HOME") and f"{env['HOME']}/.config")
    return Path(home) / "jetson-containers" / "config.yaml" if home else None


def change_file(path: Path, name: str, value: str | None) -> None:
    """Write a setting into a file, or take it out (None); other lines, comments too, stay as they are.

    Raises ConfigError for a value that cannot be used, or a file that is not a mapping; OSError where it cannot be
    written.
    """
    import yaml

    if value is not None:
        value = _lasting(name, value)
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if before:
        _read_yaml(path)
    lines = _without(before.splitlines(), name)
    if value is not None:
        # What YAML would read as a number, a truth value or a list stays the text that was given.
        lines.append(yaml.safe_dump({name: value}, allow_unicode=True, width=10_000).rstrip("\n"))
    mode = path.stat().st_mode & 0o777 if path.is_file() else 0o644
    if path != SYSTEM_FILE and re.search(r"://[^/\s]*@", value or ""):
        mode &= 0o600  # a password is for its user alone
    write_atomically(path, "".join(f"{line}\n" for line in lines), mode=mode)


def _lasting(name: str, value: str) -> str:
    """A value as it may stand in a file: one that can be used, and means the same in each directory."""
    option, used = OPTIONS[name], _convert(name, value, "the command line")
    if option.kind is not Path or used is None:
        return value
    there = {"file": used.is_file, "directory": used.is_dir, "new": lambda: used.is_dir() or not used.exists()}
    try:
        wrong = option.place and not there[option.place]()
    except OSError:  # where this user may not look
        wrong = False
    if wrong:
        kind = "file" if option.place == "file" else "directory"
        raise ConfigError(f"`{value}` is not a {kind}, which `{name}` has to be", hint=f"{name}: {option.help}")
    return value if value.startswith("~") else str(used.absolute())


def _without(lines: list[str], name: str) -> list[str]:
    """The lines without a top-level key and what is indented below it."""
    kept, inside = [], False
    for line in lines:
        if not line.startswith((" ", "\t", "-", "#")) and line.strip():
            inside = re.match(rf"{re.escape(name)}\s*:", line) is not None
        if not inside:
            kept.append(line)
    return kept


def read_dotenv(path: Path) -> dict[str, str]:
    """Read `KEY=value` lines (comments, `export`, quotes); never executes anything, unlike a shell's `source`."""
    try:
        text = read_regular(path, _LARGEST_FILE).decode("utf-8", errors="replace")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", hint="make it readable, or work in another directory"
        ) from error
    pattern = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not (match := pattern.match(line)):
            continue
        name, value = match.groups()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        else:
            value = re.sub(r"\s+#.*$", "", value)
        found[name] = value
    return found


def _from_env(source: Mapping[str, str], prefix: str) -> dict[str, Value]:
    found = {}
    for name, option in OPTIONS.items():
        own = PREFIX + name.upper()
        for variable in (own, *option.env):
            raw = source.get(variable)
            if raw is None or (raw == "" and variable != own):
                continue
            origin = f"{prefix + ' ' if prefix else ''}${variable}"
            if name == "wheelhouse" and variable != own and not Path(raw).is_dir():
                continue  # PIP_FIND_LINKS may also be a URL or several; only a directory can be a wheelhouse
            if name == "ca_bundle" and variable != own and not Path(raw).is_file():
                continue
            found[name] = Value(_convert(name, raw, origin, own=variable == own), origin)
            break
    return found


def _convert(name: str, raw: Any, origin: str, *, own: bool = True) -> Any:
    """The value of a setting; `own`: of a variable or file of ours, not of another program's variable."""
    option = OPTIONS[name]
    try:
        if option.kind is bool:
            return _to_bool(raw)
        if option.kind is int:
            return _to_count(raw, option)
        if option.kind is Path:
            return Path(_one_line(raw)).expanduser() if raw not in (None, "") else None
        if option.kind is dict:
            return mirrors.parse(raw)
        if option.kind is list:
            return _package_dirs(raw) if name == "package_dirs" else [_of_form(each, option) for each in _to_list(raw)]
        return _of_form(str(raw), option) if own else str(raw)
    except (
        TypeError,
        ValueError,
        OverflowError,
        RuntimeError,
    ) as error:  # RuntimeError: a `~` without a home directory
        raise ConfigError(
            f"{origin}: `{shown(str(raw))}` is not a valid value for `{name}`", hint=f"{name}: {option.help}"
        ) from error


def _one_line(raw: Any) -> str:
    """A text that ends up in command lines: an option of another program is none. Raises ValueError."""
    text = str(raw)
    if text.startswith("-") or _UNSPOKEN.search(text):
        raise ValueError(text)
    return text


def _of_form(value: Any, option: Setting) -> Any:
    """A text as its setting wants it; "" stands for none. Raises ValueError."""
    if not isinstance(value, str) or not value:
        return value
    fits = value in option.choices if option.choices else re.fullmatch(option.form or ".*", value)
    if not fits:
        raise ValueError(value)
    return _one_line(value)


def _to_list(raw: Any) -> list[Any]:
    if isinstance(raw, dict):
        raise TypeError(raw)
    items = re.split(r"[,;]", raw) if isinstance(raw, str) else list(raw)
    return [item.strip() if isinstance(item, str) else item for item in items if item not in ("", None)]


def _package_dirs(raw: Any) -> list[Path]:
    """Directories in the forms that upstream reads: separated by `,`, `;` or `:`, with `/*` for all below.

    A tree is searched at any depth anyway. A text that is a directory as it stands is not split. A tuple holds the
    texts of an option that was given several times.
    """
    if isinstance(raw, tuple):
        return list(dict.fromkeys(path for text in raw for path in _package_dirs(text)))
    whole = not isinstance(raw, str) or os.path.isdir(raw)  # noqa: PTH112 - Path.is_dir raises on a long name
    words = _to_list([raw] if isinstance(raw, str) else raw) if whole else re.split(r"[,;:]", raw)
    paths = (Path(_without_star(str(word).strip())).expanduser() for word in words if str(word).strip())
    return list(dict.fromkeys(paths))


def _without_star(word: str) -> str:
    if not word.strip("*"):
        return "."
    below = re.fullmatch(r"(.*?)(/\*+)+/?", word)
    return (below[1] or "/") if below else word


def _current_directory() -> Path | None:
    """Where the user stands; None when that directory was removed meanwhile."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def _to_count(raw: Any, option: Setting) -> int:
    number = int(raw)
    if not option.least <= number <= option.most:
        raise ValueError(raw)
    return number


def _to_bool(raw: Any) -> bool:
    text = str(raw).strip().lower()
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError(raw)


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        data = yaml_text.parse(read_regular(path, _LARGEST_FILE).decode("utf-8"))
    except (OSError, ValueError) as error:  # UnicodeDecodeError is one
        first, *rest = str(error).splitlines()
        raise ConfigError(
            f"{path}: cannot be read as YAML: {first}", details=[line.strip() for line in rest], hint=_FORM
        ) from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must be a mapping of settings", hint=_FORM)
    return data


def _key_hint(key: str) -> str:
    return did_you_mean(key, OPTIONS, otherwise=f"known: {', '.join(sorted(OPTIONS))}")
