"""Rounds by the clock: as many as there is time for, and as many again in a rerun."""

import json

import pytest
from cheap import PRIOR, Cheap

import sbirules as sr
from sbirules.inference.rounds import refining

QUICK = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=4, max_doublings=0)
FAST = {"classifier": sr.EnsembleSettings(members=2, hidden=8, max_epochs=3), "sampler": QUICK}
KEEP = {"num_simulations": 100, "num_workers": 1, "seed": 3, **FAST}


@pytest.fixture(scope="module")
def first():
    store = sr.simulate(Cheap(), PRIOR, 400, seed=1, num_workers=1)
    return sr.fit(store, PRIOR, constraints={"final_error": (0, 0.5)}, **FAST), store


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a minute each time it is looked at."""
    now = [0.0]

    def look():
        now[0] += 60.0
        return now[0]

    monkeypatch.setattr(refining, "monotonic", look)


@pytest.mark.parametrize(("minutes", "rounds"), [(0.5, 1), (2.5, 2), (60.0, 3)])
def test_rounds_are_those_there_is_time_for(first, clock, tmp_path, minutes, rounds):
    posterior, store = first
    if rounds < 3:
        with pytest.warns(UserWarning, match=f"minutes={minutes:g} left time for {rounds} of 3 rounds"):
            _, stores = sr.refine(posterior, Cheap(), store, PRIOR, minutes=minutes, folder=tmp_path, **KEEP)
    else:
        _, stores = sr.refine(posterior, Cheap(), store, PRIOR, minutes=minutes, folder=tmp_path, **KEEP)
    assert len(stores) == 1 + rounds
    assert json.loads((tmp_path / "steps.json").read_text())["rounds"] == rounds


@pytest.mark.filterwarnings("ignore:minutes")
def test_a_rerun_takes_the_steps_that_were_taken(first, clock, tmp_path, monkeypatch):
    posterior, store = first
    before, _ = sr.refine(posterior, Cheap(), store, PRIOR, minutes=2.5, folder=tmp_path, **KEEP)
    monkeypatch.setattr(refining, "monotonic", lambda: 0.0)  # all the time in the world
    again, stores = sr.refine(posterior, Cheap(), store, PRIOR, minutes=2.5, folder=tmp_path, **KEEP)
    assert len(stores) == 3
    theta = PRIOR.sample((50,))
    assert (again.log_likelihood(theta) == before.log_likelihood(theta)).all()
    (tmp_path / "steps.json").write_text("{")
    with pytest.warns(UserWarning, match="rounds go by the clock again"):
        sr.refine(posterior, Cheap(), store, PRIOR, minutes=2.5, folder=tmp_path, rounds=1, **KEEP)


def test_no_time_is_refused_in_words(first):
    posterior, store = first
    with pytest.raises(ValueError, match="minutes must be a number greater than 0, got 0"):
        sr.refine(posterior, Cheap(), store, PRIOR, minutes=0)
