"""Package trees in upstream's format: which directories are, what their files say together, and who runs `config.py`.

A directory is in upstream's format when a `config.py` or several named definitions are in it, or when any other YAML
or JSON file in it is a definition. Header, then files in the order of their names (or as the header's `config` lists
them), each over the one before. Where upstream's answer depends on the order of threads or files, ours does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RecipeError
from jetson_containers.core.text import shown
from jetson_containers.platforms import tables
from jetson_containers.recipes import files, reader
from jetson_containers.recipes.package import DEFAULT_REQUIRES
from jetson_containers.recipes.tree import PYTHON_FILE
from jetson_containers.recipes.upstream import config_py, forms, merge
from jetson_containers.recipes.upstream.data import header_data, named_data
from jetson_containers.recipes.upstream.packages import Directory, make, one_per_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package
    from jetson_containers.recipes.tree import RecipeDirectory


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One directory in upstream's format, its data files read and its `config.py`, if any, not yet run."""

    directory: Directory
    base: Mapping[str, Any]
    steps: tuple[tuple[str, Any], ...]
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def runs_python(self) -> bool:
        """Whether the child process is needed."""
        return any(kind == "python" for kind, _ in self.steps)


@dataclass(kw_only=True)
class UpstreamPackages:
    """What the directories in upstream's format hold, by directory."""

    packages: dict[Path, list[Package]] = field(default_factory=dict)
    broken: dict[Path, list[tuple[RecipeError, tuple[str, ...]]]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)  # what it depends on besides: `config_py.inputs`


