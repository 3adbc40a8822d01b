"""Deciding whether two expressions are equal: exact rationals, else sixty digits.

Expressions with variables are compared at fixed rational points. Two different expressions that
people write as answers do not agree there, and equal ones always do.
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
DIGITS = 60
_TOLERANCE_DIGITS = 30

#: Values of the variables: odd primes over odd primes, so that nothing cancels by accident. The
#: last two points are negative: they tell |x| from x.
_POINTS = 4


class TooBig(ArithmeticError):
    """The value cannot be computed within the limits."""


class Undefined(ArithmeticError):
    """There is no value: a division by zero, say."""


Value = Any     # Fraction, or an mpmath number


@lru_cache(maxsize=1)
def _mp() -> Any:
    import mpmath

    context = mpmath.mp.clone()
    context.dps = DIGITS
    return context


def evaluate(node: Node, point: dict[str, Fraction]) -> Value:
    """The value of an expression; raises TooBig, Undefined or NotUnderstood."""
    if node.op == "num":
        assert node.value is not None
        return node.value
    if node.op == "var":
        return point[node.name]
    if node.op == "const":
        return _constant(node.name)
    if node.op == "fn":
        return _function(node, point)
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
    mp = _mp()
    if isinstance(value, Fraction):
        return mp.mpf(value.numerator) / value.denominator
    return value


def _checked(value: Fraction) -> Fraction:
    if value.numerator.bit_length() + value.denominator.bit_length() > MAX_BITS:
        raise TooBig
    return value


def _add(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _checked(a + b)
    return _float(a) + _float(b)


def _multiply(a: Value, b: Value) -> Value:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _checked(a * b)
    return _float(a) * _float(b)


def _divide(a: Value, b: Value) -> Value:
    if b == 0 if isinstance(b, Fraction) else abs(b) < _mp().mpf(10) ** -45:
        raise Undefined
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return _checked(a / b)
    return _float(a) / _float(b)


def _power(a: Value, b: Value) -> Value:
    if isinstance(b, Fraction) and isinstance(a, Fraction):
        if b.denominator == 1:
            return _whole_power(a, int(b))
        if a >= 0:
            exact = _exact_root(a, b.denominator)
            if exact is not None:
                return _whole_power(exact, b.numerator)
        elif b.denominator % 2:         # the real root, as school has it
            size = _power(-a, b)
            return _negate(size) if b.numerator % 2 else size
    if _magnitude(b) > 20 or _magnitude(_float(a)) > MAX_EXPONENT:
        raise TooBig
    base = _float(a)
    if base == 0:
        if _float(b).real <= 0:
            raise Undefined
        return Fraction(0)
    return _mp().power(base, _float(b))


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


def _exact_root(a: Fraction, degree: int) -> Fraction | None:
    top, bottom = _integer_root(a.numerator, degree), _integer_root(a.denominator, degree)
    return Fraction(top, bottom) if top is not None and bottom is not None else None


def _integer_root(n: int, degree: int) -> int | None:
    if n < 2:
        return n
    if degree > n.bit_length():
        return None
    if degree == 2:
        root = math.isqrt(n)
        return root if root * root == n else None
    low, high = 1, 1 << (n.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        if middle ** degree <= n:
            low = middle
        else:
            high = middle - 1
    return low if low ** degree == n else None


def _root(a: Value, degree: Value) -> Value:
    if not isinstance(degree, Fraction) or degree == 0:
        raise NotUnderstood("degree of a root")
    real = isinstance(a, Fraction) or not getattr(a, "imag", 0)
    if real and degree.denominator == 1 and degree % 2 == 1 and _float(a).real < 0:
        return _negate(_power(_negate(a), 1 / degree))      # the real root, as school has it
    return _power(a, 1 / degree)


def _negate(a: Value) -> Value:
    return -a


def _factorial(a: Value) -> Value:
    if not isinstance(a, Fraction) or a.denominator != 1 or a < 0:
        raise NotUnderstood("factorial")
    if a > 5000:
        raise TooBig
    return Fraction(math.factorial(int(a)))


def _binomial(a: Value, b: Value) -> Value:
    if not all(isinstance(x, Fraction) and x.denominator == 1 and x >= 0 for x in (a, b)):
        raise NotUnderstood("binomial")
    if a > 5000:
        raise TooBig
    return Fraction(math.comb(int(a), int(b)))


def _floor(a: Value) -> Value:
    return Fraction(math.floor(a) if isinstance(a, Fraction) else int(_mp().floor(a.real)))


def _ceil(a: Value) -> Value:
    return _negate(_floor(_negate(a)))


def _degrees(a: Value) -> Value:
    return _float(a) * _mp().pi / 180


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "add": _add, "mul": _multiply, "div": _divide, "pow": _power, "neg": _negate,
    "root": _root, "fact": _factorial, "binom": _binomial, "abs": abs, "floor": _floor,
    "ceil": _ceil, "deg": _degrees, "percent": lambda a: _multiply(a, Fraction(1, 100)),
}


def _function(node: Node, point: dict[str, Fraction]) -> Value:
    mp = _mp()
    argument = _float(evaluate(node.args[0], point))
    if _magnitude(argument) > 60:
        raise TooBig
    name = node.name
    if name in ("ln", "log"):
        if argument == 0:
            raise Undefined
        if name == "ln":
            return mp.log(argument)
        base = _float(evaluate(node.args[1], point)) if len(node.args) > 1 else mp.mpf(10)
        if base in (0, 1):
            raise Undefined
        return mp.log(argument) / mp.log(base)
    if name == "exp":
        return _power(mp.e + 0, argument)
    plain = {"arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan}.get(name) \
        or getattr(mp, name)
    try:
        return plain(argument)
    except (ZeroDivisionError, ValueError):
        raise Undefined from None


def close(a: Value, b: Value) -> bool:
    """Equality of two values: exact for rationals, else to thirty significant digits."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    x, y = _float(a), _float(b)
    scale = max(abs(x), abs(y))
    mp = _mp()
    return bool(scale < mp.mpf(10) ** -45
                or abs(x - y) <= scale * mp.mpf(10) ** -_TOLERANCE_DIGITS)


