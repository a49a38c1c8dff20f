"""A posterior never changes by being asked: whatever is called in whatever order, every answer is the same."""

import random

import pytest
import torch
from cheap import PRIOR, Cheap

import sbirules as sr

QUICK = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=4, max_doublings=0)


@pytest.fixture(scope="module")
def store():
    return sr.simulate(Cheap(), PRIOR, 500, seed=1, num_workers=1)


def asked(store, tmp_path):
    """Everything that can be asked of a posterior, by name."""

    def check(p):
        found = sr.check(p, Cheap(), store=store, rules=20, networks_per_rule=2, num_workers=1)
        return [(v.name, v.level, v.finding) for v in found]

    def report(p):
        sr.report(tmp_path / "r.html", p, Cheap())
        return (tmp_path / "r.html").read_text()

    def save(p):
        p.save(tmp_path / "p")
        return (tmp_path / "p" / "posterior.json").read_text(), (tmp_path / "p" / "posterior.safetensors").read_bytes()

    return {
        "sample": lambda p: p.sample((100,), seed=3).tolist(),
        "sample again": lambda p: p.sample((700,)).tolist(),
        "map": lambda p: p.map().tolist(),
        "marginals": lambda p: p.marginals().to_dict(),
        "marginals of a seed": lambda p: p.marginals(seed=5).to_dict(),
        "log_evidence": lambda p: p.log_evidence(),
        "conditioned": lambda p: p.conditioned(a=0.1).sample((50,)).tolist(),
        "truncated": lambda p: p.truncated(a=(0.0, 0.2)).draws.tolist(),
        "draws": lambda p: p.draws.tolist(),
        "check": check,
        "report": report,
        "save": save,
        "to_inference_data": lambda p: p.to_inference_data().posterior["a"].values.tolist(),
        "density": lambda p: p.potential(torch.zeros(1, 2)).tolist(),
    }


@pytest.mark.parametrize("order", range(2))
def test_answers_do_not_depend_on_what_was_asked_before(store, tmp_path, order):
    def fresh():
        return sr.fit(store, PRIOR, constraints={"final_error": (0, 0.3)}, sampler=QUICK)

    questions = asked(store, tmp_path)
    alone = {name: ask(fresh()) for name, ask in questions.items()} if order == 0 else None
    names = list(questions)
    random.Random(order).shuffle(names)
    posterior = fresh()
    state = {name: value for name, value in vars(posterior).items() if name != "chains"}
    in_turn = {name: questions[name](posterior) for name in names}
    again = {name: questions[name](posterior) for name in reversed(names)}
    assert in_turn == again
    if alone is not None:
        assert in_turn == alone
    after = {name: value for name, value in vars(posterior).items() if name != "chains"}
    assert state.keys() == after.keys()
    assert all(state[name] is after[name] for name in state)


def test_given_applies_what_training_did_to_atoms():
    """theta ~ N(0, 1), x = max(0, theta + .3 noise): half of x is an atom at 0."""
    torch.manual_seed(0)
    theta = torch.randn(2000, 1)
    x = (theta + 0.3 * torch.randn(2000, 1)).clamp(min=0)
    kept = x.clone()
    store = sr.SimulationStore.from_arrays(theta, x, names=["theta"], summary_names=["s"])
    prior = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(1), torch.ones(1)), 1)
    x_o = torch.tensor([0.5])
    small = sr.LikelihoodSettings(members=2, hidden_features=20, epochs=20, min_steps=0)
    posterior = sr.fit(store, prior, x_o={"s": 0.5}, settings=small)
    first = posterior.sample((2000,))
    assert float(first.mean()) == pytest.approx(0.5 / 1.09, abs=0.08)  # N(.459, .29) where x > 0
    again = posterior.given({"s": 0.5}).sample((2000,))
    assert torch.equal(first, again)
    other = sr.fit(store, prior, x_o={"s": 0.0}, settings=small)
    batched = other.sample_batched((2000,), [x_o, torch.zeros(1)])
    assert float(batched[:, 0].mean()) == pytest.approx(0.459, abs=0.1)
    assert float(batched[:, 1].mean()) < -0.4
    assert torch.equal(x, kept)
    assert torch.equal(x_o, torch.tensor([0.5]))
    assert torch.equal(store.x, kept), "neither the caller's arrays nor the store's are changed"


def test_whole_number_theta_is_not_cut():
    simulator = Cheap()
    simulator.raw_per_unit = torch.tensor([0.5, 0.25])
    assert simulator.to_raw([3, 1]).tolist() == [1.5, 0.25]
    assert simulator.to_natural(torch.tensor([[1, 1]])).tolist() == [[2.0, 4.0]]
