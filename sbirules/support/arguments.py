"""Checks of user input: one clear sentence each, naming the argument, the rule, the value and a way out."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Size, Tensor

__all__ = [
    "MANY",
    "ArrayLike",
    "above",
    "at_least",
    "digits",
    "finite",
    "floating",
    "instance",
    "known",
    "listed",
    "numbers",
    "one_rule",
    "path",
    "plain_form",
    "position",
    "shape",
    "share",
    "strings",
    "theta_columns",
    "theta_matrix",
    "whole",
]

MANY = 10**7  # rules, networks or draws that no machine of today gets through

# numbers as users give them: what torch.as_tensor takes
ArrayLike = Tensor | np.ndarray | float | Sequence["ArrayLike"]


def listed(names: Iterable[object]) -> str:
    """Names as they should appear in a message: `a, b, c`."""
    return ", ".join(str(name) for name in names)


def known(argument: str, name: object, options: Sequence[str]) -> None:
    """Raises ValueError unless `name` is one of `options`; suggests the nearest."""
    if isinstance(name, str) and name in options:
        return
    near = difflib.get_close_matches(str(name), options, n=1, cutoff=0.75)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise ValueError(f"{argument}: {name!r:.80} is not known{hint} It may be one of: {listed(options)}.")


def instance(argument: str, value: object, wanted: type) -> None:
    """Raises ValueError unless `value` is of the wanted class."""
    if not isinstance(value, wanted):
        raise ValueError(f"{argument} must be a {wanted.__name__}, got {type(value).__name__}.")


def floating(value: object) -> Tensor:
    """`value`, anything array-like, as a floating tensor; whole numbers and lists in torch's default type, others as they are.

    What comes back shares no memory with arrays of numpy's or pandas'.

    Raises:
        ValueError: If it does not hold real numbers alone.
    """
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(_array(value))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{value!r:.80} does not hold numbers.") from error
    if tensor.is_complex():
        raise ValueError("numbers must be real, got complex ones.")
    single = tensor.dtype in (torch.float32, torch.float64)
    return tensor if single else tensor.to(torch.get_default_dtype())


def _array(value: object, kind: type[np.floating[Any]] | None = None) -> np.ndarray:
    """A copy of what is no tensor, as an array of numpy's; of the type it deserves, if none is given."""
    if isinstance(value, (list, tuple)):
        value = [one.detach().cpu().numpy() if isinstance(one, Tensor) else one for one in value]
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":  # pandas gives objects where types are mixed
        if array.dtype.kind != "O" or not all(isinstance(one, Real) for one in array.flat):
            raise TypeError(f"{array.dtype} is no type of numbers")
        array = array.astype(np.float64)
    if kind is not None:
        return np.array(array, dtype=kind)
    listed = not isinstance(value, np.ndarray) and isinstance(value, (list, tuple, int, float))
    double = array.dtype.kind == "f" and array.dtype.itemsize > 4 and not listed
    kind = np.float64 if double or torch.get_default_dtype() == torch.float64 else np.float32
    return np.array(array, dtype=kind)


def finite(argument: str, value: float) -> float:
    """`value` as a float, refused if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{argument} must be a finite number, got {value!r}.")
    return float(value)


def above(argument: str, value: float, bound: float, *, infinite: bool = False) -> float:
    """`value` as a float greater than `bound`; infinity only where it has a meaning."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > bound:
        raise ValueError(f"{argument} must be a number greater than {bound:g}, got {value!r}.")
    if math.isinf(value) and not infinite:
        raise ValueError(f"{argument} must be finite, got {value!r}.")
    return float(value)


def at_least(argument: str, value: float, bound: float) -> float:
    """`value` as a finite float no smaller than `bound`."""
    if finite(argument, value) < bound:
        raise ValueError(f"{argument} must be at least {bound:g}, got {value!r}.")
    return float(value)


def whole(argument: str, value: object, bound: int, most: int | None = None) -> int:
    """`value` as an int no smaller than `bound`, and no larger than `most`."""
    number = _index(value)
    if number is None or number < bound:
        raise ValueError(f"{argument} must be a whole number of at least {bound}, got {value!r:.80}.")
    if most is not None and number > most:
        raise ValueError(f"{argument} must be a whole number of at most {most}, got {value!r:.80}.")
    return number


def _index(value: object) -> int | None:
    """A whole number, or None; flags are none, nor are classes of numbers."""
    if isinstance(value, (bool, type)) or not isinstance(value, SupportsIndex):
        return None
    try:
        return value.__index__()
    except TypeError:  # tensors and arrays of other things
        return None


def digits(value: object) -> int:
    """A number of significant digits."""
    return whole("digits", value, 1, 17)


@contextmanager
def plain_form(of: str) -> Iterator[None]:
    """Turns what goes wrong while `of` is made from its plain form into one sentence."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise ValueError(f"this is not the plain form of {of}: {what}.") from error


def position(argument: str, value: object, count: int) -> int:
    """`value` as the position of one of `count` things; negative ones count from the end."""
    number = _index(value)
    if number is None or not -count <= number < count:
        raise ValueError(f"{argument} must hold positions below {count}, got {value!r:.80}.")
    return number % count


def strings(argument: str, value: object) -> tuple[str, ...]:
    """`value` as a tuple of names."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ValueError(f"{argument} must be a list of names, got {value!r:.80}.")
    names = tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{argument} must be a list of names, all of them text, got {names!r:.80}.")
    return names


