"""Recordings that tests are made of: conditioning as in experiments on flies, animals of a known rule."""

import dataclasses

import torch

import sbirules as sr
from sbirules.simulators import MushroomBody

REPEATS = 6


def conditioning(animals=5, unit="dF/F", seed=0):
    """Odours A and B in turn, B with shock from its second time on; values are noise."""
    torch.manual_seed(seed)
    trials = 2 * REPEATS
    odour = torch.arange(trials) % 2
    shock = ((odour == 1) & (torch.arange(trials) >= 2)).double()
    made = sr.Recordings.of(
        torch.rand(animals, trials, 1) + 0.5,
        trial_types=odour,
        type_names=["A", "B"],
        events={"odour": odour, "shock": shock},
        unit=unit,
    )
    return dataclasses.replace(made, labels={"odour": ("A", "B")})


def mushroom(terms=("x r", "x", "w"), **options):
    return MushroomBody(sr.TaylorRule(list(terms)), dopamine="shock", **options)


def learned(theta, simulator=None, animals=5, seed=0, **given):
    """What animals of a rule, named by coefficients, show; and the simulator suited to it."""
    like = conditioning(animals, **given)
    suited = (simulator or mushroom()).suited(like)
    usual = {"gain": 1.0, "gain_spread": 0.3, "noise": 0.15, "noise_growth": 0.2, "overlap": 0.2, "overdispersion": 0.1}
    row = torch.tensor([float({**usual, **theta}.get(name, 0.0)) for name in suited.names])
    made = suited.recorded(row, like, seed=seed)
    return made, suited.suited(made), row
