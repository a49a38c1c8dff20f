"""Calls of code that a user wrote: what goes wrong in it says whose it is, what it was given, and what it said itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

__all__ = ["OwnCodeError", "called", "must_broadcast"]

P = ParamSpec("P")
R = TypeVar("R")
OURS = "sbirules."
MOST = 6  # parts of a mapping or an object whose shapes are told
NO_FAULT = (MemoryError, torch.cuda.OutOfMemoryError)  # of whoever wrote it


class OwnCodeError(ValueError):
    """An error in a user's own function; the original one is its cause."""


def called(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What a function gives.

    Raises:
        OwnCodeError: If it is not of this package and raises an error, with that as its cause: says whose code it was,
            shapes of what it got, and the error's own text.
    """
    try:
        return function(*args, **kwargs)
    except Exception as error:
        if _is_ours(function) or isinstance(error, (OwnCodeError, *NO_FAULT)):
            raise
        said = str(error).strip().partition("\n")[0].rstrip(". ")
        raise OwnCodeError(
            f"{_named(function)} raised {type(error).__name__}{f': {said}' if said else ''}; it got "
            f"{_given(function, args, kwargs)}."
        ) from error


def must_broadcast(function: Callable[..., object], value: object, shape: Sequence[int]) -> None:
    """Raises OwnCodeError unless what a function returned is a number, or a tensor that broadcasts to the shape."""
    if isinstance(value, Tensor):
        own = value.shape
        if len(own) <= len(shape) and all(a in (1, b) for a, b in zip(reversed(own), reversed(shape), strict=False)):
            return
        got = f"one of shape {tuple(own)}"
    elif isinstance(value, (int, float)):
        return
    else:
        got = type(value).__name__
    raise OwnCodeError(f"{_named(function)} must return a tensor that broadcasts to {tuple(shape)}, got {got}.")


def _is_ours(function: Callable[..., object]) -> bool:
    return str(getattr(function, "__module__", "")).startswith(OURS)


def _named(function: Callable[..., object]) -> str:
    """Class and method, or the function's name."""
    name = getattr(function, "__name__", type(function).__name__)
    owner = getattr(function, "__self__", None)
    return name if owner is None else f"{type(owner).__name__}.{name}"


def _given(function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """Arguments by name, with their shapes."""
    try:
        named: Mapping[str, object] = inspect.signature(function).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):  # it does not take these: that is the error
        named = {**{f"argument {k}": value for k, value in enumerate(args, start=1)}, **kwargs}
    return ", ".join(f"{name} {_shape(value)}" for name, value in named.items()) or "nothing"


def _shape(value: object) -> str:
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    parts: dict[str, object] = {}
    if isinstance(value, Mapping):
        parts = {str(name): inner for name, inner in value.items()}
    else:
        for name, inner in getattr(value, "__dict__", {}).items():
            parts |= inner if isinstance(inner, Mapping) else {name: inner}
        parts = {name: inner for name, inner in parts.items() if isinstance(inner, Tensor)}
    if parts:
        listed = [f"{name} {_shape(inner)}" for name, inner in parts.items()]
        more = f" and {len(listed) - MOST} more" if len(listed) > MOST else ""
        return f"with {', '.join(listed[:MOST])}{more}"
    return f"{value:g}" if isinstance(value, (int, float)) else type(value).__name__
