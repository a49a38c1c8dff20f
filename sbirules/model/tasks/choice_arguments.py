"""Checks of the arguments of `ChoiceTask`, which come from code and from study files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sbirules.support import arguments

__all__ = ["REWARDS", "TAKES", "block_range", "check_range", "nested", "shown_of", "stimuli_of", "table_of"]

BLOCKS = ("block", "block_scale", "order")
# what each kind of reward takes, beside magnitudes and punishment
TAKES: dict[str, tuple[str, ...]] = {
    "unknown": (),
    "bandit": ("probabilities", *BLOCKS),
    "baited": ("probabilities", *BLOCKS),
    "restless": ("probabilities", "drift", "decay", "centre", "bounds"),
    "contrast": ("left_probability", "zero", *BLOCKS),
}
REWARDS = tuple(TAKES)
MOST_CELLS = 10**5


def nested(argument: str, value: Any) -> Any:
    """Numbers in nested tuples, as plain as a study file has them; a single number stays one."""
    tensor = arguments.numbers(argument, value, torch.float64)
    if tensor.numel() > MOST_CELLS:
        raise ValueError(f"{argument} must hold at most {MOST_CELLS} numbers, got {tensor.numel()}.")
    return _tuples(tensor.tolist())


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def stimuli_of(stimuli: Mapping[str, Any], unknown: bool) -> dict[str, tuple[Any, ...]]:
    """Values of each stimulus: names, or numbers as floats; none only where a table alone gives them."""
    out: dict[str, tuple[Any, ...]] = {}
    for name, values in stimuli.items():
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise ValueError(f"stimuli must give a list of names or of numbers for {name!r}, got {values!r:.80}.")
        values = values.tolist() if hasattr(values, "tolist") else list(values)
        if not values and not unknown:
            raise ValueError(
                f"stimuli gives no values for {name!r}: list the names or the numbers that are shown; only with "
                f'reward = "unknown" may a table give them alone.'
            )
        if values and all(isinstance(value, str) for value in values):
            if len(set(values)) != len(values):
                raise ValueError(f"stimuli must give different names for {name!r}, got {arguments.listed(values)}.")
            out[name] = tuple(values)
        elif any(isinstance(value, str) for value in values):
            raise ValueError(f"stimuli must give names or numbers for {name!r}, not both, got {values!r:.80}.")
        else:
            out[name] = tuple(arguments.finite(f"a value of the stimulus {name!r}", value) for value in values)
    return out


def shown_of(shown: Mapping[str, Any], stimuli: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[float, ...]]:
    """How often each value of a stimulus is shown, of those stimuli for which that is given."""
    out: dict[str, tuple[float, ...]] = {}
    for name, given in shown.items():
        if name not in stimuli:
            known = arguments.listed(stimuli) or "none"
            raise ValueError(f"shown must be probabilities of stimuli ({known}), got {name!r}.")
        prob = nested(f"shown of {name!r}", given)
        if not isinstance(prob, tuple) or len(prob) != len(stimuli[name]) or any(isinstance(p, tuple) for p in prob):
            raise ValueError(
                f"shown must hold a probability for each of the {len(stimuli[name])} values of {name!r}, got {given!r:.80}."
            )
        if not all(0 <= p <= 1 for p in prob) or abs(sum(prob) - 1) > 1e-6:
            raise ValueError(f"shown must hold probabilities of {name!r} that add up to 1, got {list(prob)!r:.80}.")
        out[name] = prob
    return out


def table_of(argument: str, value: Any, shape: tuple[int, ...], what: str, several: bool) -> Tensor:
    """Numbers of one contingency `shape`, or of several `(rows, *shape)`, as `(rows, cells)`.

    Arguments:
        argument: Its name.
        value: As plain numbers.
        shape: Of one contingency.
        what: The shape in words.
        several: Whether there may be several.
    """
    table = torch.as_tensor(value, dtype=torch.float64)
    if several and table.ndim == len(shape) + 1 and len(table) > 0:
        rows = table
    else:
        rows = table[None]
    if tuple(rows.shape[1:]) != shape:
        more = ", or a list of such for blocks" if several else ""
        raise ValueError(f"{argument} must hold {what}{more}, got numbers of shape {tuple(table.shape)}.")
    return rows.reshape(len(rows), -1)


def check_range(argument: str, values: Tensor, low: float, high: float) -> None:
    """Raises ValueError unless all numbers lie in [low, high]."""
    wrong = ~((values >= low) & (values <= high))
    if wrong.any():
        raise ValueError(f"{argument} must lie in [{low:g}, {high:g}], got {values[wrong][0].item():g}.")


def block_range(block: Any) -> tuple[int, int]:
    """Shortest and longest block."""
    low, high = block if isinstance(block, (tuple, list)) else (block, block)
    low, high = (arguments.whole("block", value, 1, arguments.MANY) for value in (low, high))
    if low > high:
        raise ValueError(f"block must be (shortest, longest), got ({low}, {high}); turn them round.")
    return low, high
