"""Deciding whether two expressions are equal: exact rationals, else eighty digits. Expressions with
variables are compared at fixed points: equal ones always agree there, and two different ones that
people write as answers do not."""

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from drp_plugin.grading.latex import Node, NotUnderstood

Value = Any     # Fraction, or an mpmath number; the two can be added and multiplied
Point = dict[str, Value]
MAX_BITS = 200_000  # Of an exact number; the logarithm of a power may be as large
MAX_EXPONENT = 1_000_000
_AGREE = 60  # Digits in which equal values agree: e^{\pi\sqrt{652}} is whole to forty-four
#: Values of the variables: odd primes over odd primes, so that nothing cancels by accident. The
#: last two of the four points are negative: they tell |x| from x.
_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83)


class TooBig(ArithmeticError):
    """The value cannot be computed within the limits."""


class Undefined(ArithmeticError):
    """There is no value: a division by zero, say."""


@lru_cache(maxsize=1)
def _mp() -> Any:
    import mpmath

    context = mpmath.mp.clone()
    context.dps = 80
    return context


def value_of(node: Node, point: Point) -> Value:
    """The value of an expression; raises TooBig, Undefined or NotUnderstood."""
    try:
        return _evaluate(node, point)
    except (OverflowError, MemoryError, RecursionError):
        raise TooBig from None
    except (ZeroDivisionError, ValueError, TypeError):
        raise Undefined from None


def _evaluate(node: Node, point: Point) -> Value:
    if node.op == "num":
        return node.value
    if node.op == "var":
        return point[node.name]
    if node.op == "const":
        mp = _mp()
        return {"pi": mp.pi, "e": mp.e, "i": mp.mpc(0, 1), "inf": mp.inf}[node.name] + 0
    args = [_evaluate(arg, point) for arg in node.args]
    if node.op == "fn":
        return _function(node.name, *map(_mp().mpmathify, args))
    if node.op == "pow" and not variables(node.args[1]):
        return _real_power(*args)
    value = _OPERATIONS[node.op](*args)
    if isinstance(value, Fraction) and value.numerator.bit_length() \
            + value.denominator.bit_length() > MAX_BITS:
        raise TooBig
    return value


def variables(node: Node) -> set[str]:
    if node.op == "var":
        return {node.name}
    return set().union(*map(variables, node.args)) if node.args else set()


def _whole(*values: Value) -> bool:
    return all(isinstance(v, Fraction) and v.denominator == 1 for v in values)


def _magnitude(value: Value) -> int:
    """About log2 |value|."""
    return int(_mp().mag(_mp().mpmathify(value))) if value else 0


def _divide(a: Value, b: Value) -> Value:
    if close(b, Fraction(0)):
        raise Undefined
    return a * (1 / b)


def _power(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and _whole(b):
        if a in (1, -1):
            return a ** (int(b) % 2)
        if max(a.numerator.bit_length(), a.denominator.bit_length()) * (abs(b) if a else 0) \
                > MAX_BITS:
            raise TooBig
        return a ** int(b)
    if _magnitude(b) > 20 or _magnitude(a) > MAX_EXPONENT:
        raise TooBig
    if not a and b.real <= 0:
        raise Undefined
    return _mp().power(a, b)


def _real_power(a: Value, b: Value) -> Value:
    """(−8)^{1/3} is −2, as school has it; (−1)^n is left to the complex numbers."""
    if isinstance(b, Fraction) and not getattr(a, "imag", 0) and a < 0 \
            and b.denominator % 2 and b.denominator > 1:
        return (-1) ** b.numerator * _power(-a, b)
    return _power(a, b)


def _gamma(exact: Callable[..., int], smooth: str, *args: Value) -> Value:
    """n! or a binomial, also for arguments that are not whole: n! is compared at any point."""
    if any(_magnitude(arg) > 14 for arg in args):
        raise TooBig
    if _whole(*args):
        return Fraction(exact(*map(int, args)))
    return getattr(_mp(), smooth)(*map(_mp().mpmathify, args))


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": operator.add, "mul": operator.mul, "neg": operator.neg, "abs": abs, "div": _divide,
    "pow": _power, "root": lambda a, degree: _real_power(a, 1 / degree),
    "fact": lambda a: _gamma(math.factorial, "factorial", a),
    "binom": lambda n, k: _gamma(math.comb, "binomial", n, k),
    "floor": lambda a: Fraction(int(_mp().floor(a.real)) if not isinstance(a, Fraction)
                                else math.floor(a)),
    "ceil": lambda a: -_OPERATIONS["floor"](-a),
    "deg": lambda a: a * _mp().pi / 180, "percent": lambda a: a / 100,
}


