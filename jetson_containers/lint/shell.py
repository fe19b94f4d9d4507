"""Shell text as simple commands with their lines: enough of the grammar to judge how a recipe uses programs.

No expansion takes place. Quotes are dropped from words, `$VARIABLE` stays as written; commands inside `$(…)` are
listed too. Here-documents are not read as shell: each belongs to the command above it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from jetson_containers.core.text import is_number

DEEPEST = 20  # commands inside commands that are read
RESERVED = frozenset({"if", "then", "elif", "else", "while", "until", "do", "!", "time", "{"})
_ENDS = frozenset({"fi", "done", "esac"})
_OPERATORS = ("&&", "||", ";;&", ";;", ";&", "|&", ";", "|", "&", "\n", "(", ")")
_PLAIN = re.compile(r"""[^\\'"`$<>#\s&|;()0-9]+""")  # characters that mean themselves, wherever they stand
_REDIRECT = re.compile(r"(?:[0-9]*(?:>>|>\||>&|<&|<>|<<<|>|<)|&>>|&>)")
_DIGITS = re.compile(r"[0-9]+")
_HEREDOC = re.compile(r"[0-9]*<<(-?)\s*(['\"]?)([\w.-]+)\2")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=")
_FUNCTION = re.compile(r"(?:function\s+)?([\w.-]+)\s*\(\s*\)\s*|function\s+([\w.-]+)\s+(?=\{)")


@dataclass(frozen=True, kw_only=True)
class Command:
    """One simple command. `before` is the operator that leads to it; `assignments` stand before its first word."""

    words: tuple[str, ...]
    line: int
    end: int
    before: str = ""
    after: str = ""
    function: str = ""
    assignments: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()  # targets of `>`
    opens: bool = False  # begins a `{` group
    body: str = ""  # of its here-documents
    tested: bool = False  # the condition of an `if`, `while` or `until`, or behind `!`

    @property
    def name(self) -> str:
        """The program or function, without its directory; empty for mere assignments."""
        return self.words[0].rpartition("/")[2] if self.words else ""


@dataclass(kw_only=True)
class _Reader:
    text: str
    line: int
    function: str = ""
    at: int = 0
    commands: list[Command] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    word: str | None = None
    redirect: str = ""
    start: int = 0
    before: str = ""
    heredocs: list[tuple[str, bool]] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    pending: str = ""  # name of a function whose `{` is still to come
    depth: int = 0

    def read(self) -> list[Command]:
        while self.at < len(self.text):
            self._next()
        self._finish("")
        return self.commands

    def _next(self) -> None:
        char = self.text[self.at]
        if plain := _PLAIN.match(self.text, self.at):
            self._take(plain.end())
        elif char == "\\":
            self._escape()
        elif char in "'\"":
            self._quoted(char)
        elif char == "`" or self.text.startswith(("$(", "<(", ">("), self.at):
            self._substitution()
        elif self.text.startswith("${", self.at):
            self._take(_closing(self.text, self.at + 2, "{", "}"))
        elif char == "#" and self.word is None:
            self.at = _line_end(self.text, self.at)
        elif char in " \t":
            self._end_word()
            self.at += 1
        elif self._is_redirect():
            self._redirection()
        elif digits := _DIGITS.match(self.text, self.at):  # all at once: each asks how far the digits before `>` go
            self._take(digits.end())
        elif not self._operator():
            self._take(self.at + 1)

    def _take(self, until: int) -> None:
        """Add characters to the current word."""
        piece = self.text[self.at : until]
        if self.word is None and not self.words:
            self.start = self.start or self.line
        self.word = (self.word or "") + piece
        self.line += piece.count("\n")
        self.at = until

    def _escape(self) -> None:
        if self.text[self.at + 1 : self.at + 2] == "\n":
            self.line += 1
            self.at += 2
            return
        self.at += 1
        self._take(min(self.at + 1, len(self.text)))

    def _quoted(self, quote: str) -> None:
        end = self.at + 1
        while end < len(self.text) and self.text[end] != quote:
            if quote == '"' and self.text.startswith("$(", end):
                self._inner(self.text[end + 2 : _closing(self.text, end + 2, "(", ")") - 1], end)
                end = _closing(self.text, end + 2, "(", ")")
            else:
                end += 2 if quote == '"' and self.text[end] == "\\" else 1
        self.at += 1
        self._take(min(end, len(self.text)))
        self.at += 1

    def _substitution(self) -> None:
        if self.text[self.at] == "`":
            found = self.text.find("`", self.at + 1)
            end = len(self.text) if found < 0 else found + 1
            inner = self.text[self.at + 1 : end - 1]
        else:
            end = _closing(self.text, self.at + 2, "(", ")")
            inner = self.text[self.at + 2 : end - 1]
        self._inner(inner, self.at)
        self._take(end)

    def _inner(self, text: str, offset: int) -> None:
        if self.depth == DEEPEST:  # nobody writes so, and each level takes some of Python's stack
            return
        line = self.line + self.text.count("\n", self.at, offset)
        inner = _Reader(text=text, line=line, function=self._scope(), before="$(", depth=self.depth + 1)
        self.commands += inner.read()

    def _is_redirect(self) -> bool:
        found = _REDIRECT.match(self.text, self.at)
        return found is not None and (self.word is None or not is_number(found.group()[0]))

    def _redirection(self) -> None:
        self._end_word()
        here = _HEREDOC.match(self.text, self.at)
        if here and not self.text.startswith("<<<", self.at):
            self.heredocs.append((here[3], bool(here[1])))
            self.at = here.end()
            return
        found = _REDIRECT.match(self.text, self.at)
        assert found is not None  # noqa: S101 - `_is_redirect` has seen it
        self.redirect = found.group()
        self.at = found.end()

    def _operator(self) -> bool:
        found = next((item for item in _OPERATORS if self.text.startswith(item, self.at)), "")
        if not found:
            return False
        if "[[" in self.words and "]]" not in self.words and found in {"&&", "||", "(", ")"}:
            self._take(self.at + len(found))
            return True
        if found == "(" and self._is_function():
            return True
        if found == "(" and (self.word or "").endswith("="):  # an array
            self._take(_closing(self.text, self.at + 1, "(", ")"))
            return True
        self._finish(found)
        self.at += len(found)
        if found == "\n":
            self.line += 1
            self._skip_heredocs()
        return True

    def _is_function(self) -> bool:
        close = re.compile(r"\(\s*\)\s*").match(self.text, self.at)
        if close is None or not (self.word or self.words):
            return False
        self.pending = self.word or self.words[-1]
        self.words, self.word, self.start = [], None, 0
        self.line += close.group().count("\n")
        self.at = close.end()
        return True

    def _skip_heredocs(self) -> None:
        begin = self.at
        for name, chomp in self.heredocs:
            while self.at < len(self.text):
                end = _line_end(self.text, self.at)
                text = self.text[self.at : end]
                self.at = min(end + 1, len(self.text))
                self.line += 1
                if (text.lstrip("\t") if chomp else text) == name:
                    break
        if self.heredocs and self.commands:
            self.commands[-1] = replace(self.commands[-1], body=self.text[begin : self.at])
        self.heredocs = []

    def _end_word(self) -> None:
        if self.word is None:
            return
        word, self.word = self.word, None
        if self.redirect:
            if ">" in self.redirect:
                self.outputs.append(word)
            self.redirect = ""
        elif word == "{" and not self.words:
            self.scopes.append(self.pending or self._scope())
            self.pending = ""
            self.words.append(word)
        else:
            self.words.append(word)

    def _scope(self) -> str:
        return self.scopes[-1] if self.scopes else self.function

    def _finish(self, operator: str) -> None:
        self._end_word()
        if self.words or self.outputs:
            self._add(operator)
        if operator != "\n" or self.before not in {"&&", "||", "|"} or self.words:
            self.before = operator
        self.words, self.outputs, self.redirect, self.start = [], [], "", 0

    def _add(self, operator: str) -> None:
        words, leading = list(self.words), set[str]()
        scope = self._scope()
        while words and words[0] in RESERVED | _ENDS:
            leading.add(words.pop(0))
        if words[:1] == ["}"]:
            if self.scopes:
                self.scopes.pop()
            self.commands.append(
                Command(
                    words=("}",),
                    line=self.start or self.line,
                    end=self.line,
                    before=";",
                    after=operator,
                    function=scope,
                )
            )
            return
        assigned = 0
        while assigned < len(words) and _ASSIGNMENT.match(words[assigned]):
            assigned += 1
        self.commands.append(
            Command(
                words=tuple(words[assigned:]),
                line=self.start or self.line,
                end=self.line,
                before=self.before,
                after=operator,
                function=scope,
                assignments=tuple(words[:assigned]),
                outputs=tuple(self.outputs),
                opens="{" in leading,
                tested=bool(leading & {"if", "elif", "while", "until", "!"}),
            )
        )


def commands(text: str, line: int = 1) -> tuple[Command, ...]:
    """Read shell text that begins on `line`. Never fails: other text gives commands that match no rule."""
    return tuple(command for command in _Reader(text=text, line=line).read() if command.words or command.assignments)


def assignments(found: tuple[Command, ...]) -> dict[str, list[str]]:
    """What each variable is set to, anywhere; also by `for`, `local`, `export`, `readonly` and `declare`."""
    result: dict[str, list[str]] = {}
    for command in found:
        if command.name == "for" and command.words[2:3] == ("in",):
            result.setdefault(command.words[1], []).extend(command.words[3:])
        words = command.words[1:] if command.name in {"local", "export", "readonly", "declare"} else ()
        for word in (*command.assignments, *words):
            name, equals, value = word.partition("=")
            if equals:
                result.setdefault(name.rstrip("+"), []).append(value)
    return result


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _closing(text: str, at: int, opening: str, closing: str) -> int:
    """The position after the bracket that closes the one before `at`; quotes are respected."""
    depth = 1
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "'" and opening == "(":
            found = text.find("'", at + 1)
            at = len(text) if found < 0 else found
        elif char in (opening, closing):
            depth += 1 if char == opening else -1
            if not depth:
                return at + 1
        at += 1
    return len(text)
