"""A small LaTeX grammar for the expressions that answers consist of. It never guesses: anything
that it does not know raises NotUnderstood, and a computer algebra system is asked instead. Its
input is what `tidy` returns."""

import re
from fractions import Fraction
from typing import NamedTuple

from drp_plugin.resources import Patterns, table

#: In ASCII: Python counts ⁴, ₁ and ① as digits too, and a full stop is no number.
_IS_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+").fullmatch
_TABLES = table("grading.yaml")["tables"]
_P = Patterns("grading.yaml", "latex")
_FUNCTIONS = frozenset(_TABLES["functions"].split())
_GREEK = frozenset(_TABLES["greek"].split())
_FIGURES: dict[str, list[int]] = _TABLES["figures"]
_CONSTANTS = {"\\pi": "pi", "\\infty": "inf", "e": "e", "i": "i"}
_TIMES = {"*": "mul", "\\cdot": "mul", "\\times": "mul", "/": "div", "\\div": "div"}
_CLOSERS = {"(": ")", "[": "]", "{": "}", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
MAX_TOKENS = 600  # No person writes an answer of more tokens, or of deeper nesting
MAX_DEPTH = 40


class NotUnderstood(ArithmeticError):
    """The text is outside of the grammar."""


class Node(NamedTuple):
    """An expression: an operation and what it is applied to."""

    op: str
    args: "tuple[Node, ...]" = ()
    value: Fraction | None = None
    name: str = ""


def parse(text: str) -> Node:
    """The expression that `text` writes; raises NotUnderstood for anything else."""
    tokens = [match[1] or match[2] or match[3] for match in _P.token.finditer(text.rstrip())]
    if len(tokens) > MAX_TOKENS:
        raise NotUnderstood("too long")
    parser = _Parser(tokens)
    node = parser.whole()
    if parser.peek():
        raise NotUnderstood(f"unexpected {parser.peek()!r}")
    return node


def num(value: int | Fraction) -> Node:
    return Node("num", value=Fraction(value))


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0       # inside of |…| the next bar closes it

    def peek(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def accept(self, *tokens: str) -> str:
        """The next token, taken, if it is one of these; else ''."""
        found = self.peek() if self.peek() in tokens else ""
        self.at += bool(found)
        return found

    def take(self, token: str) -> None:
        if not self.accept(token):
            raise NotUnderstood(f"expected {token}")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotUnderstood("too deep")

    def whole(self) -> Node:
        """A sum, or TeX's a \\over b."""
        node = self.sum()
        mark = self.accept("\\over", "\\choose")
        return Node("div" if mark == "\\over" else "binom", (node, self.sum())) if mark else node

    def sum(self) -> Node:
        self.deeper()
        node = self.product()
        while sign := self.accept("+", "-"):
            right = self.product()
            node = Node("add", (node, right if sign == "+" else Node("neg", (right,))))
        self.depth -= 1
        return node

    def product(self) -> Node:
        node = last = self.signed()
        while True:
            token = self.peek()
            if token in _TIMES:
                self.at += 1
                last = self.signed()
                node = Node(_TIMES[token], (node, last))
            elif self.starts_atom(token):
                if last.op in ("num", "neg") and _IS_NUMBER(
                        self.peek(1) if token == "{" else token):
                    raise NotUnderstood("two numbers side by side")     # 2{5} shows as 25
                last = self.power()
                node = Node("mul", (node, last))
            else:
                return node

    def signed(self) -> Node:
        negative = False
        while sign := self.accept("+", "-"):
            negative ^= sign == "-"
        node = self.power()
        return Node("neg", (node,)) if negative else node

    def starts_atom(self, token: str) -> bool:
        return bool(token) and (
            token[0].isalnum() or token[0] == "." or (token == "|" and not self.bars)
            or token in ("(", "[", "{", "\\sqrt", "\\lfloor", "\\lceil", "\\frac", "\\binom")
            or token in _CONSTANTS
            or any(token[1:] in names for names in (_FUNCTIONS, _GREEK, _FIGURES)))

    def power(self) -> Node:
        base = self.postfix(self.atom())
        if not self.accept("^"):
            return base
        if self.accept("\\circ"):
            return self.postfix(Node("deg", (base,)))
        self.deeper()
        exponent = self.argument(digits=True)
        self.depth -= 1
        return self.postfix(Node("pow", (base, exponent)))

    def postfix(self, node: Node) -> Node:
        while mark := self.accept("!", "\\%", "%"):
            node = Node("fact" if mark == "!" else "percent", (node,))
        return node

    def argument(self, *, digits: bool = False) -> Node:
        """What TeX takes as an argument: a group, or one token (of a number, its first digit). With
        `digits` all of a number: nobody who writes x^12 means x^1 times 2."""
        token = self.peek()
        if token in ("{", "("):
            return self.group(token)
        if self.accept("-"):        # not TeX, but what people mean
            return Node("neg", (self.argument(digits=digits),))
        if len(token) > 1 and token[0] != "." and _IS_NUMBER(token) and not digits:
            self.tokens[self.at:self.at + 1] = [token[0], token[1:]]
        return self.atom(bare=token not in ("\\sqrt", "\\frac"))

    def group(self, opener: str) -> Node:
        self.take(opener)
        outer, self.bars = self.bars, 0
        node = self.whole()
        self.bars = outer
        self.take(_CLOSERS[opener])
        return node

    def atom(self, bare: bool = False) -> Node:
        token = self.peek()
        if len(token) > MAX_TOKENS:
            raise NotUnderstood("too many digits")
        if token in _CLOSERS:
            node = self.group(token)
            return Node({"\\lfloor": "floor", "\\lceil": "ceil"}[token], (node,)) \
                if token[0] == "\\" else node
        if token[1:] in _FUNCTIONS and bare:
            raise NotUnderstood(f"unexpected {token!r}")
        self.at += 1
        if _IS_NUMBER(token):
            return num(Fraction(token))
        if token in ("\\frac", "\\binom"):
            return Node("div" if token == "\\frac" else "binom", (self.argument(), self.argument()))
        if token == "\\sqrt":
            degree = self.group("[") if self.peek() == "[" else num(2)
            return Node("root", (self.argument(), degree))
        if token == "|":
            self.bars += 1
            node = self.sum()
            self.take("|")
            self.bars -= 1
            return Node("abs", (node,))
        if token[1:] in _FUNCTIONS:
            return self.function(token[1:])
        if token in _CONSTANTS and (token[0] == "\\" or self.peek() != "_"):
            return Node("const", name=_CONSTANTS[token])
        if (len(token) == 1 and token.isalpha() and token.isascii()) or token[1:] in _GREEK:
            return self.variable(token.lstrip("\\"))
        if token[1:] in _FIGURES:
            return self.figure(token[1:])
        raise NotUnderstood(f"unexpected {token!r}")

    def figure(self, kind: str) -> Node:
        points, opened = list[str](), self.accept("{")
        while "A" <= self.peek() <= "Z":
            points.append(self.atom().name)
            while prime := self.accept("'"):
                points[-1] += prime
        if len(points) not in _FIGURES[kind] or (opened and not self.accept("}")):
            raise NotUnderstood(f"{len(points)} points")
        points = sorted(points) if kind == "triangle" else min(points, points[::-1])
        return Node("var", name=f"\\{kind} {' '.join(points)}")

    def function(self, name: str) -> Node:
        base = exponent = None
        while mark := self.accept("_", "^"):
            if mark == "_":
                base = self.argument()
            else:
                exponent = self.argument()
        argument = self.group(self.peek()) if self.peek() in ("(", "[", "{") else self.run()
        if exponent == Node("neg", (num(1),)) and name in ("sin", "cos", "tan"):
            return Node("fn", (argument,), name="arc" + name)
        node = Node("fn", (argument,) if base is None else (argument, base), name=name)
        return node if exponent is None else Node("pow", (node, exponent))

    def run(self) -> Node:
        """The argument of a function without brackets: \\sin 2x takes 2x, and stops at \\cos."""
        node = self.power()
        while self.starts_atom(self.peek()) and self.peek()[1:] not in _FUNCTIONS \
                and self.peek() not in ("(", "[", "|"):
            node = Node("mul", (node, self.power()))
        return node

    def variable(self, name: str) -> Node:
        if self.accept("_"):
            if self.accept("{"):
                if "}" not in self.tokens[self.at:]:
                    raise NotUnderstood("open subscript")
                close = self.tokens.index("}", self.at)
                name += "_" + "".join(self.tokens[self.at:close])
                self.at = close + 1
            else:
                name += "_" + self.peek()
                self.at += 1
        if self.tokens[self.at:self.at + 3] == ["(", "0", ")"]:     # a value at 0, no product
            name, self.at = f"{name}(0)", self.at + 3
        return Node("var", name=name)
