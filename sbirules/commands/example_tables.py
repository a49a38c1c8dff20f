"""Small simulated tables for study files to start from; the same ones every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sbirules.support.files import write_bytes

if TYPE_CHECKING:
    from sbirules.model.tables import Trials

__all__ = ["EXAMPLES"]

SEED = 0
NUMBER = 8  # of animals or networks
OF_LEARNERS = {"theta_11": 0.0, "theta_13": -0.3, "theta_31": 0.0, "theta_33": -0.5}
OF_ANIMALS = {"c_rd": 0.16, "c": 0.17, "w": -0.12, "lapse": 0.1}

OF_FLIES = {"x_r": -0.5, "w": -0.1, "overlap": 0.2, "gain": 1.0, "gain_spread": 0.4, "noise": 0.1, "noise_growth": 0.25}


FEW = 3  # animals of many sessions
OF_SESSIONS = {
    **{"w_1_1": -0.3, "w_1_2": 0.2, "w_2_1": -0.2, "w_2_2": -0.3},
    **{"u_1_1": 0.8, "u_2_1": -0.4, "bias_1": 0.1, "bias_2": 0.2, "walk": 0.1},
}


class Writable(Protocol):
    """A table that is written as CSV."""

    def write(self, path: str | Path, /) -> Any: ...


@dataclass(frozen=True)
class Rows:
    """A CSV table as text."""

    text: str

    def write(self, path: str | Path, /) -> None:
        """Writes the file."""
        write_bytes(Path(path), self.text.encode())


def learners(num_trials: int = 200) -> Trials:
    """Networks that share the rule `OF_LEARNERS` and learn delayed discrimination."""
    from sbirules.model.rules import PolynomialRule
    from sbirules.model.runs import Trajectory
    from sbirules.model.tables import Trials
    from sbirules.model.tasks import DelayedDiscrimination
    from sbirules.simulators import RateRNN

    lab = RateRNN(PolynomialRule(degree=3, terms=list(OF_LEARNERS)), DelayedDiscrimination(), num_trials=num_trials)
    run = lab.run([list(OF_LEARNERS.values())] * NUMBER, seed=SEED)
    kept = {"error": run.per_trial["error"].double().round(decimals=4)}  # what else there is follows from it
    shown = Trajectory(run.status, run.trial_types, kept, type_names=run.type_names)
    return Trials(tuple(f"network{k + 1}" for k in range(NUMBER)), shown)


def animals(num_trials: int = 240) -> Trials:
    """Animals that share the rule `OF_ANIMALS` and choose between two options, the better one changing in blocks."""
    from sbirules.model.rules import TaylorRule
    from sbirules.model.tasks import ChoiceTask
    from sbirules.simulators import PolicyNetwork

    task = ChoiceTask(
        options=("A", "B"),
        reward="baited",
        probabilities=((0.4, 0.1), (0.1, 0.4)),
        block=(70, 90),
        num_trials=num_trials,
    )
    lab = PolicyNetwork(TaylorRule(["c rd", "c", "w"]), task, nuisance=("lapse",))
    theta = [[OF_ANIMALS[name] for name in lab.names]] * NUMBER
    return lab.animals(theta, seed=SEED, names=[f"animal{k + 1}" for k in range(NUMBER)])


def flies(num_trials: int = 16) -> Rows:
    """The response of an output neuron in flies that share the rule `OF_FLIES`: odour B comes with a shock in the middle."""
    import torch

    from sbirules.model.recordings import Recordings
    from sbirules.model.rules import TaylorRule
    from sbirules.simulators import MushroomBody

    odour = torch.arange(num_trials) % 2
    shock = odour * (torch.arange(num_trials) >= 4) * (torch.arange(num_trials) < 12)
    like = Recordings.of(
        torch.ones(NUMBER, num_trials, 1), trial_types=odour, events={"odour": odour, "shock": shock}, unit="dF/F"
    )
    lab = MushroomBody(TaylorRule(["x r", "w"]), dopamine="shock").suited(like)
    made = lab.recorded(torch.tensor([OF_FLIES.get(name, 0.0) for name in lab.names]), seed=SEED)
    rows = [
        f"fly{k + 1},{t},{'AB'[int(odour[t])]},{int(shock[t])},{3 * float(made.values[k, t, 0]):.3f}"
        for k in range(NUMBER)
        for t in range(num_trials)
    ]
    return Rows("\n".join(["learner,trial,odour,shock,response", *rows]) + "\n")


def scales(num_sessions: int = 20) -> Rows:
    """Session scales of animals that share the law `OF_SESSIONS`; one site is stimulated in half of the sessions."""
    import torch

    from sbirules.model.rules import LatentLaw
    from sbirules.model.session_scales import SessionScales
    from sbirules.simulators import SessionLaw

    drawn = torch.rand(FEW, num_sessions, 1, generator=torch.Generator().manual_seed(SEED))
    like = SessionScales.of(torch.zeros(FEW, num_sessions, 2), 0.05, stimulation=(drawn > 0.5).double())
    lab = SessionLaw(LatentLaw(2, 1), initial=1.0, centre=0.0, scale=1.0, strength=1.0)
    made = lab.measured(torch.tensor([OF_SESSIONS[name] for name in lab.names]), like, seed=SEED).scales
    rows = [
        f"animal{k + 1},{t + 1},{float(made[k, t, 0]):.3f},0.05,{float(made[k, t, 1]):.3f},0.05,{int(like.stimulation[k, t, 0])}"
        for k in range(FEW)
        for t in range(num_sessions)
    ]
    return Rows("\n".join(["learner,session,c1,c1_error,c2,c2_error,site1", *rows]) + "\n")


EXAMPLES: Mapping[str, Callable[[], Writable]] = {
    "data": learners,
    "choices": animals,
    "recordings": flies,
    "sessions": scales,
}  # by question
