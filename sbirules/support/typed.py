"""Arguments held against their annotations: what is of another type is refused at the door, in one sentence.

    @typed
    def sample(self, num_samples: int, *, seed: int = 0) -> Tensor: ...

Annotations are read at the first call. Numbers are taken as Python takes them (numpy's, too); a list will do where a tuple is
asked; elements of sequences and mappings are looked at, those of tensors are not; of a protocol, whether its members are
there. What cannot be looked at passes.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, ParamSpec, SupportsIndex, TypeVar, Union, get_args, get_origin

import numpy as np
from torch import Size, Tensor
from torch.distributions import Distribution

from sbirules.support import arguments
from sbirules.support.arguments import ArrayLike

__all__ = ["typed", "typed_class"]

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)
Test = Callable[[object], bool]

NAMED = ("theta", "raw", "draws", "x", "observation", "chains")  # arrays that may come as tables with names
MANY = 100  # elements of a sequence that are looked at
WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "a path that is not empty",
    type(None): "None",
    Tensor: "a tensor",
    Mapping: "a mapping",
    MutableMapping: "a mapping",
    dict: "a mapping",
    Sequence: "a list",
    Iterable: "a list",
    tuple: "a list",
    list: "a list",
    Callable: "a function",
}


def typed(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which refuses arguments that do not suit its annotations.

    Raises:
        ValueError: At a call, with the argument's name and what it should be.
    """
    tests: dict[str, tuple[Test, str]] | None = None
    signature = inspect.signature(function)
    names = tuple(signature.parameters)
    more = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
    positional = [
        p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal tests
        if tests is None:
            tests = _tests_of(function, signature)
        for name, value in (*zip(positional, args, strict=False), *kwargs.items()):
            found = tests.get(name) or (tests.get(more) if more and name not in names else None)
            if found is not None and not found[0](value):
                default = signature.parameters[name].default if name in names else inspect.Parameter.empty
                if value is not default:  # a default says of itself that it is good
                    raise ValueError(f"{name} must be {found[1]}, got {_shown(value)}.")
        return function(*args, **kwargs)

    return checked


def typed_class(cls: C) -> C:
    """The class, whose constructor and public methods refuse arguments that do not suit their annotations.

    Constructors of records that check nothing themselves are left alone: the package makes these.
    """
    record = is_dataclass(cls) and "__post_init__" not in dir(cls)
    for name, item in list(vars(cls).items()):
        if name.startswith("_") and (name != "__init__" or record):
            continue
        if inspect.isfunction(item) and not getattr(item, "__isabstractmethod__", False):
            setattr(cls, name, typed(item))
        elif isinstance(item, (staticmethod, classmethod)):
            setattr(cls, name, type(item)(typed(item.__func__)))
    return cls


def _tests_of(function: Callable[..., object], signature: inspect.Signature) -> dict[str, tuple[Test, str]]:
    """A test and words for each parameter that can be looked at."""
    space = {**vars(typing), **getattr(sys.modules.get(function.__module__), "__dict__", {})}
    space.setdefault("ArrayLike", ArrayLike)
    out: dict[str, tuple[Test, str]] = {}
    for p in signature.parameters.values():
        if p.annotation is p.empty or p.kind is p.VAR_POSITIONAL or p.name == "self":
            continue
        wanted = p.annotation
        try:
            if isinstance(wanted, str):
                wanted = eval(wanted, space)  # as `typing.get_type_hints`, one at a time
        except (NameError, TypeError, AttributeError):
            continue  # imported for type checkers only
        test = _test(wanted)
        if test is not None and p.name in NAMED and set(get_args(ArrayLike)) <= set(get_args(wanted)):
            test = _or_named(test)
        if test is not None:
            out[p.name] = test, _words(wanted)
    return out


def _test(wanted: Any) -> Test | None:
    """Tells whether a value suits an annotation; None where that cannot be told."""
    if wanted is ArrayLike:
        return _is_array
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        members = _members(inner)
        if Sequence[Distribution] in members:
            return None  # what may be a prior is said by `as_prior`
        tests = [_test(one) for one in members if not (one is str and Path in members)]
        known = [t for t in tests if t is not None]
        return (lambda value: any(t(value) for t in known)) if len(known) == len(tests) else None
    kind = origin or wanted
    if wanted is None or kind is type(None):
        return lambda value: value is None
    if kind is bool:
        return lambda value: isinstance(value, (bool, np.bool_))
    if kind is int:
        return _is_whole
    if kind is float:
        return lambda value: isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if kind is str:
        return lambda value: isinstance(value, str) and "\0" not in value
    if kind is Path:
        return _is_path
    if kind is Tensor:
        return lambda value: isinstance(value, Tensor) and not value.is_complex()
    if kind is Callable or kind is typing.Callable:
        return callable
    if not isinstance(kind, type) or kind in (object, Any):
        return None
    if getattr(kind, "_is_protocol", False):
        # abilities are asked for by `needed`, which says which simulators have them
        return None if getattr(kind, "_is_runtime_protocol", False) else _of_protocol(kind)
    if issubclass(kind, Mapping):
        return _of_mapping(inner)
    if kind in (Sequence, tuple, list, Iterable):
        return _of_sequence(kind, inner)
    return lambda value: isinstance(value, kind)


def _members(inner: tuple[Any, ...]) -> list[Any]:
    """Members of a union, those of `ArrayLike` as one."""
    arrays = set(get_args(ArrayLike))
    if not arrays <= set(inner):
        return list(inner)
    return [ArrayLike, *(one for one in inner if one not in arrays)]


def _of_protocol(kind: type) -> Test:
    """Whether all members are there; properties are not computed."""
    parts = [part for part in kind.__mro__ if getattr(part, "_is_protocol", False)]
    members = {n for part in parts for n in (*vars(part), *vars(part).get("__annotations__", ())) if n[0] != "_"}

    def test(value: object) -> bool:
        found = set(dir(type(value))) | set(getattr(value, "__dict__", ()))
        return members <= found and not isinstance(value, type)

    return test


def _of_mapping(inner: tuple[Any, ...]) -> Test:
    keys, values = (_test(one) for one in inner) if len(inner) == 2 else (None, None)

    def test(value: object) -> bool:
        return isinstance(value, Mapping) and all(
            (keys is None or keys(k)) and (values is None or values(v)) for k, v in value.items()
        )

    return test


def _of_sequence(kind: type, inner: tuple[Any, ...]) -> Test:
    fixed = kind is tuple and inner and inner[-1] is not Ellipsis
    each = [_test(one) for one in inner if one is not Ellipsis]

    def test(value: object) -> bool:
        if isinstance(value, (str, bytes, Mapping)):
            return False
        if kind is Iterable:
            return isinstance(value, Iterable) and getattr(value, "ndim", 1) == 1
        if not isinstance(value, (Sequence, np.ndarray, Tensor)) or getattr(value, "ndim", 1) != 1:
            return False
        if isinstance(value, Tensor):
            return _holds(value, inner[:1])
        if fixed:
            return len(value) == len(each) and all(t is None or t(v) for t, v in zip(each, value, strict=True))
        return not each or each[0] is None or all(each[0](v) for v in value[:MANY])

    return test


def _holds(value: Tensor, inner: tuple[Any, ...]) -> bool:
    """Whether a row of numbers is one of these."""
    if inner == (int,):
        return str(value.dtype).removeprefix("torch.").startswith(("int", "uint"))
    return inner == (float,) and str(value.dtype) != "torch.bool" and not value.is_complex()


def _is_array(value: object) -> bool:
    """Numbers as users give them, also in lists of lists that are no staircase."""
    return _shape(value) is not None


def _or_named(test: Test) -> Test:
    """Also a table or mapping of columns, whose names the function looks at."""
    return lambda value: test(value) or isinstance(value, Mapping) or callable(getattr(value, "to_numpy", None))


def _shape(value: object) -> tuple[int, ...] | None:
    """Shape of numbers; None of what is none."""
    if isinstance(value, Tensor):
        return None if value.is_complex() else tuple(value.shape)
    if isinstance(value, np.ndarray):
        return tuple(value.shape) if value.dtype.kind in "fiub" else None
    if isinstance(value, (list, tuple)):
        shapes = {_shape(one) for one in value}
        if len(shapes) > 1 or None in shapes:
            return None
        return (len(value), *(next(iter(shapes)) or ())) if shapes else (0,)
    if isinstance(value, int):
        return () if abs(value) < 2**63 else None
    return () if isinstance(value, (float, np.number, np.bool_)) and not isinstance(value, np.complexfloating) else None


def _is_whole(value: object) -> bool:
    if isinstance(value, (Tensor, np.ndarray)):
        return value.ndim == 0 and str(value.dtype).removeprefix("torch.").startswith(("int", "uint"))
    return isinstance(value, SupportsIndex) and not isinstance(value, (bool, np.bool_, type))


def _is_path(value: object) -> bool:
    try:
        arguments.path("path", value)
    except ValueError:
        return False
    return True


def _words(wanted: Any) -> str:
    """What an annotation asks for, in words."""
    if wanted is ArrayLike:
        return "numbers"
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        members = _members(inner)
        if Size in members:
            return "a shape such as (1000,)"
        return " or ".join(dict.fromkeys(_words(one) for one in members if not (one is str and Path in members)))
    kind = origin or (type(None) if wanted is None else wanted)
    words = WORDS.get(kind)
    if words is None:
        return f"a {getattr(kind, '__name__', str(kind))}"
    if wanted == tuple[float, float]:
        return "(low, high)"
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"({', '.join(_words(one) for one in inner)})"
    if words == "a list" and inner and Any not in inner:
        return f"a list of {_plural(inner)}"
    if words == "a mapping" and len(inner) == 2 and inner[1] is Any:
        return f"a mapping from {_words(inner[0])}"
    if words == "a mapping" and len(inner) == 2:
        return f"a mapping from {_words(inner[0])} to {_words(inner[1])}"
    return words


def _plural(inner: tuple[Any, ...]) -> str:
    many = {"text": "names", "a whole number": "whole numbers", "a number": "numbers"}
    return many.get(_words(inner[0]), _words(inner[0]).removeprefix("a "))


def _shown(value: object) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    try:
        return f"{value!r:.80}"
    except Exception:  # what cannot even be printed
        return f"a {type(value).__name__}"
