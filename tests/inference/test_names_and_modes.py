"""Names that ArviZ uses, names that are misspelt, and torch's modes: none changes an answer without a word."""

import warnings

import pytest
import torch
from cheap import PRIOR, Cheap
from torch.distributions import Independent, Normal

import sbirules as sr
from sbirules.inference.questions.learners import LearnersQuestion

QUICK = sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=2, max_doublings=0)
GAUSS = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)


def bell(theta):
    return -0.5 * (theta / 0.3).square().sum(dim=1)


def test_coefficients_called_like_dimensions_are_renamed_openly():
    posterior = sr.Posterior(GAUSS, ["draw", "chain", "chain_"], bell, settings=QUICK)
    with pytest.warns(UserWarning, match="the coefficient 'draw' is called 'draw_' here: ArviZ has a dimension"):
        data = posterior.to_inference_data()
    assert list(data.posterior.data_vars) == ["draw_", "chain__", "chain_"]
    for k, name in enumerate(data.posterior.data_vars):
        assert data.posterior[name].dims == ("chain", "draw")
        assert torch.equal(torch.tensor(data.posterior[name].values.ravel()).float(), posterior.draws[:, k])
        assert data.posterior[name].attrs["coefficient"] == posterior.names[k]
        assert name in data.prior


def test_coefficients_called_like_dimensions_of_the_question_are_renamed():
    """ "bin", "learner" and "trial" are dimensions of what learners did."""
    run = Cheap().run(torch.tensor([[0.3, 0.2]]).expand(3, 2), seed=5)
    run.status[:] = 0
    question = LearnersQuestion.ask(sr.Trials(tuple("abc"), run), Cheap().layout, ())
    posterior = sr.Posterior(GAUSS, ["trial", "learner", "c"], bell, question, settings=QUICK)
    with pytest.warns(UserWarning, match="'trial' is called 'trial_'"):
        data = posterior.to_inference_data()
    assert list(data.posterior.data_vars) == ["trial_", "learner_", "c"]
    assert "learner" in data.observed_data.dims


def test_other_names_stay_without_a_word():
    posterior = sr.Posterior(GAUSS, ["sample", "mean", "x"], bell, settings=QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert list(posterior.to_inference_data().posterior.data_vars) == ["sample", "mean", "x"]


@pytest.mark.parametrize("names", ["abc", ["a", "a", "b"]])
def test_names_of_coefficients_differ(names):
    if names == "abc":
        with pytest.raises(ValueError, match=r"names must be a .*, got 'abc'"):
            sr.Posterior(GAUSS, names, bell)
    else:
        with pytest.raises(ValueError, match="names must be a different one for each"):
            sr.Posterior(GAUSS, names, bell)


def test_an_outcome_that_does_not_exist_is_refused():
    posterior = sr.Posterior(PRIOR, ("a", "b"), bell, settings=QUICK)
    for outcome in ("final_eror", {"final_eror": (0, 1)}, "misspelt"):
        with pytest.raises(ValueError, match=r"outcome: .* is not known.* It may be one of: final_error"):
            sr.sensitivity(posterior, Cheap(), outcome=outcome, num_workers=1)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fits_and_maxima_do_not_depend_on_torchs_modes(mode):
    store = sr.simulate(Cheap(), PRIOR, 300, seed=1, num_workers=1, progress=False)
    few = sr.EnsembleSettings(members=2, max_epochs=10)
    asked = {"constraints": {"final_error": (0, 0.3)}, "classifier": few, "sampler": QUICK}
    plain = sr.fit(store, PRIOR, **asked)
    found = plain.map()
    with mode():
        again = sr.fit(sr.SimulationStore(store.path, 300), PRIOR, **asked)
        assert torch.equal(again.map(), found)
        rules = plain.draws[:5]
        assert torch.equal(again.potential(rules), plain.potential(rules).detach())
    best = float(plain.potential(plain.draws).max())
    assert float(plain.potential(found)) >= best, "the maximum, not the best draw"
