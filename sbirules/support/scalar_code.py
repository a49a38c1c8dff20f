"""A function that works on tensors element by element, as a function of plain numbers that numba can compile.

`torch.fx` writes down which operations a function does to what it is given; each of those that are known here has a
counterpart for one number. A function that does anything else, branches on values, remembers, draws random numbers or changes
what it was given has none. The two are held against each other at many points, too, before the counterpart is used.
"""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

__all__ = ["anew", "compiled_from", "scalar_source"]

POINTS = 256  # at which the two are held against each other
SIZES = torch.tensor([0.0, 0.1, 1.0, 3.0, 100.0], dtype=torch.float64)  # of numbers there
ARITHMETIC = {
    "add": "+",
    **dict.fromkeys(("sub", "subtract"), "-"),
    **dict.fromkeys(("mul", "multiply"), "*"),
    **dict.fromkeys(("truediv", "div", "divide", "true_divide"), "/"),
    "pow": "**",
}
COMPARISONS = {"gt": ">", "lt": "<", "ge": ">=", "le": "<=", "eq": "==", "ne": "!="}
BETWEEN_CONDITIONS = {"and_": "and", "or_": "or", "logical_and": "and", "logical_or": "or"}
NOT = ("invert", "logical_not", "bitwise_not")
SIGNS = {"neg": "-", "negative": "-", "pos": "+"}
FUNCTIONS = {
    **{name: f"np.{name}" for name in ("exp", "expm1", "log", "log1p", "log2", "sqrt", "tanh", "sin", "cos", "arctan")},
    **{name: f"np.{name}" for name in ("floor", "ceil", "sinh", "cosh", "square")},
    "atan": "np.arctan",
    "abs": "abs",
    "absolute": "abs",
    "sign": "_sign",
    "float": "_number",
    "double": "_number",
    "relu": "_relu",
    "sigmoid": "_sigmoid",
}
OF_TWO = {"maximum": "_larger", "minimum": "_smaller"}
HELPERS = """
def _number(x):
    return 1.0 * x

def _sign(x):
    return 1.0 if x > 0 else (-1.0 if x < 0 else 0.0)

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
    if low != low or high != high:
        return np.nan
    raised = low if x < low else x
    return high if raised > high else raised
"""


def scalar_source(
    function: Callable[[Any, Any], Any],
    keys: Sequence[str],
    attributes: Sequence[str],
    *,
    owner: object = None,
    single: bool = False,
    seed: int = 0,
) -> str | None:
    """Source of `change(values, p, *attributes)`, the same for one element; None where there is none.

    Arguments:
        function: Of a mapping of tensors by key, and of an object with tensors as attributes, all of one shape.
        keys: Of the mapping, which the source reads as row `p` of a matrix, columns in this order.
        attributes: Of the object.
        owner: What the function may remember in; one that changes when it is called has no counterpart.
        single: Whether tensors are of single precision, to which constants are then rounded.
        seed: Of the points at which the two are held against each other.
    """
    random_before = _random_states()
    try:
        before = _memory(owner)
        first, again = (_written(function, keys, attributes, single) for _ in range(2))
        # they are held against each other in double precision, where they agree to rounding
        double = _written(function, keys, attributes, False) if single else first
        same = first == again and _agrees(function, double, keys, attributes, seed)
        still = _memory(owner) == before and _random_states() == random_before
        compiled_from(first)
    except Exception:  # of own code, its tracing or its compiling: it then runs as it is, and says so itself
        return None
    finally:
        _set_random_states(random_before)
    return first if same and still else None


@lru_cache(maxsize=64)
def compiled_from(source: str) -> Callable[..., Any]:
    """`change` of a source, compiled with its helpers."""
    from sbirules.support.compiling import for_one_process

    space: dict[str, Any] = {"np": np}
    exec(HELPERS, space)
    for name in [n for n in space if n.startswith("_") and not n.startswith("__")]:
        space[name] = for_one_process(space[name])
    exec(source, space)
    change: Callable[..., Any] = for_one_process(space["change"])
    return change


@lru_cache(maxsize=8)
def anew(kernel: Any) -> Callable[..., Any]:
    """A compiled function as one that takes functions of `compiled_from`, which are different in each process."""
    from sbirules.support.compiling import for_one_process

    fresh: Callable[..., Any] = for_one_process(getattr(kernel, "py_func", kernel))
    return fresh