@dataclass(kw_only=True)
class Drafts:
    """The directories in upstream's format, by path, those that cannot be read, and what deserves a word.

    `none` are directories that hold no package, although a file in them is called like a definition.
    """

    items: dict[Path, Draft] = field(default_factory=dict)
    broken: dict[Path, RecipeError] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    none: set[Path] = field(default_factory=set)

    def add(self, candidate: RecipeDirectory, platform: Platform, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Read a directory."""
        try:
            self.items[candidate.path] = _draft(candidate, platform, found)
        except RecipeError as error:
            self.broken[candidate.path] = error
        except OSError as error:
            self.broken[candidate.path] = RecipeError(f"cannot be read: {error.strerror}", path=candidate.path)


def drafts(candidates: Sequence[RecipeDirectory], roots: Sequence[Path], platform: Platform) -> Drafts:
    """Read the files of the directories in upstream's format.

    A tree with definitions in Python, or elsewhere than beside their Dockerfile, is upstream's as a whole: what in it
    uses no key of ours is read as upstream does.
    """
    result = Drafts()
    rest = []
    trees = set()
    for candidate in candidates:
        found = forms.definitions(candidate)
        alien = forms.has_python(candidate) or forms.names_elsewhere(candidate)
        if alien or forms.is_upstream(candidate, found):
            result.add(candidate, platform, found)
        else:
            rest.append((candidate, found))
        if alien:
            trees.add(_root(candidate.path, roots))
    for candidate, found in rest:
        if _root(candidate.path, roots) not in trees:
            continue
        if forms.is_theirs(candidate, found, result.notices):
            result.add(candidate, platform, found)
        elif forms.is_none(candidate):
            result.none.add(candidate.path)
    return result


def _draft(candidate: RecipeDirectory, platform: Platform, found: Mapping[str, Mapping[str, Any]]) -> Draft:
    path, tree = candidate.path, candidate.tree
    names = {entry.name for entry in path.iterdir()}
    main = files.dockerfile_in(names)
    header = header_data(path / main, tree) if main else {}
    discovered = sorted({*found, *({PYTHON_FILE} & names)})
    order = [str(name) for name in merge.listed(header["config"])] if "config" in header else discovered
    postfix = default_postfix(platform)
    base: dict[str, Any] = {
        "name": path.name,
        "path": str(path),
        "requires": DEFAULT_REQUIRES,
        "postfix": postfix,
        "config": order,
        "test": [name for name in reader.TEST_FILES if name in names],
        **({"dockerfile": main} if main else {}),
        **merge.with_lists(header),
    }
    definitions = tuple(path / name for name in ([main] if main else []) + order)
    steps = tuple(_steps(path, tree, order, found))
    own = [name for name in _own_dockerfiles(steps) if files.is_file(path / name)]
    headers = {name: header_data(path / name, tree) for name in own}
    directory = Directory(path=path, group=candidate.group, files=definitions, postfix=postfix, tree=tree)
    directory.notes += _near_misses(candidate, {*found, *order})
    return Draft(directory=directory, base=base, steps=steps, headers=headers)


def read(
    drafts: Sequence[Draft], roots: Sequence[Path], platform: Platform, others: Sequence[Package] = ()
) -> UpstreamPackages:
    """The packages of all drafts. `others` are those in our format, which recipes may look up.

    One child process runs every `config.py`; what fails there is in `broken`, with file, line and reason.
    """
    found = UpstreamPackages()
    python = [item for item in drafts if item.runs_python]
    plain = [item for item in drafts if not item.runs_python]
    definitions = {item.directory.path: _merged(item, found) for item in plain}
    known = _known(others, definitions) if any(_looks_up(item) for item in python) else []
    outcome = config_py.run([_job(item, roots) for item in python], roots, platform, known=known)
    for item, answer in zip(python, outcome.answers, strict=True):
        if answer.failure is not None:
            _fail(item, answer.failure, found)
        definitions[item.directory.path] = [dict(definition) for definition in answer.definitions]
        reason = answer.failure.reason if answer.failure else ""
        item.directory.notes += [note for note in answer.notes if not (reason and "asked for" in note)]
        item.directory.added.update({Path(file): text for file, text in answer.added.items()})
    elsewhere = [file for item in drafts for file in item.directory.files if file.parent != item.directory.path]
    found.inputs = config_py.inputs(outcome, elsewhere)
    for item in drafts:
        path = item.directory.path
        packages, errors = make(definitions[path], item.directory)
        found.packages[path] = one_per_name(packages, platform, item.directory.notes)
        found.broken.setdefault(path, []).extend(errors)
        found.notices += [_placed(item, note) for note in item.directory.notes]
    return found


def default_postfix(platform: Platform) -> str:
    """What upstream appends to tags, which its recipes may read; our tags are made by `images.name`."""
    facts = config_py.facts(platform)
    release = facts["l4t"].split(".")
    if facts["machine"] == "x86_64":
        start = "amd64.x86_64"
    elif (int(release[0]), int(release[1])) >= (36, 4):
        arch = "tegra-aarch64" if facts["cuda_arch"] == "tegra-aarch64" else "arm64-sbsa"
        start = f"r{release[0]}.{release[1]}.{arch}"
    else:
        start = f"r{facts['l4t']}"
    own = tables.distro(platform.distro, platform.distro_version)
    if own and own["python"] != facts["python"]:  # upstream: where `PYTHON_VERSION` is set
        start += f"-cp{facts['python'].replace('.', '')}"
    return f"{start}-cu{facts['cuda'].replace('.', '')}-{facts['ubuntu']}"


def _root(path: Path, roots: Sequence[Path]) -> Path:
    return next((root for root in roots if path.is_relative_to(root)), path)


def _steps(
    path: Path, tree: Path, order: Sequence[str], found: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Any]]:
    for name in order:
        written = shown(name)
        if not files.is_inside(path / name, tree):
            raise RecipeError(f"`config` names `{written}`, which leads out of the package tree {tree}", path=path)
        if not files.is_there(path / name):
            raise RecipeError(f"`config` names `{written}`, which is not there", path=path)
        if name.endswith(".py"):
            files.read_bytes(path / name, tree=tree)  # the child has no such bounds
            yield "python", path / name
        else:
            yield "data", dict(found[name]) if name in found else named_data(path / name, tree)


def _own_dockerfiles(steps: Sequence[tuple[str, Any]]) -> Iterator[str]:
    """The Dockerfiles that named definitions have of their own."""
    for kind, data in steps:
        if kind == "data" and merge.is_nested(data) and len(data) > 1:
            dockerfiles = (entry.get("dockerfile") for entry in data.values())
            yield from (file for file in dockerfiles if file and isinstance(file, str))


def _near_misses(candidate: RecipeDirectory, known: Set[str]) -> Iterator[str]:
    """Files under the names of definitions that are none."""
    for name in candidate.files:
        if name in files.CONFIG_FILES and name not in known:
            yield f"`{name}` is not a definition and has no effect"


def _merged(item: Draft, found: UpstreamPackages) -> list[dict[str, Any]]:
    """The definitions of a directory without `config.py`."""
    package: dict[str, Any] = dict(item.base)
    try:
        for _, data in item.steps:
            merge.apply_data(package, data, lambda name: item.headers.get(name, {}))
        return merge.flatten(package, item.base, item.directory.notes)
    except (merge.Malformed, TypeError, ValueError, AttributeError, LookupError) as error:
        _fail(item, config_py.ConfigPyFailure(reason=str(error)), found)
        return []


def _job(item: Draft, roots: Sequence[Path]) -> config_py.ConfigPyJob:
    path = item.directory.path
    root = _root(path, roots)
    parts = [part.replace(".", "_") for part in path.relative_to(root).parts]
    return config_py.ConfigPyJob(
        directory=path, module=".".join(["packages", *parts]), base=item.base, steps=item.steps, headers=item.headers
    )


def _looks_up(item: Draft) -> bool:
    programs = [value for kind, value in item.steps if kind == "python"]
    return any("find_package" in item.directory.text(file) for file in programs)


def _known(others: Sequence[Package], definitions: Mapping[Path, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Packages as upstream's code knows them, in the order of their names."""
    ours = [
        {
            "name": package.name,
            "alias": list(package.aliases),
            "path": str(package.path),
            "group": package.group,
            "depends": [str(item) for item in package.depends],
            "requires": list(package.requires),
            "build_args": dict(package.build_args),
            "test": list(package.test),
            "dockerfile": package.dockerfile,
            "disabled": package.disabled,
        }
        for package in others
    ]
    theirs = [dict(item) for _, items in sorted(definitions.items()) for item in items]
    return sorted([*ours, *theirs], key=lambda item: str(item["name"]))


def _fail(item: Draft, failure: config_py.ConfigPyFailure, found: UpstreamPackages) -> None:
    path = failure.path or item.directory.files[-1]
    names = tuple(dict.fromkeys([item.directory.path.name, str(item.base["name"]).partition(":")[0]]))
    error = RecipeError(failure.reason, path=path, line=failure.line)
    found.broken.setdefault(item.directory.path, []).append((error, names))


def _placed(item: Draft, note: str) -> str:
    """A note with its file, unless it begins with one."""
    path = str(item.directory.path)
    return note if note.startswith(path) else f"{item.directory.files[-1]}: {note}"