def path(argument: str, value: object) -> Path:
    """`value` as the path of a file or folder; an empty one would be the current folder."""
    if not isinstance(value, (str, Path)):
        raise ValueError(f"{argument} must be a path, got {value!r:.80}.")
    if not str(value).strip() or "\0" in str(value):
        raise ValueError(f"{argument} must be a path that is not empty, got {str(value)!r}.")
    if max(map(len, map(os.fsencode, Path(value).parts)), default=0) > 255:
        raise ValueError(f"{argument} must be a path of names of at most 255 bytes, got {str(value)!r:.80}.")
    return Path(value)


def shape(argument: str, value: Sequence[int]) -> Size:
    """A shape such as `(1000,)`."""
    try:
        size = Size([int(n) for n in value] if all(_index(n) is not None for n in value) else (-1,))
    except (TypeError, OverflowError):
        size = Size((-1,))
    if any(n < 0 for n in size):
        raise ValueError(f"{argument} must be a shape such as (1000,), got {value!r}.")
    return size


def share(argument: str, value: float, *, zero: bool = False) -> float:
    """`value` as a share of one: in (0, 1], or in [0, 1] with `zero`."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (0 <= value <= 1) or (value == 0 and not zero):
        bracket = "[" if zero else "("
        raise ValueError(f"{argument} must lie in {bracket}0, 1], got {value!r}.")
    return float(value)


def one_rule(argument: str, value: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """The coefficients of one rule `(D,)` by name."""
    row = theta_matrix(value, names, argument=argument)
    if len(row) != 1:
        raise ValueError(f"{argument} must be one rule of shape ({len(names)},), got {tuple(row.shape)}.")
    return dict(zip(names, row[0].tolist(), strict=True))


def theta_matrix(theta: ArrayLike, names: Sequence[str], *, argument: str = "theta") -> Tensor:
    """`theta` as a finite floating tensor `(batch, D)`; a single row `(D,)` becomes `(1, D)`.

    Columns of a pandas table are taken by their names, where they have those of the coefficients.
    """
    theta = theta_columns(theta, names, argument=argument)
    if theta.ndim == 1:
        theta = theta[None]
    if theta.ndim != 2 or len(theta) == 0:
        raise ValueError(_shape_of_theta(theta, names, argument))
    bad = ~torch.isfinite(theta)
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise ValueError(
            f"{argument} must be finite, got {theta[row, column].item()} for {names[column]} in row {row}; "
            f"remove or repair that row."
        )
    return theta


def theta_of_animals(theta: ArrayLike, animals: int, names: Sequence[str]) -> Tensor:
    """Rules `(n, D)` of all animals, or of each `(n, animals, D)`, as `(n, animals, D)` float64; gradients flow."""
    rows = torch.as_tensor(theta).double()
    rows = rows[:, None].expand(-1, animals, -1) if rows.ndim == 2 else rows
    if rows.ndim != 3 or rows.shape[1:] != (animals, len(names)) or not len(rows):
        d = len(names)
        raise ValueError(
            f"theta must have shape (n, {d}) or (n, {animals}, {d}), got {tuple(torch.as_tensor(theta).shape)}."
        )
    return rows


def theta_columns(theta: ArrayLike, names: Sequence[str], *, argument: str = "theta") -> Tensor:
    """`theta` as a floating tensor `(..., D)`, one column per coefficient."""
    given = _by_name(theta, names, argument)
    try:
        rows = floating(given)
    except ValueError as error:
        raise ValueError(f"{argument} must be numbers of shape (batch, {len(names)}), got {theta!r:.80}.") from error
    if rows.ndim == 0 or rows.shape[-1] != len(names):
        raise ValueError(_shape_of_theta(rows, names, argument))
    return rows


def _shape_of_theta(theta: Tensor, names: Sequence[str], argument: str) -> str:
    return (
        f"{argument} must have shape (batch, {len(names)}), one column per coefficient "
        f"({listed(names)}), got {tuple(theta.shape)}."
    )


def _by_name(theta: Any, names: Sequence[str], argument: str) -> Any:
    """A pandas table or row, or a mapping, by the names of its columns; anything else as it is."""
    labels: list[Any]
    if isinstance(theta, Mapping):
        labels = list(theta)
    elif type(theta).__module__.split(".")[0] == "pandas" and type(theta).__name__ in ("DataFrame", "Series"):
        labels = list(theta.columns if theta.ndim == 2 else theta.index)
        if not all(isinstance(label, str) for label in labels):
            return theta.to_numpy()  # numbered, as tables are that were made of arrays
    else:
        return theta
    if sorted(labels) != sorted(names):
        raise ValueError(f"{argument} must have the columns {listed(names)}, got {listed(labels)}.")
    columns = [np.asarray(theta[name]) for name in names]
    return np.stack(columns, axis=-1)


def numbers(argument: str, value: object, dtype: torch.dtype = torch.float32) -> Tensor:
    """`value`, anything array-like, as a tensor of a type, that in which potentials compute; it shares no memory with it."""
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(_array(value, np.float64))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{argument} must hold numbers, got {value!r:.80}.") from error
    if tensor.is_complex():
        raise ValueError(f"{argument} must hold real numbers, got complex ones.")
    return tensor.detach().cpu().to(dtype).clone()
