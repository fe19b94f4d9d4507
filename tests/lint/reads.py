"""What the code reads, found in its text: which fields of which class, in functions that something calls.

Types follow annotations: of parameters, fields, properties and results, and of values that are made or copied here.
That is enough for options and settings, which are passed on under annotated names.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Function = ast.FunctionDef | ast.AsyncFunctionDef
_COPIES = ("replace",)  # `replace(options, …)` has the class of its first argument
_READ_BY_METHOD = ("path", "origin")  # `settings.path("data")` reads the setting of that name


@dataclass(kw_only=True)
class Package:
    """The classes and functions of some modules. `fields` has the class of each member that is annotated with one."""

    trees: Mapping[str, ast.Module]
    classes: set[str] = field(default_factory=set)
    fields: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    results: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Learn the classes first: annotations name them."""
        nodes = [node for tree in self.trees.values() for node in ast.walk(tree)]
        self.classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
        for node in nodes:
            if isinstance(node, ast.ClassDef):
                self.fields[node.name].update(self._members(node))
            elif isinstance(node, Function) and (named := self.named(node.returns)):
                self.results[node.name] = named

    def _members(self, node: ast.ClassDef) -> Iterator[tuple[str, str]]:
        for member in ast.walk(node):
            if isinstance(member, ast.AnnAssign):
                target = member.target
                name = target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")
                yield name, self.named(member.annotation)
            elif isinstance(member, Function) and member.name == "__init__":
                yield from self._kept(member)
            elif isinstance(member, Function):
                yield member.name, self.named(member.returns)

    def _kept(self, function: Function) -> Iterator[tuple[str, str]]:
        """What `__init__` keeps of its parameters: `self._settings = settings`."""
        names = dict(self._parameters(function))
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
                given = [each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)]
                kinds = [names[each] for each in given if names.get(each)]
                if kinds:
                    yield node.targets[0].attr, kinds[0]

    def _parameters(self, function: Function) -> Iterator[tuple[str, str]]:
        arguments = function.args
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            yield one.arg, self.named(one.annotation)

    def named(self, annotation: ast.expr | None) -> str:
        """The class of ours that an annotation names, also as `X | None`; empty for another."""
        words = re.findall(r"[A-Za-z_]\w*", ast.unparse(annotation)) if annotation else []
        return next((word for word in words if word in self.classes), "")

    def kind(self, node: ast.expr, names: Mapping[str, str]) -> str:
        """The class of an expression; empty where it is not known."""
        if isinstance(node, ast.Name):
            return names.get(node.id, "")
        if isinstance(node, ast.Attribute):
            return self.fields.get(self.kind(node.value, names), {}).get(node.attr, "")
        if isinstance(node, ast.BoolOp):
            return next(filter(None, (self.kind(value, names) for value in node.values)), "")
        if isinstance(node, ast.Call):
            return self._kind_of_call(node, names)
        return ""

    def _kind_of_call(self, node: ast.Call, names: Mapping[str, str]) -> str:
        if isinstance(node.func, ast.Attribute) and (owner := self.kind(node.func.value, names)):
            return self.fields[owner].get(node.func.attr, "")
        called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if called in _COPIES and node.args:
            return self.kind(node.args[0], names)
        return called if called in self.classes else self.results.get(called, "")

    def reads(self) -> set[tuple[str, str]]:
        """Class and field of each read in code that is reachable: `options.jobs`, `settings["jobs"]`."""
        reached = self.reachable()
        found: set[tuple[str, str]] = set()
        for tree in self.trees.values():
            for owner, function in _functions(tree):
                if function.name in reached:
                    found.update(self._reads_in(function, owner))
        return found

    def _reads_in(self, function: Function, owner: str) -> Iterator[tuple[str, str]]:
        names = {**dict(self._parameters(function)), "self": owner}
        for node in ast.walk(function):  # closures know the names around them
            if isinstance(node, Function | ast.Lambda) and node is not function:
                names = {**names, **{one.arg: self.named(one.annotation) for one in node.args.args}}
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                names[node.targets[0].id] = self.kind(node.value, names)
            elif isinstance(node, ast.NamedExpr) and isinstance(node.target, ast.Name):
                names[node.target.id] = self.kind(node.value, names)
        for node in ast.walk(function):
            yield from self._read(node, names)

    def _read(self, node: ast.AST, names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield self.kind(node.value, names), node.attr
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            yield self.kind(node.value, names), str(node.slice.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            first = node.args[0] if node.args else None
            if node.func.attr in _READ_BY_METHOD and isinstance(first, ast.Constant):
                yield self.kind(node.func.value, names), str(first.value)

    def reachable(self) -> set[str]:
        """The names of functions that commands, module code or decorators use, or those use in turn."""
        bodies: dict[str, set[str]] = defaultdict(set)
        reached: set[str] = set()
        for tree in self.trees.values():
            for _, function in _functions(tree):
                bodies[function.name] |= _mentioned(function)
                if function.decorator_list or function.name.startswith("__"):
                    reached.add(function.name)
            reached |= _mentioned(_without_functions(tree))
        todo = list(reached)
        while todo:
            new = bodies.get(todo.pop(), set()) - reached
            reached |= new
            todo += new
        return reached


def _functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """The functions of a module and of its classes, each with its class; those inside a function belong to it."""
    for node in tree.body:
        if isinstance(node, Function):
            yield "", node
        elif isinstance(node, ast.ClassDef):
            yield from ((node.name, member) for member in node.body if isinstance(member, Function))


def _without_functions(tree: ast.Module) -> ast.Module:
    """What runs when a module is imported."""
    plain = [node for node in tree.body if not isinstance(node, Function | ast.ClassDef)]
    members = [
        member
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for member in node.body
        if not isinstance(member, Function)
    ]
    return ast.Module(body=[*plain, *members], type_ignores=[])


def _mentioned(node: ast.AST) -> set[str]:
    """The names in a piece of code, `COMMANDS = {"info": ("info:info", …)}` of lazy imports included."""
    found = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            found.add(each.id)
        elif isinstance(each, ast.Attribute):
            found.add(each.attr)
        elif isinstance(each, ast.Constant) and isinstance(each.value, str) and re.fullmatch(r"\w+:\w+", each.value):
            found.add(each.value.partition(":")[2])
    return found
