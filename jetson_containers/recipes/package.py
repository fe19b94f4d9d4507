"""One package directory → frozen `Package` objects; an error names file and line.

A directory holds a Dockerfile with a `#---` YAML header and, when the family has versions or variants, a
`config.yaml`. Values are Jinja2 templates over the platform, so reading has two steps: `read_directory` (pure text,
independent of the platform) and `render` (for one platform).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RecipeError, RequirementSyntaxError
from jetson_containers.core.text import shown
from jetson_containers.recipes import files, rules, schema, shared, templating
from jetson_containers.recipes.budget import bounded
from jetson_containers.recipes.reader import Recipe, is_nested, read_directory
from jetson_containers.recipes.requirement import Dependency
from jetson_containers.recipes.types import Artifacts, Package

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jetson_containers.platforms.platform import Platform

__all__ = ["Artifacts", "Dependency", "Package", "Recipe", "read_directory", "render"]

# Upstream's default: JetPack 4.6 is the oldest release it builds for.
DEFAULT_REQUIRES = ">=32.6"

MOST_PACKAGES = 1000  # of one directory
MOST_TEXTS = 200_000  # in all of them


def render(recipe: Recipe, platform: Platform) -> tuple[Package, ...]:
    """All versions and variants of a recipe for one platform, `requires` not yet applied.

    Raises RecipeError for a template that cannot be rendered or two default versions on this platform.
    """
    packages: list[Package] = []
    work = Work()
    with bounded():
        for definition in _definitions(recipe):
            packages += _render_definition(replace(definition, work=work), platform)
    return tuple(packages)


@dataclass(kw_only=True)
class Work:
    """What one recipe has asked for: versions times variants times arguments can be more than there is memory."""

    packages: int = 0
    texts: int = 0
    tests: set[str] = field(default_factory=set)  # those whose file was looked at

    def count(self, recipe: Recipe, *, packages: int = 0, texts: int = 0) -> None:
        """Count some more. Raises RecipeError when it is too much for a recipe."""
        self.packages += packages
        self.texts += texts
        if self.packages > MOST_PACKAGES or self.texts > MOST_TEXTS:
            what = f"more than {MOST_PACKAGES} packages" if self.packages > MOST_PACKAGES else "too many values"
            raise recipe.error("", f"makes {what}, versions and variants multiplied")


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """The keys of one definition, and for each the key of `Recipe.lines` where it was written."""

    recipe: Recipe
    values: Mapping[str, Any]
    where: Mapping[str, str]
    variables: Mapping[str, Any] = field(default_factory=dict)
    work: Work = field(default_factory=Work)

    def over(self, layer: Mapping[str, Any], prefix: str) -> _Fields:
        """Put a layer on top: its keys win, its `args` are merged; an argument without a value takes away one below."""
        values, where = dict(self.values), dict(self.where)
        for written, value in layer.items():
            key = schema.SYNONYMS.get(written, written)
            if key == "args":
                where.update({f"args.{name}": f"{prefix}{written}.{name}" for name in value or {}})
                below, here = values.get("args") or {}, value or {}
                gone = {name for name in below if here.get(name, "") is None}
                values[key] = {name: text for name, text in {**below, **here}.items() if name not in gone}
            else:
                values[key] = value
            where[key] = prefix + written
        return replace(self, values=values, where=where)

    def error(self, key: str, message: str) -> RecipeError:
        return self.recipe.error(self.where.get(key, ""), message)

    def origin(self) -> str:
        """`file:line` where this row, or else the definition, begins."""
        in_row = self.rows()[1] or (self.text("version") and not self.values.get("tag"))
        where = self.where["version"] if in_row else self.where["name"]
        error = self.recipe.error(where, "")
        return f"{error.path}:{error.line}"

    def render(self, text: str, key: str) -> str:
        self.work.count(self.recipe, texts=1)
        try:
            return templating.render(text, self.variables)
        except templating.TemplateFailure as error:
            raise self.error(key, str(error)) from None

    def text(self, key: str) -> str:
        """A text as written."""
        return self.values.get(key) or ""

    def joined(self, key: str) -> str:
        """A text that may be given as a list."""
        return schema.joined(self.values.get(key), key)

    def rendered(self, key: str) -> str:
        return self.render(self.text(key), key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list, rendered; items that are empty then are left out."""
        rendered = (self.render(item, key).strip() for item in schema.texts(self.values.get(key)))
        return tuple(item for item in rendered if item)

    def rows(self) -> tuple[str, list[Mapping[str, Any]]]:
        """The rows of the definition, and the key that lists them."""
        key = "versions" if self.values.get("versions") else "platforms"
        return key, self.values.get(key) or []

    def flag(self, key: str) -> bool:
        return bool(schema.flag(self.values.get(key)))

    def number(self, key: str, read: Callable[[str], int | None]) -> int | None:
        text = self.text(key)
        return read(text) if text else None

    def args(self) -> dict[str, str]:
        args = self.values.get("args") or {}
        return {name: self.render(value or "", f"args.{name}") for name, value in args.items()}

    def source(self) -> dict[str, Any]:
        """The source, rendered; its templates also see the build arguments, as `args`."""
        written = self.values.get("source") or {}
        with_args = replace(self, variables={**self.variables, "args": self.args()}) if written else self
        source: dict[str, Any] = with_args.mapping(written, "source")
        return source

    def depends(self, key: str, items: tuple[str, ...]) -> tuple[Dependency, ...]:
        try:
            return tuple(Dependency.parse(item) for item in items)
        except RequirementSyntaxError as error:  # only what a template made; the rest was checked when read
            raise self.error(key, error.message) from None

    def mapping(self, value: Any, key: str) -> Any:
        """A mapping, list or text with every text in it rendered."""
        if isinstance(value, dict):
            return {name: self.mapping(item, key) for name, item in value.items()}
        if isinstance(value, list):
            return [self.mapping(item, key) for item in value]
        return self.render(value, key) if isinstance(value, str) else value


