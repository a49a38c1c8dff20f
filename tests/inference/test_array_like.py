"""Whatever is array-like is taken, in one type, by name where it has names; what users pass in is never written to."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from cheap import PRIOR, Cheap
from torch.distributions import Independent, Normal

import sbirules as sr
from sbirules.support import arguments

NAMES = ("a", "b")
RULE = [[0.5, -0.25], [1.0, 0.0]]
GIVEN = {
    "list": RULE,
    "tuple": tuple(map(tuple, RULE)),
    "numpy": np.array(RULE),
    "numpy, single": np.array(RULE, dtype=np.float32),
    "numpy, half": np.array(RULE, dtype=np.float16),
    "numpy, other bytes": np.array(RULE, dtype=">f8"),
    "numpy, backwards": np.array(RULE)[:, ::-1][:, ::-1][::-1][::-1],
    "torch, double": torch.tensor(RULE, dtype=torch.float64),
    "torch, half": torch.tensor(RULE, dtype=torch.float16),
    "torch with gradient": torch.tensor(RULE, requires_grad=True),
    "tensors in a list": [torch.tensor(row) for row in RULE],
    "pandas": pd.DataFrame(RULE, columns=["a", "b"]),
    "pandas, columns in another order": pd.DataFrame(RULE, columns=["a", "b"])[["b", "a"]],
    "pandas without names": pd.DataFrame(RULE),
    "mapping": {"b": [-0.25, 0.0], "a": [0.5, 1.0]},
}
QUICK = sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=2, max_doublings=0)


class Scaled(Cheap):
    raw_per_unit = torch.tensor([0.5, 0.25])


@pytest.fixture(scope="module")
def posterior():
    def bell(theta):
        return -0.5 * (theta / 0.2).square().sum(dim=1)

    return sr.Posterior(PRIOR, NAMES, bell, settings=QUICK)


@pytest.fixture(scope="module")
def observed():
    torch.manual_seed(0)
    theta = torch.randn(600, 2)
    x = theta + 0.3 * torch.randn(600, 2)
    store = sr.SimulationStore.from_arrays(
        theta.numpy(), pd.DataFrame(x.numpy()), names=NAMES, summary_names=["s", "t"]
    )
    small = sr.LikelihoodSettings(members=1, hidden_features=10, epochs=2, min_steps=0)
    prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    return sr.fit(store, prior, x_o=[0.5, 0.25], settings=small, sampler=QUICK), store


@pytest.mark.parametrize("kind", GIVEN)
def test_rules_of_any_kind_give_the_same_everywhere(posterior, kind):
    given, expected = GIVEN[kind], torch.tensor(RULE)
    for ask in (posterior.log_prob, posterior.potential, posterior.log_likelihood):
        out = ask(given)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.detach(), ask(expected))
    torch.testing.assert_close(
        Scaled().to_raw(given).detach().float(), torch.tensor([[0.25, -0.0625], [0.5, 0.0]]), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        Scaled().to_natural(given).detach().float(), torch.tensor([[1.0, -1.0], [2.0, 0.0]]), atol=1e-6, rtol=0
    )
    store = sr.simulate(Cheap(), given, num_workers=1, progress=False)
    torch.testing.assert_close(store.theta, expected)
    assert store.theta.dtype == torch.float32
    torch.manual_seed(0)
    x = Cheap()(given)
    torch.manual_seed(0)
    assert torch.equal(x, Cheap()(expected))
    assert torch.equal(posterior.with_draws(given).draws.detach(), expected)


def test_whole_numbers_are_rules(posterior):
    for given in ([[1, 0]], [1, 0], np.array([[1, 0]]), torch.tensor([1, 0], dtype=torch.int8), {"a": 1, "b": 0}):
        assert float(posterior.log_prob(given)) == pytest.approx(float(posterior.log_prob([1.0, 0.0])))
        assert Scaled().to_raw(given).flatten().tolist() == [0.5, 0.0]
        assert Scaled().to_natural(given).flatten().tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([[1.0, 2.0, 3.0]], r"one column per coefficient \(a, b\), got \(1, 3\)"),
        (1.0, r"one column per coefficient \(a, b\), got \(\)"),
        ([[["x", "y"]]], r"must be numbers"),
        ([[1.0, None]], r"must be numbers"),
        ([[1.0, 2.0], [3.0]], r"must be numbers"),
        (np.array([[1j, 2.0]]), r"must be numbers"),
        (torch.tensor([[1j, 2.0]]), r"must be numbers"),
        (pd.DataFrame(RULE, columns=["a", "c"]), "must have the columns a, b, got a, c"),
        ({"a": 1.0}, "must have the columns a, b, got a"),
    ],
)
def test_what_holds_no_rules_is_refused_with_the_columns_named(posterior, given, words):
    for ask in (posterior.log_prob, posterior.log_likelihood, Cheap().to_raw, Cheap().to_natural, Cheap()):
        with pytest.raises(ValueError, match=words):
            ask(given)


def test_rules_that_are_not_finite_are_refused(posterior):
    for ask in (posterior.log_prob, Cheap()):
        with pytest.raises(ValueError, match="theta must be finite, got nan for b in row 1"):
            ask([[0.0, 0.0], [0.0, math.nan]])


def test_observations_of_any_kind_give_the_same(observed):
    posterior, _ = observed
    expected = posterior.given([1.0, -1.0]).potential(RULE)
    many = (
        (1, -1),
        np.array([1, -1]),
        np.array([[1.0, -1.0]]),
        torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=True),
        {"t": -1, "s": np.float64(1.0)},
        {"s": torch.tensor(1.0), "t": torch.tensor(-1)},
        pd.Series({"t": -1.0, "s": 1.0}),
        pd.DataFrame({"s": [1.0], "t": [-1.0]}),
    )
    for x_o in many:
        again = posterior.given(x_o)
        assert not again.question.x_o.requires_grad
        assert torch.equal(again.potential(RULE), expected)
    draws = posterior.sample_batched((50,), list(many))
    assert all(torch.isfinite(draws[:, k]).all() for k in range(len(many)))
    question = type(posterior.question)(["s", "t"], np.array([1, -1]))
    assert torch.equal(question.x_o, torch.tensor([1.0, -1.0]))


def test_nothing_that_is_passed_in_is_written_to(observed):
    _, store = observed
    theta, x, x_o = torch.randn(300, 2), torch.randn(300, 2).clamp(min=0), torch.tensor([0.5, 0.0])
    table, array = pd.DataFrame(RULE, columns=["a", "b"]), np.array(RULE)
    passed = (theta, x, x_o)
    before = [v.clone() for v in passed] + [table.copy(), array.copy(), store.x.clone(), store.theta.clone()]
    mine = sr.SimulationStore.from_arrays(theta, x, names=NAMES)
    prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    small = sr.LikelihoodSettings(members=1, hidden_features=10, epochs=2, min_steps=0)
    kept = mine.x.clone()
    posterior = sr.fit(mine, prior, x_o=x_o, settings=small, sampler=QUICK)
    posterior.given(x_o).conditioned(a=0.1).sample((20,))
    posterior.sample_batched((20,), [x_o])
    posterior.with_draws(theta).map(num_starts=1)
    for rules in (table, array, theta):
        posterior.log_prob(rules)
        sr.simulate(Cheap(), rules, num_workers=1, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before[:3], passed, strict=True))
    assert table.equals(before[3])
    assert np.array_equal(array, before[4])
    assert torch.equal(store.x, before[5])
    assert torch.equal(store.theta, before[6])
    assert torch.equal(mine.x, kept)
    # and what comes later to the caller's array does not change the posterior
    density = posterior.log_prob(RULE)
    x_o[:] = 9.0
    assert torch.equal(posterior.log_prob(RULE), density)


def test_floating_keeps_what_was_given():
    assert arguments.floating(np.array([1e-300])).dtype == torch.float64
    assert arguments.floating([1, 2]).dtype == torch.get_default_dtype()
    array = np.array([1.0, 2.0])
    arguments.floating(array)[0] = 5.0
    assert array[0] == 1.0
