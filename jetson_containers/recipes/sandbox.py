"""Jinja2 within bounds: a template of a recipe can neither escape nor run for ever nor fill the memory.

What is counted is work, not time, so that a template that renders does so on any machine: each node of the template
is charged every time that a loop runs it, each filter and method by the size of what it is given. Values have a
largest size. What would get around the counting (macros, blocks, recursive loops) is not part of a recipe's templates.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from jetson_containers.recipes import budget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jinja2 import Template
    from jinja2.runtime import Context

# Work is counted in units (`budget.WORK`): a node, a filter, 16 characters or items of what it is given.
PER_TEMPLATE = 100  # units: compiling and starting one
LONGEST = 1 << 16  # characters of a value
MOST_ITEMS = 10_000  # of a value, those of the lists in it included
LONGEST_OUTPUT = 1 << 20  # characters, of a template or what it makes
LARGEST_NUMBER = 1 << 128
WIDEST = 999  # characters that `%` may pad to

_STATEMENTS = (nodes.Output, nodes.For, nodes.If, nodes.Assign, nodes.AssignBlock, nodes.FilterBlock, nodes.With)
FILTERS = frozenset(
    {
        "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "join", "last",
        "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "select",
        "selectattr", "sort", "string", "sum", "title", "trim", "unique", "upper",
    }
)  # fmt: skip


def _dotted(architectures: Iterable[int]) -> list[str]:
    """GPU architectures as torch writes them: 87 is `8.7`."""
    return [f"{sm // 10}.{sm % 10}" for sm in architectures]


def _gencode(architectures: Iterable[int]) -> list[str]:
    """GPU architectures as nvcc's `-gencode` takes them: 87 is `arch=compute_87,code=sm_87`."""
    return [f"arch=compute_{sm},code=sm_{sm}" for sm in architectures]


OWN_FILTERS: Mapping[str, Callable[[Iterable[int]], list[str]]] = {"dotted": _dotted, "gencode": _gencode}
_METHODS: dict[type, frozenset[str]] = {
    str: frozenset(
        {
            "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha", "isascii",
            "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "isupper", "join", "lower", "lstrip",
            "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip",
            "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper",
        }
    ),
    list: frozenset({"count", "index"}),
    tuple: frozenset({"count", "index"}),
    dict: frozenset({"get", "items", "keys", "values"}),
    LoopContext: frozenset({"changed", "cycle"}),
}  # fmt: skip


class TooMuch(SecurityError):  # noqa: N818 - it reads as what it is
    """A template that asks for more than any recipe needs."""


# What compiling or rendering a recipe's template can raise, all of which is the recipe's mistake: `1 / 0`, `sm + "x"`,
# an unsafe call, blocks nested deeper than Python's own compiler goes.
FAILURES = (
    TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError, MemoryError,
    SyntaxError, NameError, AssertionError,
)  # fmt: skip


def spend(units: int) -> None:
    """Count work. Raises TooMuch when the budget is used up."""
    if not budget.spend(units):
        raise TooMuch("the templates of this recipe take too much work: loops within loops?")