def _definitions(recipe: Recipe) -> Iterator[_Fields]:
    """The header with the flat config over it, or with each entry of a nested one."""
    base = _Fields(recipe=recipe, values={"name": recipe.path.name}, where={"name": ""}).over(recipe.header, "")
    if not is_nested(recipe.config):
        yield base.over(recipe.config, "")
        return
    for name, entry in recipe.config.items():
        yield base.over({"name": name}, f"{name}.").over(entry, f"{name}.")


def _render_definition(base: _Fields, platform: Platform) -> list[Package]:
    family, _, tag = base.values["name"].partition(":")
    variants = len(base.values.get("variants") or {})
    base.work.count(base.recipe, packages=max(1, len(base.rows()[1])) * (1 + variants))
    entries = _entries(base, platform, tag or None)
    default = _default_entry(entries, platform)
    packages: list[Package] = []
    for index in _one_for_each_version(entries, platform):
        fields = entries[index]
        packages.append(_package(fields, family, None, default=index == default))
        for variant, layer in (fields.values.get("variants") or {}).items():
            prefix = f"{fields.where['variants']}.{variant}."
            packages.append(_package(fields.over(layer or {}, prefix), family, variant, default=index == default))
    return packages


def _entries(base: _Fields, platform: Platform, tag: str | None) -> list[_Fields]:
    """One entry per row, or the definition itself; `tag` is the version in its name (`foo:1.0`)."""
    key, rows = base.rows()
    if not rows:
        fields = base.over({"tag": tag, "version": tag}, "")
        return [replace(fields, variables=templating.context(platform, tag))]
    if tag and key == "versions":
        raise base.error("name", f"`{base.values['name']}` names a version, and `versions` lists others")
    entries = []
    for index, entry in enumerate(rows):
        # Aliases of the header name the family, in whatever version; those of a version name this version only.
        layer = {_OWN_ALIASES.get(key, key): value for key, value in entry.items()}
        if key == "platforms":
            layer.update(tag=tag, version=tag)
        fields = base.over(layer, f"{base.where[key]}[{index}].")
        entries.append(replace(fields, variables=templating.context(platform, layer["version"])))
    return entries


