"""One package directory as written: which keys there are, what each may hold, and on which line it stands.

A directory holds a Dockerfile with a `#---` YAML header and, when the family has versions or variants, a
`config.yaml`; a directory with only a `config.yaml` is a meta package. Nothing here depends on the platform.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RecipeError
from jetson_containers.core.suggest import closest, did_you_mean
from jetson_containers.core.text import shown
from jetson_containers.recipes import files, templating, yaml_lines
from jetson_containers.recipes.schema import (
    HEADER_KEYS,
    LISTS,
    PROBLEMS,
    SYNONYMS,
    VARIANT_KEYS,
    VERSION_KEYS,
    ValueKind,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A package directory as written: platform-independent, templates unrendered.

    `config` is flat (keys of one definition) or nested (definition by name, upstream's form). `dockerfile` is None
    for a meta package. `tests` are the files found beside it, for a recipe that does not say `test`.
    """

    path: Path
    header: Mapping[str, Any]
    config: Mapping[str, Any]
    dockerfile: str | None
    lines: Mapping[str, str] = field(default_factory=dict)  # key → "file:line"; the empty key is the recipe's own
    group: str = ""
    tests: tuple[str, ...] = ()
    tree: Path | None = None  # what no path of the recipe may lead out of; its own directory if None

    def check_path(self, key: str, value: str) -> str:
        """A path that a key gives. Raises RecipeError for one that leads out of the tree."""
        tree = self.tree or self.path
        if not files.is_inside(self.path / value, tree):
            raise self.error(key, f"`{shown(value)}` leads out of the package tree {tree}")
        return value

    def error(self, key: str, message: str, hint: str | None = None) -> RecipeError:
        """Make the error for a key, at its line or at the nearest line above it that is known."""
        while key and key not in self.lines:
            key = _parent(key)
        where, _, line = self.lines.get(key, "").rpartition(":")
        path = self.path / (where or self.dockerfile or "config.yaml")
        return RecipeError(message, path=path, line=int(line) if line else None, hint=hint)


def _parent(key: str) -> str:
    """The key above: `versions[0].args.X` → `versions[0].args` → `versions[0]` → `versions` → the recipe itself."""
    above = re.sub(r"(?:^|\.)[^.\[\]]+$|\[[0-9]+\]$", "", key)
    return above if above != key else ""


TEST_FILES = ("test.py", "test.sh")
_FROM = re.compile(r"^[^\S\n]*FROM\s", re.MULTILINE | re.IGNORECASE)  # `^\s*` is slow on many empty lines


def read_directory(
    path: Path, *, group: str | None = None, nested: bool = False, tree: Path | None = None
) -> Recipe | None:
    """Read one directory; None when it holds no package. Raises RecipeError with file and line.

    `group` is what a recipe without a `group` key belongs to, by default its parent directory's name. With `nested`
    the directory lies inside another package and counts only if its Dockerfile has a header: it may be mere context.
    No file is read that lies outside of `tree`, by default the directory itself.
    """
    tree = tree or path
    check_directory(path, tree)
    names = _listing(path)
    main = files.dockerfile_in(names)
    configs = [name for name in files.CONFIG_FILES if name in names]
    if main is None and (nested or not (configs or "config.py" in names)):
        return None
    text = files.read_text(path / main, tree=tree) if main else ""
    header = read_header(text, path / main) if main else None
    if nested and header is None:
        return None
    tests = tuple(name for name in TEST_FILES if name in names)
    head = header.data if header else {}
    recipe = Recipe(
        path=path,
        header=head,
        config={},
        dockerfile=main,
        lines=_lines(header, main or "config.yaml"),
        group=path.parent.name,
        tests=tests,
        tree=tree,
    )
    if group is not None:
        recipe = replace(recipe, group=group)
    for name in _config_names(recipe, configs, names):
        try:
            source = read_config(path / name, tree)
        except RecipeError:
            if "config" not in head and main and is_foreign(path / name, tree):
                continue  # it is of what the image holds
            raise
        lines = {**recipe.lines, **source.lines, "": recipe.lines[""]}
        recipe = replace(recipe, config={**recipe.config, **source.data}, lines=lines)
    _check_dockerfiles(recipe)
    return replace(recipe, dockerfile=_effective_dockerfile(recipe, text, has_header=header is not None))


def check_directory(path: Path, tree: Path) -> None:
    """Raise RecipeError for a package directory that is a link out of its tree."""
    if not files.is_inside(path, tree):
        hint = "name that directory with `--package-dirs`, or copy it into the tree"
        raise RecipeError(f"is a link out of the package tree {tree}", path=path, hint=hint)


def _listing(path: Path) -> set[str]:
    try:
        return {entry.name for entry in path.iterdir()}
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=path) from None


