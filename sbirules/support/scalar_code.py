"""A function that works on tensors element by element, as a function of plain numbers that numba can compile.

`torch.fx` writes down which operations a function does to what it is given; each of those that are known here has a
counterpart for one number. A function that does anything else, branches on values, or draws random numbers has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import fx

__all__ = ["anew", "compiled_from", "scalar_source"]

POINTS = 32  # at which the two are held against each other
INFIX = {
    "add": "+",
    "sub": "-",
    "subtract": "-",
    "mul": "*",
    "multiply": "*",
    "truediv": "/",
    "div": "/",
    "divide": "/",
    "true_divide": "/",
    "pow": "**",
    "gt": ">",
    "lt": "<",
    "ge": ">=",
    "le": "<=",
    "eq": "==",
    "ne": "!=",
    "and_": "and",
    "or_": "or",
    "logical_and": "and",
    "logical_or": "or",
}
PREFIX = {"neg": "-", "negative": "-", "pos": "+", "invert": "not ", "logical_not": "not "}
NAMED = {
    **{name: f"np.{name}" for name in ("exp", "expm1", "log", "log1p", "log2", "sqrt", "tanh", "sin", "cos", "atan")},
    **{name: f"np.{name}" for name in ("floor", "ceil", "sinh", "cosh", "square")},
    "atan": "np.arctan",
    "arctan": "np.arctan",
    "abs": "abs",
    "absolute": "abs",
    "sign": "np.sign",
    "float": "_number",
    "double": "_number",
    "relu": "_relu",
    "sigmoid": "_sigmoid",
    "maximum": "_larger",
    "minimum": "_smaller",
    "where": "_where",
    "clamp": "_clamp",
    "clip": "_clamp",
}
HELPERS = """
def _number(x):
    return 1.0 * x

def _relu(x):
    return x if x > 0 or x != x else 0.0

def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))

def _larger(a, b):
    return a if a > b or a != a else b

def _smaller(a, b):
    return a if a < b or a != a else b

def _where(which, a, b):
    return a if which else b

def _clamp(x, low, high):
    return high if x > high else (low if x < low else x)
"""


def scalar_source(
    function: Callable[[Any, Any], Any], keys: Sequence[str], attributes: Sequence[str], *, seed: int = 0
) -> str | None:
    """Source of `change(keys, p, *attributes)`, the same for one element; None where there is none.

    Arguments:
        function: Of a mapping of tensors by key, and of an object with tensors as attributes, all of one shape.
        keys: Of the mapping, which the source reads as row `p` of a matrix, columns in this order.
        attributes: Of the object.
        seed: Of the points at which the two are held against each other.
    """
    try:
        first, again = (_written(function, keys, attributes) for _ in range(2))
        # what differs between two looks is random, or remembers
        same = first == again and _agrees(function, first, keys, attributes, seed)
    except (
        Exception
    ):  # whatever own code, its tracing or its compiling may raise: it then runs as it is, and says so itself
        return None
    return first if same else None


@lru_cache(maxsize=64)
def compiled_from(source: str) -> Callable[..., Any]:
    """`change` of a source, compiled with its helpers."""
    from sbirules.support.compiling import for_one_process

    space: dict[str, Any] = {}
    exec("import numpy as np\n" + HELPERS, space)
    for name in [n for n in space if n.startswith("_") and not n.startswith("__")]:
        space[name] = for_one_process(space[name])
    exec(source, space)
    change: Callable[..., Any] = for_one_process(space["change"])
    return change


@lru_cache(maxsize=8)
def anew(kernel: Any) -> Callable[..., Any]:
    """A compiled function as one that takes functions of `compiled_from`, which are different in each process."""
    from sbirules.support.compiling import for_one_process

    fresh: Callable[..., Any] = for_one_process(kernel.py_func)
    return fresh


class _Unknown(Exception):
    """An operation without a counterpart."""


def _written(function: Callable[[Any, Any], Any], keys: Sequence[str], attributes: Sequence[str]) -> str:
    def whole(theta: Any, traces: Any) -> Any:
        return function(theta, traces)

    names: dict[fx.Node, str] = {}
    lines = [f"def change(values, p, {', '.join(attributes)}):"]
    for k, node in enumerate(fx.Tracer().trace(whole).nodes):
        if node.op == "placeholder":
            continue
        if node.op == "output":
            lines.append(f"    return {_operand(node.args[0], names)}")
            continue
        if node.op not in ("call_function", "call_method"):
            raise _Unknown(node.op)
        names[node] = f"n{k}"
        lines.append(f"    n{k} = {_line(node, names, keys, attributes)}")
    return "\n".join(lines) + "\n"


def _line(node: fx.Node, names: Mapping[fx.Node, str], keys: Sequence[str], attributes: Sequence[str]) -> str:
    name = node.target if isinstance(node.target, str) else node.target.__name__
    args = list(node.args)
    source = args[0] if args else None
    if isinstance(source, fx.Node) and source.op == "placeholder":
        if name == "getitem" and source.name == "theta" and args[1] in keys:
            return f"values[p, {list(keys).index(args[1])}]"  # type: ignore[arg-type]
        if name == "getattr" and source.name == "traces" and args[1] in attributes:
            return str(args[1])
        raise _Unknown(name)
    if name in ("clamp", "clip"):
        given = dict(zip(("min", "max"), args[1:], strict=False)) | dict(node.kwargs)
        low, high = given.pop("min", None), given.pop("max", None)
        if given:
            raise _Unknown(name)
        args = [args[0], -math.inf if low is None else low, math.inf if high is None else high]
    elif any(node.kwargs.values()):  # usual ones, such as inplace=False, change nothing
        raise _Unknown(name)
    shown = [_operand(a, names) for a in args]
    if name in INFIX and len(shown) == 2:
        return f" {INFIX[name]} ".join(shown)
    if name in PREFIX and len(shown) == 1:
        return f"{PREFIX[name]}{shown[0]}"
    if name in NAMED:
        return f"{NAMED[name]}({', '.join(shown)})"
    raise _Unknown(name)


def _operand(value: Any, names: Mapping[fx.Node, str]) -> str:
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Unknown(type(value).__name__)
    return f"({value!r})" if math.isfinite(value) else f"({'-' if value < 0 else ''}np.inf)"


def _agrees(
    function: Callable[[Any, Any], Any], source: str, keys: Sequence[str], attributes: Sequence[str], seed: int
) -> bool:
    """Whether the two give the same at random points, to rounding."""
    change = compiled_from(source)
    stream = torch.Generator().manual_seed(seed)
    values = 2 * torch.randn(POINTS, len(keys), generator=stream, dtype=torch.float64)
    seen = 2 * torch.rand(POINTS, len(attributes), generator=stream, dtype=torch.float64)
    given = type("Given", (), dict(zip(attributes, seen.T, strict=True)))()
    wanted = torch.as_tensor(function(dict(zip(keys, values.T, strict=True)), given), dtype=torch.float64)
    found = [float(change(values[k : k + 1].numpy(), 0, *row)) for k, row in enumerate(seen.tolist())]
    return torch.allclose(
        wanted.expand(POINTS),
        torch.tensor(found, dtype=torch.float64),
        rtol=1e-9,
        atol=1e-12,
        equal_nan=True,
    )