_OWN_ALIASES = {"alias": "own_aliases", "aliases": "own_aliases"}


def _one_for_each_version(entries: list[_Fields], platform: Platform) -> list[int]:
    """Of several rows of one version the first that fits the platform; where none does, the one that comes nearest."""
    rows: dict[str, list[int]] = {}
    for index, fields in enumerate(entries):
        rows.setdefault(fields.text("version"), []).append(index)
    return sorted(_row_here(entries, found, platform) for found in rows.values())


def _row_here(entries: list[_Fields], rows: list[int], platform: Platform) -> int:
    if len(rows) == 1:
        return rows[0]
    here = [index for index in rows if _available(entries[index], platform)]
    return here[0] if here else min(rows, key=lambda index: _misses(entries[index], platform))


def _misses(fields: _Fields, platform: Platform) -> tuple[int, int]:
    """How far a row is from fitting; one for another kind of machine (without CUDA, say) is farther than any other."""
    failed = [result.rule for result in rules.check_all(_rules(fields, "requires"), platform) if not result.ok]
    return sum(rules.is_of_a_kind(rule, platform) for rule in failed), len(failed)


def _default_entry(entries: list[_Fields], platform: Platform) -> int | None:
    """Which entry is the default here: one whose `default` holds, else the first available one without `default`.

    The only one that is available, or that has no version, is the default as well. Raises RecipeError naming both
    lines when two are marked.
    """
    chosen = _one_for_each_version(entries, platform)
    if not entries[0].values.get("versions"):
        family, _, tag = entries[0].values["name"].partition(":")
        return chosen[0] if not tag or family in entries[0].texts("aliases") else None
    here = [i for i in chosen if _available(entries[i], platform)]
    marks = {i: _default_mark(entries[i], platform) for i in here}
    marked = [i for i in here if marks[i]]
    if len(marked) > 1:
        first, second = (entries[i] for i in marked[:2])
        line = first.error("default", "").line
        raise second.error(
            "default",
            f"two default versions on this platform: `{first.text('version')}` (line {line}) and "
            f"`{second.text('version')}`",
        )
    candidates = [*marked, *(i for i in here if marks[i] is None), *(here if len(here) == 1 else ())]
    return candidates[0] if candidates else None


def _available(fields: _Fields, platform: Platform) -> bool:
    return not fields.flag("disabled") and rules.holds(_rules(fields, "requires"), platform)


def _default_mark(fields: _Fields, platform: Platform) -> bool | None:
    """What `default` says here, a switch or rules; None where it says nothing."""
    value = fields.values.get("default")
    if value is None or value == "":
        return None
    text = fields.rendered("default") if isinstance(value, str) else ""
    switch = schema.flag(text) if text else None
    return rules.holds(_rules(fields, "default"), platform) if switch is None else switch


def _rules(fields: _Fields, key: str) -> tuple[str, ...]:
    if key not in fields.values:
        return (DEFAULT_REQUIRES,)
    written = fields.texts(key)
    try:
        for rule in written:
            rules.parse(rule)
    except RequirementSyntaxError as error:  # only what a template made; the rest was checked when read
        raise fields.error(key, error.message) from None
    return written


