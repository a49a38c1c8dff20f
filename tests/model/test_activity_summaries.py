"""Summaries of recorded units against closed forms and other libraries, and what they are unchanged by."""

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes as scipy_procrustes
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

import sbirules as sr
from sbirules.model.summaries import rebuild, summarise, written
from sbirules.model.summaries.activity import ACTIVITY, FROM_ACTIVITY

EVERY = sr.summaries.activity_summaries((*FROM_ACTIVITY, *ACTIVITY[:5]))
TURNED = ("dimensionality", "decoding", "decoding_explained", "dissimilarity", "drift", "alignment", "procrustes")


def run(responses, types=None, names=("A", "B")):
    responses = torch.as_tensor(responses)
    responses = responses[None] if responses.ndim == 2 else responses
    trials = responses.shape[1]
    types = torch.arange(trials) % len(names) if types is None else torch.as_tensor(types)
    status = torch.zeros(len(responses), dtype=torch.int8)
    return sr.Trajectory(status, types.expand(len(responses), -1), per_unit={"responses": responses}, type_names=names)


def made(seed=0, trials=60, units=7, networks=3):
    """Responses whose signal and covariance change over the session."""
    stream = np.random.default_rng(seed)
    signal = stream.normal(size=(networks, 2, 2, units))
    late = np.linspace(0, 1, trials)[None, :, None]
    kind = np.arange(trials) % 2
    mean = (1 - late) * signal[:, 0][:, kind] + late * signal[:, 1][:, kind]
    mix = stream.normal(size=(networks, units, units)) * 0.3
    return mean + stream.normal(size=(networks, trials, units)) @ mix


@pytest.mark.parametrize("summary", EVERY, ids=lambda s: s.name)
def test_the_order_of_units_and_what_more_is_said_changes_nothing(summary):
    x = made()
    units = x.shape[2]
    before = summarise(run(x), [summary])
    order = np.random.default_rng(1).permutation(units)
    assert torch.allclose(summarise(run(x[:, :, order]), [summary]), before, atol=1e-5)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(units, units)))[0]
    same = torch.allclose(summarise(run(x @ turn), [summary]), before, atol=1e-5)
    assert same == (summary.name.removesuffix("_change") in TURNED)
    assert ("rotations" in summary.help) == (summary.name.removesuffix("_change") in TURNED)


@pytest.mark.parametrize("summary", EVERY, ids=lambda s: s.name)
def test_units_and_trials_that_are_missing_are_left_out(summary):
    x = made()
    more = np.concatenate([x, np.full((*x.shape[:2], 4), np.nan)], axis=2)
    assert torch.allclose(summarise(run(more), [summary]), summarise(run(x), [summary]), atol=1e-6)
    gone = x.copy()
    gone[:, 5, 2] = np.nan
    found = summarise(run(gone), [summary])
    assert torch.isfinite(found).all()
    assert torch.allclose(found, summarise(run(x), [summary]), atol=0.5)


@pytest.mark.parametrize("summary", EVERY, ids=lambda s: s.name)
def test_a_summary_comes_back_from_its_plain_form(summary):
    again = rebuild(written(summary))
    x = run(made())
    assert again.columns(x.type_names) == summary.columns(x.type_names)
    assert torch.equal(summarise(x, [again]), summarise(x, [summary]))
    assert again.atoms == summary.atoms


def test_distributions_are_means_over_trials():
    x = made(networks=1)[0]
    found = summarise(run(x), [sr.summaries.response_distribution(2)])[0]
    for b, part in enumerate((x[:30], x[30:])):
        assert np.allclose(found[2 * b : 2 * b + 2], [part.mean(0).mean(), part.mean(0).std()], atol=1e-6)


def test_selectivity_is_the_share_between_types():
    x = made(networks=1)[0]
    between = np.stack([x[0::2].mean(0), x[1::2].mean(0)]).var(0)
    within = (x[0::2].var(0) + x[1::2].var(0)) / 2
    share = between / (between + within)
    found = summarise(run(x), [sr.summaries.selectivity(1)])[0]
    assert np.allclose(found, [share.mean(), share.std()], atol=1e-6)