def points(names: set[str]) -> list[dict[str, Fraction]]:
    """Fixed values for the variables: the first two points positive, the others negative."""
    primes = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83)
    result = []
    for k in range(_POINTS):
        sign = 1 if k < 2 else -1
        result.append({name: sign * Fraction(primes[(3 * i + 5 * k + 4) % len(primes)],
                                             primes[(2 * i + 7 * k) % len(primes)])
                       + sign * Fraction(i, 10) for i, name in enumerate(sorted(names))})
    return result


def same(a: Node, b: Node) -> bool:
    """Whether two expressions are equal wherever both are defined and real.

    Raises TooBig or NotUnderstood when that cannot be told.
    """
    names = variables(a) | variables(b)
    if not names:
        return close(*_both(a, b, {}))
    if len(names) > 20:
        raise NotUnderstood("too many variables")
    compared = 0
    for k, point in enumerate(points(names)):
        try:
            x, y = _both(a, b, point)
        except Undefined:
            continue
        if k >= 2 and compared and (_complex(x) or _complex(y)):
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
    for point in points(variables(a) | variables(b)):
        x, y = _both(a, b, point)
        if close(x, Fraction(0)) or close(y, Fraction(0)):
            return close(x, y) and ratio is None and a == b
        here = _divide(x, y)
        if ratio is None:
            ratio = here
        elif not close(ratio, here):
            return False
    return ratio is not None and not (positive and _float(ratio).real < 0)


def _both(a: Node, b: Node, point: dict[str, Fraction]) -> tuple[Value, Value]:
    try:
        return evaluate(a, point), evaluate(b, point)
    except (OverflowError, MemoryError, RecursionError):
        raise TooBig from None
    except (ZeroDivisionError, ValueError) as error:
        if isinstance(error, NotUnderstood):
            raise
        raise Undefined from None


def _complex(value: Value) -> bool:
    imaginary = getattr(value, "imag", 0)
    return bool(abs(_float(imaginary)) > _mp().mpf(10) ** -40)