def _joined(parts: Iterable[str]) -> str:
    kept, length = [], 0
    for part in parts:
        kept.append(part)
        length += len(part)
        if length > LONGEST_OUTPUT:
            raise TooMuch(f"the result has more than {LONGEST_OUTPUT >> 20} MiB")
    return "".join(kept)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The environment of all templates of recipes."""

    concat = staticmethod(_joined)  # the name by which compiled templates know it
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, **options: Any) -> None:
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, **options)
        self.filters = {name: _charged(self, name, self.filters[name]) for name in FILTERS}
        self.filters.update(_counted=_counted, _concatenated=_concatenated, _made=_made)
        self.filters.update({name: _charged(self, name, function) for name, function in OWN_FILTERS.items()})
        tests: Mapping[str, Any] = self.tests
        self.tests = {name: _charged(self, "", test) for name, test in tests.items()}
        self.globals = {"range": _range, "dict": dict, "namespace": Namespace}

    def compiled(self, text: str) -> Template:
        """Compile a template. Raises one of FAILURES."""
        if len(text) > LONGEST_OUTPUT:
            raise TooMuch(f"the template has more than {LONGEST_OUTPUT >> 20} MiB")
        spend(PER_TEMPLATE + len(text) // 4)
        tree = self.parse(text)
        _refuse(tree)
        return self.from_string(_Counting().visit(tree))

    def is_safe_callable(self, obj: Any) -> bool:
        """Whether a template may call it: only what makes a bounded result."""
        if obj in (_range, dict, Namespace) or isinstance(obj, Undefined):  # the last says itself what is undefined
            return True
        owner = getattr(obj, "__self__", None)
        for kind, names in _METHODS.items():
            if isinstance(owner, kind):
                return getattr(obj, "__name__", "") in names
        return type(owner).__module__.partition(".")[0] in {"jetson_containers", "packaging"}

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - Jinja's names
        """Call what a template calls."""
        owner = getattr(__obj, "__self__", None)
        name = getattr(__obj, "__name__", "") if isinstance(owner, str) else ""
        if not __self.is_safe_callable(__obj):
            raise SecurityError(f"`{getattr(__obj, '__name__', '')}` is nothing that a template may call")
        args = tuple(list(item) if name == "join" else item for item in args)
        if name == "join":
            _check_join(owner, *args)
        elif name == "replace":
            _check_replace(owner, *args)
        spend(1 + sum(map(_size, (owner, *args, *kwargs.values()))) // 16)
        return _checked(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute what a template computes."""
        spend(1 + (_size(left) + _size(right)) // 16)
        if operator in _CHECKS:
            _CHECKS[operator](left, right)
        return _checked(super().call_binop(context, operator, left, right))


class _Counting(NodeTransformer):
    """Has every loop count its rounds, each for all that stands in it, and `~` look at what it makes."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - Jinja's name
        cost = nodes.Const(sum(1 for _ in node.find_all(nodes.Node)))
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_counted", [cost], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802 - Jinja's name
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, "_concatenated", [], [], None, None, lineno=node.lineno)

    def _literal(self, node: nodes.Expr) -> nodes.Expr:
        """A list of lists of lists can hold one value more often than can be counted."""
        self.generic_visit(node)
        stored = getattr(node, "ctx", "load") != "load"
        return node if stored else nodes.Filter(node, "_made", [], [], None, None, lineno=node.lineno)

    visit_List = visit_Tuple = visit_Dict = _literal  # noqa: N815 - Jinja's names


def _refuse(tree: nodes.Template) -> None:
    for node in tree.find_all(nodes.Stmt):
        recursive = isinstance(node, nodes.For) and node.recursive
        if recursive or not isinstance(node, _STATEMENTS):
            what = "a recursive loop" if recursive else f"`{type(node).__name__.lower()}`"
            raise TemplateSyntaxError(f"{what} is not part of a recipe's templates", node.lineno)


def _charged(environment: TemplateEnvironment, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter or test that counts what it is given and looks at what it makes; never run while compiling."""
    wants = getattr(getattr(function, "jinja_pass_arg", None), "name", "")

    @pass_context
    def charged(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        spend(1 + sum(map(_size, (value, *args, *kwargs.values()))) // 16)
        if name == "replace":
            _check_replace(value, *args, *kwargs.values())
        elif name == "join":
            value = list(value)
            _check_join(kwargs.get("d", args[0] if args else ""), value)
        elif name == "round":
            _check_number(*args, *kwargs.values())
        given = {"context": (context,), "eval_context": (context.eval_ctx,), "environment": (environment,)}
        return _checked(function(*given.get(wants, ()), value, *args, **kwargs))

    return charged


@pass_context
def _counted(_context: Context, iterable: Iterable[Any], cost: int = 1) -> Iterator[Any]:
    for item in iterable:
        spend(cost)
        yield item


@pass_context
def _concatenated(_context: Context, parts: list[Any]) -> str:
    _check_join("", parts)
    spend(1 + _size(parts) // 16)
    return str(_checked("".join(map(str, parts))))


@pass_context
def _made(_context: Context, value: Any) -> Any:
    spend(1 + _size(value) // 16)
    return _checked(value)


def _range(*bounds: int) -> range:
    result = range(*bounds)
    if abs(bounds[0] if bounds else 0) > LARGEST_NUMBER or result[MOST_ITEMS:]:
        raise TooMuch(f"`range` has more than {MOST_ITEMS} items")
    return result


def _size(value: Any) -> int:
    """Characters and items of a value, those of the values in it included, or more than any value may have."""
    if isinstance(value, str | range):
        return len(value)
    size, waiting = 0, [value]
    while waiting and size <= LONGEST:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list | tuple):
            waiting += item
        size += len(item) if isinstance(item, str) else 1
    return size


def _checked(value: Any) -> Any:
    """The value, if it is no larger than values may be."""
    if isinstance(value, int):
        _check_number(value, most=LARGEST_NUMBER)
    items = len(value) if isinstance(value, list | tuple | dict) else 0
    if items > MOST_ITEMS or _size(value) > LONGEST:
        raise _too_large()
    return value


def _check_number(*values: Any, most: int = 64) -> None:
    if any(isinstance(value, int) and abs(value) > most for value in values):
        raise TooMuch("a number with more digits than a recipe needs")


def _check_power(left: Any, right: Any) -> None:
    if isinstance(left, int):
        _check_number(right, left.bit_length() * abs(right) if isinstance(right, int) else 0, most=256)


def _check_times(left: Any, right: Any) -> None:
    for value, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(value, str | list | tuple) and _size(value) * times > LONGEST:
            raise _too_large()


def _check_format(left: Any, right: Any) -> None:
    """Judge `%` on text: fields no wider than a line may be, and not too many of too large a value."""
    if isinstance(left, str):
        wide = any(int(digits[:9]) > WIDEST for digits in re.findall("[0-9]+", left)) or "*" in left
        if wide or left.count("%") * (12 * _size(right) + WIDEST) > 16 * LONGEST_OUTPUT:
            raise _too_large()


def _check_replace(text: Any, old: Any = "", new: Any = "", *_: Any) -> None:
    text, old, new = str(text), str(old), str(new)
    if len(text) + (text.count(old) if old else len(text) + 1) * len(new) > LONGEST_OUTPUT:
        raise _too_large()


def _check_join(separator: Any, parts: Iterable[Any] = ()) -> None:
    if sum(_size(part) + _size(separator) for part in parts) > LONGEST_OUTPUT:
        raise _too_large()


_CHECKS: dict[str, Callable[[Any, Any], None]] = {"*": _check_times, "**": _check_power, "%": _check_format}


def _too_large() -> TooMuch:
    return TooMuch(f"a value has more than {LONGEST >> 10} KiB or {MOST_ITEMS} items")
