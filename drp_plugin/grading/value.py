"""Deciding whether two expressions are equal: exact rationals, else eighty digits.

Expressions with variables are compared at fixed points. Two different expressions that people
write as answers do not agree there, and equal ones always do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from drp_plugin.grading.latex import Node, NotUnderstood

#: Exact numbers may take this many bits; an exponent may be this large.
MAX_BITS = 200_000
MAX_EXPONENT = 1_000_000
DIGITS = 80
#: Two values are equal when they agree to this many digits: e^{\pi\sqrt{652}} comes as near to
#: a whole number as 44.
_AGREE = 60

#: Values of the variables: odd primes over odd primes, so that nothing cancels by accident. The
#: last two points are negative: they tell |x| from x.
_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83)
_POINTS = 4
_POSITIVE = 2


class TooBig(ArithmeticError):
    """The value cannot be computed within the limits."""


class Undefined(ArithmeticError):
    """There is no value: a division by zero, say."""


Value = Any     # Fraction, or an mpmath number
Point = dict[str, Fraction]


@lru_cache(maxsize=1)
def _mp() -> Any:
    import mpmath

    context = mpmath.mp.clone()
    context.dps = DIGITS
    return context


def evaluate(node: Node, point: Point) -> Value:
    """The value of an expression; raises TooBig, Undefined or NotUnderstood."""
    if node.op == "num":
        return node.value
    if node.op == "var":
        return point[node.name]
    if node.op == "const":
        return _constant(node.name)
    if node.op == "fn":
        return _function(node, point)
    if node.op == "pow":
        return _real_power(node, point)
    return _OPERATIONS[node.op](*(evaluate(arg, point) for arg in node.args))


def variables(node: Node) -> set[str]:
    """The names that occur in an expression."""
    if node.op == "var":
        return {node.name}
    return set().union(*map(variables, node.args)) if node.args else set()


def is_infinite(node: Node) -> int:
    """+1 or −1 for ±∞, 0 for anything else."""
    if node.op == "const" and node.name == "inf":
        return 1
    return -is_infinite(node.args[0]) if node.op == "neg" else 0


def _constant(name: str) -> Value:
    mp = _mp()
    if name == "inf":
        raise NotUnderstood("infinity within an expression")
    return {"pi": mp.pi, "e": mp.e, "i": mp.mpc(0, 1)}[name] + 0


def _float(value: Value) -> Any:
    if isinstance(value, Fraction):
        return _mp().mpf(value.numerator) / value.denominator
    return value


def _checked(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise TooBig
    return value


def as_float(value: Value) -> float:
    """Roughly the value; the real part of a complex one."""
    return float(value.real)


def add(a: Value, b: Value) -> Value:
    """The sum, exact for rationals."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _checked(a + b)
    return _float(a) + _float(b)


def multiply(a: Value, b: Value) -> Value:
    """The product, exact for rationals."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _checked(a * b)
    return _float(a) * _float(b)


def _divide(a: Value, b: Value) -> Value:
    if b == 0 if isinstance(b, Fraction) else abs(b) < _mp().mpf(10) ** -_AGREE:
        raise Undefined
    return multiply(a, 1 / b)


def _power(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction) and b.denominator == 1:
        return _whole_power(a, int(b))
    if _magnitude(b) > 20 or _magnitude(a) > MAX_EXPONENT:
        raise TooBig
    base = _float(a)
    if base == 0:
        if _float(b).real <= 0:
            raise Undefined
        return Fraction(0)
    return _mp().power(base, _float(b))


def _real_power(node: Node, point: Point) -> Value:
    """(−8)^{1/3} is −2, as school has it; (−1)^n is left to the complex numbers."""
    a, b = (evaluate(arg, point) for arg in node.args)
    if isinstance(a, Fraction) and a < 0 and isinstance(b, Fraction) and b.denominator % 2 \
            and b.denominator > 1 and not variables(node.args[1]):
        size = _power(-a, b)
        return -size if b.numerator % 2 else size
    return _power(a, b)


def _magnitude(value: Value) -> int:
    """About log2 |value|."""
    size = abs(_float(value))
    return int(_mp().mag(size)) if size else 0


def _whole_power(a: Fraction, n: int) -> Value:
    if a == 0 and n < 0:
        raise Undefined
    bits = max(a.numerator.bit_length(), a.denominator.bit_length())
    if a in (0, 1, -1):
        return a ** (n % 2 if a == -1 else min(abs(n), 1))
    if bits * abs(n) > MAX_BITS:
        raise TooBig
    return a ** n


def _root(a: Value, degree: Value) -> Value:
    if not isinstance(degree, Fraction) or degree == 0:
        raise NotUnderstood("degree of a root")
    if degree == 2 and isinstance(a, Fraction) and a >= 0:
        top, bottom = math.isqrt(a.numerator), math.isqrt(a.denominator)
        if top * top == a.numerator and bottom * bottom == a.denominator:
            return Fraction(top, bottom)
    odd = degree.denominator == 1 and degree % 2 == 1
    if odd and not getattr(a, "imag", 0) and _float(a).real < 0:
        return -_power(-a, 1 / degree)      # the real root, as school has it
    return _power(a, 1 / degree)


def _factorial(a: Value) -> Value:
    if isinstance(a, Fraction) and a.denominator == 1:
        if a < 0:
            raise Undefined
        if a > 20_000:
            raise TooBig
        return _checked(Fraction(math.factorial(int(a))))
    if _magnitude(a) > 14:
        raise TooBig
    return _mp().gamma(_float(a) + 1)       # so that n! can be compared at any point


def _binomial(n: Value, k: Value) -> Value:
    if all(isinstance(v, Fraction) and v.denominator == 1 for v in (n, k)):
        if k < 0 or n < 0:
            raise Undefined
        if n > 20_000:
            raise TooBig
        return _checked(Fraction(math.comb(int(n), int(k))))
    if _magnitude(n) > 14 or _magnitude(k) > 14:
        raise TooBig
    return _mp().binomial(_float(n), _float(k))


def _floor(a: Value) -> Value:
    return Fraction(math.floor(a) if isinstance(a, Fraction) else int(_mp().floor(a.real)))


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": add, "mul": multiply, "div": _divide, "neg": lambda a: -a,
    "root": _root, "fact": _factorial, "binom": _binomial, "abs": abs, "floor": _floor,
    "ceil": lambda a: -_floor(-a), "deg": lambda a: _float(a) * _mp().pi / 180,
    "percent": lambda a: multiply(a, Fraction(1, 100)),
}


def _function(node: Node, point: Point) -> Value:
    mp = _mp()
    argument = _float(evaluate(node.args[0], point))
    if _magnitude(argument) > 60:
        raise TooBig
    name = node.name
    if name in ("ln", "log"):
        base = _float(evaluate(node.args[1], point)) if len(node.args) > 1 else mp.mpf(10)
        if argument == 0 or base in (0, 1):
            raise Undefined
        return mp.log(argument) / (mp.log(base) if name == "log" else 1)
    if name == "exp":
        return _power(mp.e + 0, argument)
    if name == "cis":
        return mp.expj(argument)
    return getattr(mp, name.replace("arc", "a"))(argument)


def close(a: Value, b: Value) -> bool:
    """Equality of two values: exact for rationals, else to sixty significant digits."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    x, y = _float(a), _float(b)
    scale = max(abs(x), abs(y))
    tiny = _mp().mpf(10) ** -_AGREE
    return bool(scale < tiny or abs(x - y) <= scale * tiny)


