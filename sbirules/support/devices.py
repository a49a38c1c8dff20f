"""Devices that a user names, tried before anything else is done."""

from __future__ import annotations

import torch

__all__ = ["usable"]


def usable(device: torch.device | str) -> torch.device:
    """The device of this name, with its number.

    Raises:
        ValueError: If torch cannot use it here.
    """
    try:
        return torch.zeros(1, device=device).device
    except Exception as error:  # what torch raises depends on the kind of device
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"device {str(device)!r} cannot be used ({why}); device must name a device that torch can use here, "
            f'such as "cpu".'
        ) from error
