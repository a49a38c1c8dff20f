"""From weeks of stimulation to a posterior over the law by which it changes a circuit. About a minute on two cores."""

from pathlib import Path

import torch

import sbirules as sr
from sbirules.priors import uniform
from sbirules.simulators import FastSlowNetwork, FastSlowSettings, SessionLaw, stimulation_sessions

OUT = Path("runs/tutorials/sessions")


def pretend_recordings(path: Path) -> torch.Tensor:
    """Field potentials of an animal with electrodes at two sites, stimulated by theta bursts on thirty days, as .npz.

    The coupling of the two sites grows on days when both are stimulated, shrinks on those with one, and keeps .85 of itself from
    day to day; it is returned for the end, the fit does not see it.
    """
    known = stimulation_sessions(30, 1000, seed=2026)
    known.sessions.write(path)
    return known.slow[:, 0]


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    coupling = pretend_recordings(OUT / "days.npz")

    # --8<-- [start:read]
    sessions = sr.Sessions.read(OUT / "days.npz")
    print(sessions)
    print(sessions.stimulation[:4])  # mean of each channel of input, by session
    # --8<-- [end:read]

    # --8<-- [start:fast]
    settings = FastSlowSettings(rank=2, units=48, history=10, horizon=12, law=None, restarts=4, iterations=800)
    network = FastSlowNetwork.fit(sessions, settings)
    scales = network.scales(sessions)
    print(f"explained, 12 samples ahead: {network.explained(sessions, scales.scales[0]):.2f}")
    print(scales.describe())
    sr.figures.session_scales(scales)[0, 0].figure.savefig(OUT / "scales.png")
    # --8<-- [end:fast]

    # --8<-- [start:fit]
    law = sr.LatentLaw(latents=2, stimulations=2)
    simulator = SessionLaw(law, errors="scaled")
    posterior = sr.fit(simulator, uniform(law, -1.5, 1.5), sessions=scales)
    print(posterior.marginals()[["mean", "sd", "contraction"]].round(2))
    # --8<-- [end:fit]

    # --8<-- [start:check]
    checked = sr.check(posterior, simulator)
    print(checked)
    for name, (middle, low, high) in checked.resimulation.quantiles().items():
        print(f"{name}: {middle:.2f} ({low:.2f} to {high:.2f})")
    checked["later sessions"].draw()[0, 0].figure.savefig(OUT / "later.png")
    sr.report(OUT / "report.html", posterior, simulator, checked=checked, title="Thirty days")
    # --8<-- [end:check]

    # --8<-- [start:compare]
    drift, tanh = sr.DriftLaw(2), sr.LatentLaw(2, 2, "tanh")
    compared = sr.compare_families(
        {
            "linear": (simulator, uniform(law, -1.5, 1.5)),
            "tanh": (SessionLaw(tanh, errors="scaled"), uniform(tanh, -3, 3, rate=(0, 1))),
            "drift": (SessionLaw(drift, errors="scaled"), uniform(drift, -1, 1)),
            "none": "no_law",
        },
        sessions=scales,
    )
    print(compared)
    # --8<-- [end:compare]

    # --8<-- [start:predict]
    both, one, rest = [0.15, 0.15], [0.15, 0.0], [0.0, 0.0]
    ahead = sr.forecast_sessions(posterior, simulator, [both] * 5 + [rest] * 5)
    print(ahead.table().head(6).round(2))
    print(ahead.cautions)
    print(sr.choose_session(posterior, simulator, {"both sites": both, "one site": one, "rest": rest}).round(3))
    # --8<-- [end:predict]

    # --8<-- [start:truth]
    seen = torch.cat([scales.scales[0], torch.ones(len(coupling), 1)], dim=1)
    decoded = seen @ torch.linalg.lstsq(seen, coupling[:, None]).solution
    r = torch.corrcoef(torch.stack([decoded[:, 0], coupling]))[0, 1]
    print(f"the coupling that made the recordings, from the scales: r = {r:.2f}")
    # --8<-- [end:truth]


if __name__ == "__main__":
    main()
