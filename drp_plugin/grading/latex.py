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
     "tanh", "ln", "log", "exp"))
_CONSTANTS = {"\\pi": "pi", "\\infty": "inf", "\\infin": "inf"}
_GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta",
     "vartheta", "iota", "kappa", "lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon",
     "phi", "varphi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Sigma",
     "Phi", "Psi", "Omega", "ell"))
_TIMES = frozenset(("*", "\\cdot", "\\times", "\\ast"))
_DIVIDE = frozenset(("/", "\\div"))
_CLOSERS = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "\\lfloor": "\\rfloor",
            "\\lceil": "\\rceil", "\\lvert": "\\rvert"}
_IGNORED = frozenset(("\\left", "\\right", "\\,", "\\;", "\\:", "\\!", "\\ ", "\\quad", "\\qquad",
                      "\\displaystyle", "\\limits", "\\big", "\\Big", "\\bigl", "\\bigr", "~"))


def tokens_of(text: str) -> list[str]:
    """The tokens of a LaTeX formula; numbers are one token."""
    found = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            break
        at = match.end()
        token = match.group(1) or match.group(2) or match.group(3)
        if token not in _IGNORED:
            found.append(token)
        if len(found) > MAX_TOKENS:
            raise NotUnderstood("too long")
    return found


def parse(text: str) -> Node:
    """The expression that `text` writes; raises NotUnderstood for anything else."""
    parser = _Parser(tokens_of(text))
    node = parser.sum()
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
            token[0].isalnum() or token[0] == "." or token in ("(", "[", "{", "\\sqrt", "\\lfloor",
                                                               "\\lceil", "\\lvert", "\\overline",
                                                               "\\binom")
            or token in _CONSTANTS or token.lstrip("\\") in FUNCTIONS or token[1:] in _GREEK
            or token in ("\\frac", "\\dfrac", "\\tfrac", "\\cfrac", "\\dbinom", "\\tbinom"))

    def power(self) -> Node:
        base = self.postfix(self.atom())
        if self.peek() == "^":
            self.next()
            if self.peek() in ("\\circ", "\\degree"):
                self.next()
                return self.postfix(Node("deg", (base,)))
            if self.peek() == "{" and self.peek(1) == "\\circ" and self.peek(2) == "}":
                self.at += 3
                return self.postfix(Node("deg", (base,)))
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise NotUnderstood("too deep")
            exponent = self.argument()
            self.depth -= 1
            return self.postfix(Node("pow", (base, exponent)))
        return base

    def postfix(self, node: Node) -> Node:
        while self.peek() in ("!", "\\%", "%"):
            node = Node("fact" if self.next() == "!" else "percent", (node,))
        return node

    def argument(self) -> Node:
        """What TeX takes as an argument: a group, or one token (of a number, its first digit)."""
        token = self.peek()
        if token == "{":
            return self.group("{")
        if token == "-":        # not TeX, but what people mean by x^-1
            self.next()
            return Node("neg", (self.argument(),))
        if len(token) > 1 and token[0] != "." and _IS_NUMBER(token):
            self.tokens[self.at:self.at + 1] = [token[0], token[1:]]
        if token == "\\sqrt" or token.endswith("frac"):
            return self.atom()
        return self.atom(bare=True)

    def group(self, opener: str) -> Node:
        self.take(opener)
        node = self.sum()
        self.take(_CLOSERS[opener])
        return node

    def atom(self, bare: bool = False) -> Node:
        token = self.peek()
        if _IS_NUMBER(token):
            return self.number(bare)
        if token in ("(", "[", "{"):
            return self.group(token)
        if token in ("\\frac", "\\dfrac", "\\tfrac", "\\cfrac"):
            self.next()
            return Node("div", (self.argument(), self.argument()))
        if token == "\\sqrt":
            return self.root()
        if token in ("\\binom", "\\dbinom", "\\tbinom"):
            self.next()
            return Node("binom", (self.argument(), self.argument()))
        if token in ("\\lfloor", "\\lceil"):
            return Node("floor" if token == "\\lfloor" else "ceil", (self.group(token),))
        if token == "\\lvert":
            return Node("abs", (self.group(token),))
        if token == "|":
            self.next()
            node = self.sum()
            self.take("|")
            return Node("abs", (node,))
        if token in _CONSTANTS:
            self.next()
            return Node("const", name=_CONSTANTS[token])
        if token.lstrip("\\") in FUNCTIONS and len(token) > 1 and not bare:
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
        if self.peek() == "\\overline" and "." in token:
            return num(value + self.repeating(token))
        if "." not in token and self.peek() == "." and self.peek(1) == "\\overline":
            self.next()
            return num(value + self.repeating(token + "."))
        mixed = self.mixed() if "." not in token else None
        return num(value + mixed) if mixed is not None else num(value)

    def repeating(self, before: str) -> Fraction:
        """The value of 0.…\\overline{36}, where `before` holds the digits up to the bar."""
        self.take("\\overline")
        self.take("{")
        digits = self.next()
        self.take("}")
        if not _IS_NUMBER(digits) or "." in digits or len(digits) > 100:
            raise NotUnderstood("not a repeating decimal")
        places = len(before.partition(".")[2])
        return Fraction(int(digits), (10 ** len(digits) - 1) * 10 ** places)

    def mixed(self) -> Fraction | None:
        """The proper fraction of a mixed number such as 2\\frac{1}{4}, if one follows."""
        if self.peek() not in ("\\frac", "\\dfrac", "\\tfrac"):
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
        while self.starts_atom(self.peek()) and self.peek().lstrip("\\") not in FUNCTIONS \
                and self.peek() not in ("(", "["):
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
