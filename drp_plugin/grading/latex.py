"""A small LaTeX grammar for the expressions that answers consist of.

Whatever it does not know raises NotUnderstood, and a computer algebra system is asked instead:
it never guesses.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

#: An answer with more tokens or deeper nesting is not one that a person would write.
MAX_TOKENS = 600
MAX_DEPTH = 40


class NotUnderstood(ValueError):
    """The text is outside of the grammar."""


class Node(NamedTuple):
    """An expression: an operation and what it is applied to."""

    op: str
    args: tuple[Node, ...] = ()
    value: Fraction | None = None
    name: str = ""


#: A number in ASCII: Python counts ⁴, ₁ and ① as digits too, and a full stop is none.
_NUMBER = r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
_TOKEN = re.compile(rf"\s*(?:(\\[A-Za-z]+|\\[^A-Za-z])|({_NUMBER})|(.))", re.DOTALL)
_IS_NUMBER = re.compile(_NUMBER).fullmatch

FUNCTIONS = frozenset(
    ("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh",
     "tanh", "ln", "log", "exp", "cis"))
_CONSTANTS = {"\\pi": "pi", "\\infty": "inf"}
_GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta",
     "vartheta", "iota", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon",
     "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma",
     "Phi", "Psi", "Omega", "ell"))
_TIMES = frozenset(("*", "\\cdot", "\\times"))
_DIVIDE = frozenset(("/", "\\div"))
_CLOSERS = {"(": ")", "[": "]", "{": "}", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}


def parse(text: str) -> Node:
    """The expression that `text` writes; raises NotUnderstood for anything else."""
    tokens = [match[1] or match[2] or match[3] for match in _TOKEN.finditer(text.rstrip())]
    if len(tokens) > MAX_TOKENS:
        raise NotUnderstood("too long")
    parser = _Parser(tokens)
    node = parser.whole()
    if parser.at < len(parser.tokens):
        raise NotUnderstood(f"unexpected {parser.peek()!r}")
    return node


def num(value: int | Fraction) -> Node:
    """A literal."""
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

    def next(self) -> str:
        token = self.peek()
        if not token:
            raise NotUnderstood("unexpected end")
        self.at += 1
        return token

    def take(self, token: str) -> None:
        if self.next() != token:
            raise NotUnderstood(f"expected {token}")

    def whole(self) -> Node:
        """A sum, or TeX's a \\over b."""
        node = self.sum()
        if self.peek() in ("\\over", "\\choose"):
            node = Node("div" if self.next() == "\\over" else "binom", (node, self.sum()))
        return node

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotUnderstood("too deep")
        node = self.product()
        while self.peek() in ("+", "-"):
            sign = self.next()
            right = self.product()
            node = Node("add", (node, right if sign == "+" else Node("neg", (right,))))
        self.depth -= 1
        return node

    def product(self) -> Node:
        node = last = self.signed()
        while True:
            token = self.peek()
            if token in _TIMES:
                self.next()
                last = self.signed()
                node = Node("mul", (node, last))
            elif token in _DIVIDE:
                self.next()
                last = self.signed()
                node = Node("div", (node, last))
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
        while self.peek() in ("+", "-"):
            negative ^= self.next() == "-"
        node = self.power()
        return Node("neg", (node,)) if negative else node

    def starts_atom(self, token: str) -> bool:
        return bool(token) and (
            token[0].isalnum() or token[0] == "." or (token == "|" and not self.bars)
            or token in ("(", "[", "{", "\\sqrt", "\\lfloor", "\\lceil", "\\frac", "\\binom")
            or token in _CONSTANTS or token[1:] in FUNCTIONS or token[1:] in _GREEK)

    def power(self) -> Node:
        base = self.postfix(self.atom())
        if self.peek() == "^":
            self.next()
            if self.peek() == "\\circ":
                self.next()
                return self.postfix(Node("deg", (base,)))
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise NotUnderstood("too deep")
            exponent = self.argument(digits=True)
            self.depth -= 1
            return self.postfix(Node("pow", (base, exponent)))
        return base

    def postfix(self, node: Node) -> Node:
        while self.peek() in ("!", "\\%", "%"):
            node = Node("fact" if self.next() == "!" else "percent", (node,))
        return node

    def argument(self, *, digits: bool = False) -> Node:
        """What TeX takes as an argument: a group, or one token (of a number, its first digit).

        With `digits` all of a number: nobody who writes x^12 means x^1 times 2.
        """
        token = self.peek()
        if token in ("{", "("):
            return self.group(token)
        if token == "-":        # not TeX, but what people mean by x^-1
            self.next()
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
        if _IS_NUMBER(token):
            return self.number(bare)
        if token in ("(", "[", "{"):
            return self.group(token)
        if token in ("\\frac", "\\binom"):
            self.next()
            return Node("div" if token == "\\frac" else "binom",
                        (self.argument(), self.argument()))
        if token == "\\sqrt":
            return self.root()
        if token in ("\\lfloor", "\\lceil"):
            return Node("floor" if token == "\\lfloor" else "ceil", (self.group(token),))
        if token == "|":
            self.next()
            self.bars += 1
            node = self.sum()
            self.take("|")
            self.bars -= 1
            return Node("abs", (node,))
        if token in _CONSTANTS:
            self.next()
            return Node("const", name=_CONSTANTS[token])
        if token[1:] in FUNCTIONS and not bare:
            return self.function()
        if (len(token) == 1 and token.isalpha() and token.isascii()) or token[1:] in _GREEK:
            return self.variable()
        raise NotUnderstood(f"unexpected {token!r}")

    def number(self, bare: bool) -> Node:
        token = self.next()
        if len(token) > 1000:
            raise NotUnderstood("too many digits")
        value = Fraction(token)
        if bare:
            return num(value)
        mixed = self.mixed() if "." not in token else None
        return num(value + mixed) if mixed is not None else num(value)

    def mixed(self) -> Fraction | None:
        """The proper fraction of a mixed number such as 2\\frac{1}{4}, if one follows."""
        if self.peek() != "\\frac":
            return None
        start = self.at
        saved = list(self.tokens)
        self.next()
        top, bottom = self.argument(), self.argument()
        if top.op == bottom.op == "num" and top.value is not None and bottom.value \
                and 0 < top.value < bottom.value and self.peek() != "^" \
                and top.value.denominator == bottom.value.denominator == 1:
            return top.value / bottom.value
        self.at, self.tokens = start, saved
        return None

    def root(self) -> Node:
        self.take("\\sqrt")
        degree = num(2)
        if self.peek() == "[":
            degree = self.group("[")
        return Node("root", (self.argument(), degree))

    def function(self) -> Node:
        name = self.next().lstrip("\\")
        base: Node | None = None
        exponent: Node | None = None
        for _ in range(2):
            if self.peek() == "_":
                self.next()
                base = self.argument()
            elif self.peek() == "^":
                self.next()
                exponent = self.argument()
        argument = self.group(self.peek()) if self.peek() in ("(", "[", "{") else self.run()
        inverse = exponent is not None and exponent.op == "neg" and exponent.args[0].value == 1
        if inverse and name in ("sin", "cos", "tan"):
            return Node("fn", (argument,), name="arc" + name)
        node = Node("fn", (argument,) if base is None else (argument, base), name=name)
        return node if exponent is None else Node("pow", (node, exponent))

    def run(self) -> Node:
        """The argument of a function without brackets: \\sin 2x takes 2x, and stops at \\cos."""
        if self.peek() == "-":
            self.next()
            return Node("neg", (self.run(),))
        node = self.power()
        while self.starts_atom(self.peek()) and self.peek()[1:] not in FUNCTIONS \
                and self.peek() not in ("(", "[", "|"):
            node = Node("mul", (node, self.power()))
        return node

    def variable(self) -> Node:
        name = self.next().lstrip("\\")
        if self.peek() == "_":
            self.next()
            if self.peek() == "{":
                close = self.tokens.index("}", self.at) if "}" in self.tokens[self.at:] else -1
                if close < 0:
                    raise NotUnderstood("open subscript")
                name += "_" + "".join(self.tokens[self.at + 1:close])
                self.at = close + 1
            else:
                name += "_" + self.next()
        elif name in ("e", "i"):
            return Node("const", name=name)
        while self.peek() == "'":
            name += self.next()
        return Node("var", name=name)
