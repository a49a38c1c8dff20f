"""Session scales that tests share: animals whose circuit moves by a known law."""

import torch

import sbirules as sr
from sbirules.simulators import SessionLaw

AS_THEY_ARE = {"centre": 0.0, "scale": 1.0, "strength": 1.0}  # units that do not follow from what is measured
THETA = (-0.3, 0.2, -0.2, -0.3, 0.8, -0.4, 0.1, 0.2, 0.1)  # of a linear law of two scales, one channel


def schedule(animals=2, sessions=20, seed=0):
    """Stimulation in half of the sessions."""
    drawn = torch.rand(animals, sessions, 1, generator=torch.Generator().manual_seed(seed))
    return (drawn > 0.5).double()


def stimulated(animals=2, sessions=20, error=0.05, theta=THETA, law=None, seed=1):
    """Scales of animals under a law."""
    law = sr.LatentLaw(2, 1) if law is None else law
    like = sr.SessionScales.of(
        torch.zeros(animals, sessions, law.latents), error, stimulation=schedule(animals, sessions, seed)
    )
    return SessionLaw(law, initial=1.0, **AS_THEY_ARE).measured(torch.tensor(theta), like, seed=seed)