def test_dimensionality_is_the_participation_ratio():
    x = made(networks=1)[0]
    values = np.linalg.eigvalsh(np.cov(x.T))
    assert np.allclose(
        summarise(run(x), [sr.summaries.dimensionality(1)]), values.sum() ** 2 / (values**2).sum(), rtol=1e-5
    )
    flat = torch.randn(2, 20_000, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(summarise(run(flat), [sr.summaries.dimensionality(1)]), torch.tensor(5.0), atol=0.05)


def test_decoding_is_that_of_ridge_regression_with_each_trial_left_out():
    x = made(networks=1, trials=40)[0]
    kind = np.arange(40) % 2
    size = ((x - x.mean(0)) ** 2).sum(0).mean()
    target = np.eye(2)[kind]
    guess = cross_val_predict(Ridge(alpha=size), x, target, cv=LeaveOneOut())
    # the loop centres without the trial that is left out, the formula with the penalty of all: equal for one penalty
    accuracy = (guess.argmax(1) == kind).mean()
    explained = 1 - ((target - guess) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
    r = run(x)
    assert np.allclose(summarise(r, [sr.summaries.decoding(1)]), accuracy)
    assert np.allclose(summarise(r, [sr.summaries.decoding(1, score="explained")]), explained, atol=1e-5)


def test_types_that_cannot_be_told_apart_are_decoded_by_chance():
    x = torch.randn(200, 120, 6, generator=torch.Generator().manual_seed(0))
    accuracy = summarise(run(x), [sr.summaries.decoding(1)])
    assert 0.42 < float(accuracy.mean()) < 0.5  # a trial left out makes its own type rarer
    explained = summarise(run(x), [sr.summaries.decoding(1, score="explained")])
    assert float(explained.mean()) < 0.02


def test_dissimilarity_has_no_bias_by_noise():
    torch.manual_seed(0)
    signal = torch.randn(2, 9)
    mean = signal[torch.arange(40) % 2]
    x = mean + 3.0 * torch.randn(4000, 40, 9)
    found = summarise(run(x), [sr.summaries.dissimilarity(1)])
    squared = found.sign() * found.square()
    true = (signal[0] - signal[1]).square().mean()
    assert abs(float(squared.mean() - true)) < 4 * float(squared.std()) / 4000**0.5


def test_dissimilarity_is_that_of_rsatoolbox():
    rsatoolbox = pytest.importorskip("rsatoolbox")
    x = made(networks=1, trials=48)[0]
    kind = np.arange(48) % 4
    half = (np.arange(48) // 4) % 2
    data = rsatoolbox.data.Dataset(x, obs_descriptors={"type": kind, "half": half})
    rdm = rsatoolbox.rdm.calc_rdm(data, method="crossnobis", descriptor="type", cv_descriptor="half").dissimilarities[0]
    found = summarise(run(x, kind, ("A", "B", "C", "D")), [sr.summaries.dissimilarity(1)])[0]
    assert np.allclose(found.sign() * found.square(), rdm, atol=1e-6)


def test_changes_are_differences_to_the_first_part():
    x = run(made())
    for name in ("selectivity", "dimensionality", "dissimilarity", "decoding"):
        maker = getattr(sr.summaries, name)
        levels, changes = (summarise(x, [maker(3, change=change)]) for change in (False, True))
        width = levels.shape[1] // 3
        assert torch.equal(changes[:, :width], levels[:, :width])
        for b in range(1, 3):
            at = slice(b * width, (b + 1) * width)
            assert torch.allclose(changes[:, at], levels[:, at] - levels[:, :width], atol=1e-6)


def test_drift_is_the_distance_between_means():
    x = made(networks=1)[0]
    first, last = ([part[k::2].mean(0) for k in (0, 1)] for part in (x[:30], x[30:]))
    expected = [np.sqrt(((b - a) ** 2).mean()) for a, b in zip(first, last, strict=True)]
    assert np.allclose(summarise(run(x), [sr.summaries.drift(2)]), expected, atol=1e-6)


def rows_of(part, within):
    """Mean responses by sub-part and type."""
    return np.stack([sub[k::2].mean(0) for sub in np.split(part, within) for k in (0, 1)])


def test_alignment_is_linear_cka():
    x = made(networks=1, trials=64)[0]
    a, b = (rows_of(part, 4) for part in (x[:32], x[32:]))
    a, b = a - a.mean(0), b - b.mean(0)
    k, m = a @ a.T, b @ b.T
    expected = (k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum())  # by kernels, not by covariances
    assert np.allclose(summarise(run(x), [sr.summaries.alignment(2)]), expected, atol=1e-6)


def test_procrustes_is_that_of_scipy():
    x = made(networks=1, trials=64)[0]
    a, b = (rows_of(part, 4) for part in (x[:32], x[32:]))
    a, b = a - a.mean(0), b - b.mean(0)
    _, _, disparity = scipy_procrustes(a, b)  # 1 - s^2 of matrices of unit size, with s their nuclear norm
    common = np.sqrt(1 - disparity) * np.linalg.norm(a) * np.linalg.norm(b)
    both = (a**2).sum() + (b**2).sum()
    assert np.allclose(summarise(run(x), [sr.summaries.procrustes(2)]), (both - 2 * common) / both, atol=1e-6)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))[0]
    turned = np.concatenate([x[:32], x[:32] @ turn])
    assert float(summarise(run(turned), [sr.summaries.procrustes(2)])) < 1e-6
    assert float(summarise(run(turned), [sr.summaries.alignment(2)])) > 1 - 1e-5


def test_rows_do_not_depend_on_each_other():
    x = made(networks=600, trials=24)
    whole = summarise(run(x), EVERY)
    assert torch.allclose(whole[300:305], summarise(run(x[300:305]), EVERY), atol=1e-6)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sr.summaries.drift(1), "bins must be"),
        (lambda: sr.summaries.decoding(score="right"), "score"),
        (lambda: sr.summaries.activity_summaries(["colour"]), "names"),
        (
            lambda: summarise(sr.Trajectory(torch.zeros(2, dtype=torch.int8), torch.zeros(2, 5).long()), EVERY),
            "not recorded here",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