def _whole(node: Node) -> set[str]:
    """The variables that stand for whole numbers: n in (−1)^n, \\cos n\\pi and n!."""
    found = set().union(*map(_whole, node.args)) if node.args else set()
    if node.op == "pow" and _signed(node.args[0]):
        found |= variables(node.args[1])
    if node.op == "fn" and len(variables(node)) == 1 and variables(node) < {"n", "k", "m"}:
        found |= variables(node)
    return found


def _signed(node: Node) -> bool:
    return node.op == "neg" or (node.op == "num" and (node.value or 0) < 0) \
        or (node.op in ("mul", "div") and any(map(_signed, node.args)))


def _points(a: Node, b: Node) -> list[Point]:
    """Fixed values for the variables: the first two points positive, the others negative."""
    names, whole = sorted(variables(a) | variables(b)), _whole(a) | _whole(b)
    result = []
    for k in range(_POINTS):
        sign = 1 if k < _POSITIVE else -1
        result.append({name: Fraction(4 + 3 * k + 2 * i) if name in whole else sign * (
            Fraction(_PRIMES[(3 * i + 5 * k + 4) % len(_PRIMES)],
                     _PRIMES[(2 * i + 7 * k) % len(_PRIMES)]) + Fraction(i, 10))
            for i, name in enumerate(names)})
    return result


def same(a: Node, b: Node) -> bool:
    """Whether two expressions are equal wherever both are defined and real.

    Raises TooBig, Undefined or NotUnderstood when that cannot be told.
    """
    names = variables(a) | variables(b)
    if len(names) > 20:
        raise NotUnderstood("too many variables")
    compared = 0
    for k, point in enumerate(_points(a, b) if names else [{}]):
        try:
            x, y = value_at(a, point), value_at(b, point)
        except Undefined:
            if names:
                continue
            raise
        if k >= _POSITIVE and compared and (_complex(x) or _complex(y)):
            continue        # √x at a negative x: outside of what the author had in mind
        if not close(x, y):
            return False
        compared += 1
    if not compared:
        raise NotUnderstood("nowhere defined")
    return True


def proportional(a: Node, b: Node, *, positive: bool = False) -> bool:
    """Whether a = k·b with a constant k ≠ 0: the equations a = 0 and b = 0 are the same.

    With `positive`, k > 0: the inequalities a < 0 and b < 0 are the same.
    """
    ratio: Value = None
    for point in _points(a, b):
        x, y = value_at(a, point), value_at(b, point)
        if close(x, Fraction(0)) or close(y, Fraction(0)):
            return close(x, y) and ratio is None and a == b
        here = _divide(x, y)
        if ratio is None:
            ratio = here
        elif not close(ratio, here):
            return False
    return ratio is not None and not (positive and _float(ratio).real < 0)


def value_at(node: Node, point: Point) -> Value:
    """`evaluate`, with every failure of arithmetic told as TooBig or Undefined."""
    try:
        return evaluate(node, point)
    except NotUnderstood:
        raise
    except (OverflowError, MemoryError, RecursionError):
        raise TooBig from None
    except (ZeroDivisionError, ValueError, TypeError):
        raise Undefined from None


def _complex(value: Value) -> bool:
    return bool(abs(_float(getattr(value, "imag", 0))) > _mp().mpf(10) ** -40)