def _lines(header: RecipeSource | None, main: str) -> dict[str, str]:
    return {"": f"{main}:1", **(header.lines if header else {})}


def _config_names(recipe: Recipe, found: list[str], names: set[str]) -> list[str]:
    """The files to read: those the header's `config` lists, else those that are there."""
    named = "config" in recipe.header
    result = texts(recipe.header["config"]) if named else found
    if "config.py" in result or ("config.py" in names and not result):
        raise recipe.error("config", "`config.py` definitions are not read", "write it as `config.yaml`")
    for name in result:
        if name not in names:
            raise recipe.error("config", f"`config` names `{name}`, which is not there")
    return result


def is_foreign(path: Path, tree: Path) -> bool:
    """Whether a `config.json` or the like is not a definition but, say, a model's or a server's."""
    return has_no_key(load(files.read_text(path, tree=tree), path).data)


def has_no_key(data: Mapping[str, Any]) -> bool:
    """Whether a mapping, or the mappings in it, hold no key of a recipe, nor many that are nearly one."""
    keys = [key for layer in (data.values() if is_nested(data) else [data]) for key in layer]
    near = sum(bool(closest(str(key), HEADER_KEYS, likeness=0.8)) for key in keys[:100])
    return bool(keys) and not any(key in HEADER_KEYS for key in keys) and 2 * near < len(keys)


def _check_dockerfiles(recipe: Recipe) -> None:
    for key, value in _named_dockerfiles(recipe):
        if templating.is_template(value):
            continue
        if not files.is_file(recipe.path / recipe.check_path(key, value)):
            raise recipe.error(key, f"`{shown(value)}` is not there")


def _effective_dockerfile(recipe: Recipe, text: str, *, has_header: bool) -> str | None:
    """The Dockerfile to build unless a version names its own; None for a meta package."""
    config = {} if is_nested(recipe.config) else recipe.config
    named = config.get("dockerfile", recipe.header.get("dockerfile"))
    if named or recipe.dockerfile is None:
        return named or None
    if _FROM.search(text):
        return recipe.dockerfile
    if not has_header or any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        raise recipe.error("", "no `FROM` in this Dockerfile", "a meta package has a header and nothing below it")
    return None