def _package(fields: _Fields, family: str, variant: str | None, *, default: bool) -> Package:
    version = fields.text("version") or None
    tag = "-".join(part for part in (version, variant) if part)
    aliases = fields.texts("aliases")
    return Package(
        name=f"{family}:{tag}" if tag else family,
        family=family,
        version=version,
        variant=variant,
        path=fields.recipe.path,
        dockerfile=_dockerfile(fields, "dockerfile", fields.rendered("dockerfile")) or fields.recipe.dockerfile,
        default=default and variant is None,
        aliases=_aliases(fields, family, variant, default=default),
        depends=fields.depends("depends", fields.texts("depends")),
        requires=_rules(fields, "requires"),
        build_args=fields.args(),
        build_flags=_build_flags(fields),
        test=_tests(fields),
        group=fields.joined("group") or fields.recipe.group,
        docs=_docs(fields),
        notes=fields.render(fields.joined("notes"), "notes"),
        caution=fields.render(fields.joined("caution"), "caution"),
        license=fields.joined("license"),
        source=fields.source(),
        memory_per_job=fields.number("memory_per_job", schema.size),
        build_time=fields.number("build_time", schema.seconds),
        build_size=fields.number("build_size", schema.size),
        artifacts=_artifacts(fields),
        coexist=fields.flag("coexist"),
        gpu_at_build=fields.flag("gpu_at_build"),
        network=fields.text("network") or None,
        timeout=fields.number("timeout", schema.seconds),
        prefix=fields.text("prefix"),
        postfix=fields.values.get("postfix"),
        origin=fields.origin(),
        family_aliases=() if fields.values.get("tag") else tuple(name for name in aliases if ":" not in name),
        disabled=fields.flag("disabled"),
        share=_share(fields),
        tree=fields.recipe.tree,
    )


def _aliases(fields: _Fields, family: str, variant: str | None, *, default: bool) -> tuple[str, ...]:
    """Every other name of one package.

    With the header's alias `torch`, `pytorch:2.8-builder` is `torch:2.8-builder`, and, where 2.8 is the default,
    also `pytorch:builder` and `torch:builder`; `pytorch:2.8` is then also `pytorch` and `torch`.
    """
    given, version = fields.texts("aliases"), fields.text("version")
    if fields.values.get("tag") or not (version or variant):
        return () if variant else given
    others = [name for name in given if ":" not in name]
    tag = "-".join(part for part in (version, variant) if part)
    result = [f"{other}:{tag}" for other in others]
    if default and version:
        short = [f"{name}:{variant}" if variant else name for name in (family, *others)]
        result = [*short, *(() if variant else (name for name in given if ":" in name)), *result]
    return tuple(dict.fromkeys((*result, *(() if variant else fields.texts("own_aliases")))))


def _artifacts(fields: _Fields) -> Artifacts | None:
    value = fields.values.get("artifacts")
    if not value:
        return None
    if isinstance(value, str):
        value = {"dockerfile": value}
    dockerfile = _dockerfile(fields, "artifacts", fields.render(value["dockerfile"], "artifacts"))
    needs = (fields.render(item, "artifacts").strip() for item in schema.texts(value.get("depends")))
    return Artifacts(dockerfile, fields.depends("artifacts", tuple(item for item in needs if item)))


def _dockerfile(fields: _Fields, key: str, name: str) -> str:
    """The file of that name, which only a template can have made one that is not there."""
    if name:
        fields.recipe.check_path(fields.where.get(key, ""), name)
        if not files.is_file(fields.recipe.path / name):
            raise fields.error(key, f"`{shown(name)}` is not there")
    return name


def _build_flags(fields: _Fields) -> str:
    text = fields.rendered("build_flags")
    try:
        schema.build_flags(text)
    except ValueError as error:  # only what a template made; the rest was checked when read
        raise fields.error("build_flags", f"`build_flags`: {error}") from None
    return text


def _tests(fields: _Fields) -> tuple[str, ...]:
    """The tests, of which the first word is a file of the recipe."""
    tests = fields.texts("test") if "test" in fields.values else fields.recipe.tests
    for test in tests:
        if test not in fields.work.tests:  # most are those of every version
            fields.recipe.check_path(fields.where.get("test", ""), files.program(test))
            fields.work.tests.add(test)
    return tests


def _share(fields: _Fields) -> tuple[str, ...]:
    entries = fields.texts("share")
    try:
        for entry in entries:
            shared.check(entry)
    except RequirementSyntaxError as error:  # only what a template made; the rest was checked when read
        raise fields.error("share", error.message) from None
    return entries


def _docs(fields: _Fields) -> str:
    """Sentences, or the name of a README."""
    docs = fields.joined("docs")
    if docs.endswith(".md"):
        fields.recipe.check_path(fields.where.get("docs", ""), docs)
    return docs