class _Unknown(Exception):
    """An operation without a counterpart."""


class _Seen(fx.Proxy):
    """Stands for a tensor while a function is looked at; what would change the tensor itself is refused."""

    def _changed(self, *_: object) -> Any:
        raise _Unknown("in place")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __iand__ = __ior__ = __setitem__ = _changed

    def __getattr__(self, name: str) -> Any:
        if self.node.op == "placeholder":  # else it is a method
            return self.tracer.create_proxy("call_function", getattr, (self, name), {})
        return super().__getattr__(name)


class _Watcher(fx.proxy.GraphAppendingTracer):
    """Writes into one graph and patches nothing, so that other threads may use torch meanwhile."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Seen(node, self)


def _written(function: Callable[[Any, Any], Any], keys: Sequence[str], attributes: Sequence[str], single: bool) -> str:
    graph = fx.Graph()
    watcher = _Watcher(graph)
    theta, traces = (watcher.proxy(graph.placeholder(name)) for name in ("theta", "traces"))
    result = watcher.create_arg(function(theta, traces))
    writer = _Writer(list(keys), list(attributes), single)
    lines = [f"def change(values, p, {', '.join(attributes)}):"]
    for node in graph.nodes:
        if node.op in ("call_function", "call_method"):
            lines.append(f"    {writer.line(node)}")
    return "\n".join([*lines, f"    return {writer.operand(result)[0]}"]) + "\n"


class _Writer:
    """Writes nodes as lines; of each value it knows its name, and whether it is a number or a condition."""

    def __init__(self, keys: list[str], attributes: list[str], single: bool) -> None:
        self.keys, self.attributes, self.single = keys, attributes, single
        self.known: dict[fx.Node, tuple[str, str]] = {}

    def line(self, node: fx.Node) -> str:
        text, kind = self._expression(node)
        self.known[node] = (f"n{len(self.known)}_", kind)
        return f"n{len(self.known) - 1}_ = {text}"

    def operand(self, value: Any) -> tuple[str, str]:
        """How it is written and whether it is `"number"`, `"condition"`, or a constant: `"float"` or `"whole"`."""
        if isinstance(value, fx.Node):
            return self.known[value]
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Unknown(type(value).__name__)
        if not math.isfinite(value):
            return ("np.nan" if math.isnan(value) else f"({'-' if value < 0 else ''}np.inf)"), "float"
        if isinstance(value, int):
            return f"({value})", "whole"
        return f"({float(np.float32(value)) if self.single else value!r})", "float"

    def _expression(self, node: fx.Node) -> tuple[str, str]:
        name = node.target if isinstance(node.target, str) else node.target.__name__
        args = list(node.args)
        if isinstance(args[0], fx.Node) and args[0].op == "placeholder":
            return self._looked_up(name, args[0].name, args[1]), "number"
        if name in ("clamp", "clip"):
            return self._clamped(args, dict(node.kwargs)), "number"
        if node.kwargs and node.kwargs != {"inplace": False}:
            raise _Unknown(name)
        shown = [self.operand(a) for a in args]
        texts, kinds = [t for t, _ in shown], [k for _, k in shown]
        of_conditions = all(k == "condition" for k in kinds)
        if name in ARITHMETIC and len(args) == 2:
            # torch has rules of its own for sums of conditions, and for whole numbers
            if "number" not in kinds:
                raise _Unknown(name)
            if name == "pow" and kinds[1] == "whole" and args[1] < 0:  # type: ignore[operator]
                texts[1] = f"({float(args[1])})"  # type: ignore[arg-type]
            return f" {ARITHMETIC[name]} ".join(texts), "number"
        if name in COMPARISONS and len(args) == 2:
            return f" {COMPARISONS[name]} ".join(texts), "condition"
        if name in BETWEEN_CONDITIONS and len(args) == 2 and of_conditions:
            return f" {BETWEEN_CONDITIONS[name]} ".join(texts), "condition"
        if name in NOT and len(args) == 1 and of_conditions:
            return f"not {texts[0]}", "condition"
        if name in ("float", "double") and len(args) == 1:
            return f"{FUNCTIONS[name]}({texts[0]})", "number"
        if name == "where" and len(args) == 3 and kinds[0] == "condition":
            fine = "number" in kinds[1:] or kinds[1:] == ["float", "float"]
            if not fine or "condition" in kinds[1:]:
                raise _Unknown(name)
            return f"_where({', '.join(texts)})", "number"
        of_numbers = "number" in kinds and "condition" not in kinds
        if of_numbers and len(args) == 1 and name in SIGNS:
            return f"{SIGNS[name]}{texts[0]}", "number"
        if of_numbers and len(args) == 1 and name in FUNCTIONS:
            return f"{FUNCTIONS[name]}({texts[0]})", "number"
        if of_numbers and len(args) == 2 and name in OF_TWO:
            return f"{OF_TWO[name]}({', '.join(texts)})", "number"
        raise _Unknown(name)

    def _looked_up(self, name: str, of: str, what: Any) -> str:
        if name == "getitem" and of == "theta" and what in self.keys:
            return f"values[p, {self.keys.index(what)}]"
        if name == "getattr" and of == "traces" and what in self.attributes:
            return str(what)
        raise _Unknown(name)

    def _clamped(self, args: list[Any], more: dict[str, Any]) -> str:
        given = dict(zip(("min", "max"), args[1:], strict=False)) | more
        ends = [given.pop("min", None), given.pop("max", None)]
        ends = [usual if end is None else end for end, usual in zip(ends, (-math.inf, math.inf), strict=True)]
        shown = [self.operand(a) for a in (args[0], *ends)]
        if given or shown[0][1] != "number" or "condition" in [kind for _, kind in shown]:
            raise _Unknown("clamp")
        return f"_clamp({', '.join(text for text, _ in shown)})"


def _memory(owner: object) -> bytes:
    """What an object and its class hold besides functions."""
    of_class = {
        k: v
        for k, v in vars(type(owner)).items()
        if isinstance(v, (bool, int, float, str, list, dict, tuple, set, Tensor, np.ndarray))
    }
    return pickle.dumps([getattr(owner, "__dict__", {}), of_class])


def _random_states() -> tuple[Any, ...]:
    name, numbers, place, *rest = np.random.get_state(legacy=True)
    torch_state = torch.get_rng_state().numpy().tobytes()
    return random.getstate(), (name, np.asarray(numbers).tobytes(), place, *rest), torch_state


def _set_random_states(states: tuple[Any, ...]) -> None:
    """Back to what they were: looking at a function is not running it."""
    if _random_states() == states:
        return
    of_python, (name, numbers, *rest), of_torch = states
    random.setstate(of_python)
    np.random.set_state((name, np.frombuffer(numbers, dtype=np.uint32), *rest))
    torch.set_rng_state(torch.frombuffer(bytearray(of_torch), dtype=torch.uint8))


def _agrees(
    function: Callable[[Any, Any], Any], source: str, keys: Sequence[str], attributes: Sequence[str], seed: int
) -> bool:
    """Whether the two give the same at random points, small and large, to rounding; and leave what they are given as it is."""
    change = compiled_from(source)
    stream = torch.Generator().manual_seed(seed)

    def some(columns: int, signed: bool) -> Tensor:
        size = SIZES[torch.randint(len(SIZES), (POINTS, columns), generator=stream)]
        number = torch.rand(POINTS, columns, generator=stream, dtype=torch.float64)
        return size * (2 * number - 1 if signed else number)

    values, seen = some(len(keys), True), some(len(attributes), False)
    given = [v.clone() for v in (values, seen)]
    traces = type("Given", (), dict(zip(attributes, seen.T, strict=True)))()
    result = torch.as_tensor(function(dict(zip(keys, values.T, strict=True)), traces))
    if not (torch.equal(values, given[0]) and torch.equal(seen, given[1])) or result.is_complex():
        return False
    wanted = result.double().expand(POINTS)
    rows = seen.tolist()
    found = torch.tensor(
        [float(change(values[k : k + 1].numpy(), 0, *rows[k])) for k in range(POINTS)], dtype=torch.float64
    )
    size = wanted[torch.isfinite(wanted)].abs()
    least = 1e-13 * float(size.min() if len(size) else 0.0)
    return torch.allclose(wanted, found, rtol=1e-9, atol=least, equal_nan=True)