def _named_dockerfiles(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for prefix, values in (*_layers(recipe.header), *_layers(recipe.config)):
        artifacts = values.get("artifacts")
        inner = artifacts.get("dockerfile") if isinstance(artifacts, dict) else artifacts
        for key, value in (("dockerfile", values.get("dockerfile")), ("artifacts", inner)):
            if isinstance(value, str):
                yield prefix + key, value


@dataclass(frozen=True)
class RecipeSource:
    """What one file says: keys to values, and keys to `file:line`."""

    data: Mapping[str, Any]
    lines: Mapping[str, str]


def read_header(dockerfile: str, path: Path) -> RecipeSource | None:
    """The `#---` header of a Dockerfile; None when it has none. Raises RecipeError."""
    text = header_text(dockerfile)
    if text is None:
        return None
    source = load(text, path)
    _validate(source.data, HEADER_KEYS, "", source, path)
    return source


def header_text(dockerfile: str) -> str | None:
    """The YAML of the comment block on top, each line at its own line number; None when there is no `#---`.

    Several blocks between `#---` lines count as one; the first line that is not a comment ends the header.
    """
    lines: list[str] = []
    inside = found = False
    for line in dockerfile.splitlines():
        if not line.startswith("#"):
            break
        if line.startswith("#---"):
            inside, found = not inside, True
            lines.append("")
        else:
            lines.append(re.sub(r"^# ?", "", line) if inside else "")
    return "\n".join(lines) if found else None


def read_config(path: Path, tree: Path | None = None) -> RecipeSource:
    """A `config.yaml`, flat or nested. Raises RecipeError."""
    source = load(files.read_text(path, tree=tree), path)
    check_config(source, path)
    return source


def check_config(source: RecipeSource, path: Path) -> None:
    """Check what a definition file says, flat or nested. Raises RecipeError at the line."""
    if is_nested(source.data):
        for name, entry in source.data.items():
            _check(ValueKind.NAME, name.partition(":")[0], name, source, path)
            _validate(entry, HEADER_KEYS, f"{name}.", source, path)
    else:
        _validate(source.data, HEADER_KEYS, "", source, path)


def load(text: str, path: Path) -> RecipeSource:
    """Parse a definition file without checking its keys. Raises RecipeError."""
    document = yaml_lines.parse(text, path)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise RecipeError("a definition must be a mapping of keys to values", path=path, line=document.lines.get(""))
    return RecipeSource(data, {key: f"{path.name}:{line}" for key, line in document.lines.items()})


def is_nested(config: Mapping[str, Any]) -> bool:
    """Whether a config maps package names to definitions (upstream's form) rather than keys to values."""
    return bool(config) and all(isinstance(entry, dict) and key not in HEADER_KEYS for key, entry in config.items())


def _layers(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping of keys in a config with the prefix of its lines: itself or its entries, versions, variants."""
    tops = [(f"{name}.", entry) for name, entry in config.items()] if is_nested(config) else [("", config)]
    for prefix, top in tops:
        yield prefix, top
        for rows in ("versions", "platforms"):
            for index, entry in enumerate(top.get(rows) or ()):
                yield f"{prefix}{rows}[{index}].", entry
        for name, entry in (top.get("variants") or {}).items():
            yield f"{prefix}variants.{name}.", entry or {}


def _fail(message: str, key: str, source: RecipeSource, path: Path, hint: str | None = None) -> RecipeError:
    return Recipe(path=path.parent, header={}, config={}, dockerfile=path.name, lines=source.lines).error(
        key, message, hint
    )


def _validate(
    values: Mapping[str, Any], known: Mapping[str, ValueKind], prefix: str, source: RecipeSource, path: Path
) -> None:
    for key, value in values.items():
        if key not in known:
            hint = did_you_mean(key, known, otherwise=f"known keys: {', '.join(sorted(known))}")
            raise _fail(f"unknown key `{key}`", prefix + key, source, path, hint)
        _check(known[key], value, prefix + key, source, path)
    for other, ours in SYNONYMS.items():
        if other in values and ours in values:
            raise _fail(f"`{other}` and `{ours}` are the same key", prefix + ours, source, path)
    if values.get("versions") and values.get("platforms"):
        message = "`platforms` are the rows of a package without versions"
        raise _fail(message, f"{prefix}platforms", source, path, "give the rows of `versions` their `requires`")


def _check(kind: ValueKind, value: Any, key: str, source: RecipeSource, path: Path) -> None:
    """Check one value; the checks that need lines of their own descend."""
    if kind is ValueKind.VERSIONS and isinstance(value, list):
        _check_rows(value, "version", VERSION_KEYS, key, source, path)
    elif kind is ValueKind.PLATFORMS and isinstance(value, list):
        _check_rows(value, "requires", VARIANT_KEYS, key, source, path)
    elif kind is ValueKind.VARIANTS and isinstance(value, dict):
        for name, entry in value.items():
            _check(ValueKind.NAME, name, f"{key}.{name}", source, path)
            _check(ValueKind.MAPPING, entry, f"{key}.{name}", source, path)
            _validate(entry or {}, VARIANT_KEYS, f"{key}.{name}.", source, path)
    elif kind is ValueKind.ARTIFACTS and isinstance(value, dict):
        _validate(value, {"dockerfile": ValueKind.TEXT, "depends": ValueKind.DEPENDS}, f"{key}.", source, path)
        if not value.get("dockerfile"):
            raise _fail("`artifacts` needs a `dockerfile`", key, source, path)
    elif kind in LISTS and isinstance(value, list):
        for index, item in enumerate(value):
            _check_one(kind, item, key, f"{key}[{index}]", source, path)
    elif kind is ValueKind.ARGS and isinstance(value, dict):
        for name, item in value.items():
            _check_one(ValueKind.TEXT, item, name, f"{key}.{name}", source, path)
    else:
        _check_one(kind, value, key, key, source, path)


def _check_one(kind: ValueKind, value: Any, name: str, key: str, source: RecipeSource, path: Path) -> None:
    problem = PROBLEMS[kind](value)
    if problem is not None:
        raise _fail(problem or f"`{name.rpartition('.')[2]}` must be {kind.value}", key, source, path)


def _check_rows(
    value: list[Any], needed: str, known: Mapping[str, ValueKind], key: str, source: RecipeSource, path: Path
) -> None:
    """Rows of a family (`versions`) or of one package that has no version (`platforms`), no two for the same."""
    seen: dict[tuple[str, tuple[str, ...]], str] = {}
    for index, entry in enumerate(value):
        here = f"{key}[{index}]"
        if not isinstance(entry, dict) or not entry.get(needed):
            name = key.rpartition(".")[2]
            raise _fail(f"every entry of `{name}` must be a mapping with a `{needed}`", here, source, path)
        _validate(entry, known, f"{here}.", source, path)
        row = (entry.get("version") or "", tuple(sorted(texts(entry.get("requires")))))
        if row in seen:
            first = source.lines[f"{seen[row]}.{needed}"].rpartition(":")[2]
            what = f"version `{row[0]}` is given twice" if row[0] else "two rows are"
            raise _fail(f"{what} for the same platforms, first on line {first}", f"{here}.{needed}", source, path)
        seen[row] = here