def _function(name: str, argument: Value, base: Value = 10) -> Value:
    mp = _mp()
    if _magnitude(argument) > 60:
        raise TooBig
    if name in ("ln", "log"):
        if argument == 0 or base in (0, 1):
            raise Undefined
        return mp.log(argument) / (mp.log(base) if name == "log" else 1)
    if name == "exp":
        return _power(mp.e + 0, argument)
    return mp.expj(argument) if name == "cis" else getattr(mp, name.replace("arc", "a"))(argument)


def close(a: Value, b: Value) -> bool:
    """Equality of two values: exact for rationals, else to sixty significant digits."""
    if a == b or (isinstance(a, Fraction) and isinstance(b, Fraction)):
        return bool(a == b)
    x, y = _mp().mpmathify(a), _mp().mpmathify(b)
    scale, tiny = max(abs(x), abs(y)), _mp().mpf(10) ** -_AGREE
    return bool(scale < tiny or (_mp().isfinite(scale) and abs(x - y) <= scale * tiny))


def _integers(node: Node) -> set[str]:
    """The variables that stand for whole numbers: n in (−1)^n and in \\cos n\\pi."""
    found = set().union(*map(_integers, node.args)) if node.args else set()
    if (node.op == "pow" and _signed(node.args[0])) or (
            node.op == "fn" and len(variables(node)) == 1 and variables(node) <= {"n", "k", "m"}):
        found |= variables(node.args[-1])
    return found


def _signed(node: Node) -> bool:
    return node.op == "neg" or (node.op in ("mul", "div") and any(map(_signed, node.args)))


def _points(a: Node, b: Node) -> list[Point]:
    """Fixed values for the variables: the first two points positive, the others negative."""
    names, whole, n = sorted(variables(a) | variables(b)), _integers(a) | _integers(b), len(_PRIMES)
    return [{name: Fraction(4 + 3 * k + 2 * i) if name in whole else (1 if k < 2 else -1) * (
        Fraction(_PRIMES[(3 * i + 5 * k + 4) % n], _PRIMES[(2 * i + 7 * k) % n]) + Fraction(i, 10))
        for i, name in enumerate(names)} for k in range(4 if names else 1)]


def same(a: Node, b: Node) -> bool | None:
    """Whether two expressions are equal wherever both are defined and real; None for expressions
    outside the grammar. Values too large to compute are compared as written."""
    compared = 0
    try:
        for k, point in enumerate(_points(a, b)):
            try:
                x, y = value_of(a, point), value_of(b, point)
            except Undefined:
                continue
            if k > 1 and compared and not close(abs(x.imag) + abs(y.imag) + 1, Fraction(1)):
                continue    # √x at a negative x: not what the author had in mind
            if not close(x, y):
                return False
            compared += 1
    except TooBig:
        return a == b
    except NotUnderstood:
        return None
    return True if compared else None if variables(a) | variables(b) else a == b


def proportional(a: Node, b: Node, *, positive: bool = False) -> bool | None:
    """Whether a = k·b with a constant k ≠ 0: the equations a = 0 and b = 0 are the same; with
    k > 0 (`positive`), so are the inequalities a < 0 and b < 0. None where it cannot be told."""
    try:
        pairs = [(value_of(a, point), value_of(b, point)) for point in _points(a, b)]
        if any(close(value, Fraction(0)) for pair in pairs for value in pair):
            return a == b
        ratio, *others = (_divide(x, y) for x, y in pairs)
    except ArithmeticError:
        return None
    return all(close(ratio, other) for other in others) and not (positive and ratio.real < 0)


