"""Measures of spike trains: of trains whose values are known, against brute force, and against elephant."""

import numpy as np
import pytest

from sbirules.simulators.spiking import coefficient_of_variation, correlation, fano_factor

SECONDS, NEURONS = 200.0, 40


def poisson(rate=10.0, seed=0):
    draw = np.random.default_rng(seed)
    count = draw.poisson(rate * SECONDS, NEURONS)
    neuron = np.repeat(np.arange(NEURONS), count)
    time = draw.uniform(0, SECONDS, len(neuron))
    order = np.argsort(time)
    return time[order], neuron[order]


def regular(period=0.1, together=True):
    shift = np.zeros(NEURONS) if together else np.arange(NEURONS) * period / NEURONS
    time = (np.arange(0, SECONDS - period, period)[:, None] + shift + 0.005).ravel()
    order = np.argsort(time, kind="stable")
    return time[order], np.tile(np.arange(NEURONS), len(time) // NEURONS)[order]


def test_intervals_of_poisson_neurons_vary_as_much_as_their_mean():
    assert coefficient_of_variation(*poisson()) == pytest.approx(1.0, abs=0.02)
    assert coefficient_of_variation(*regular()) == pytest.approx(0.0, abs=1e-9)
    time, neuron = poisson()
    third = np.concatenate([np.flatnonzero(neuron == k)[2::3] for k in range(NEURONS)])
    third.sort()  # every third spike: gamma intervals of shape 3
    assert coefficient_of_variation(time[third], neuron[third]) == pytest.approx(3**-0.5, abs=0.02)


def test_neurons_with_few_spikes_do_not_count():
    assert np.isnan(coefficient_of_variation(np.array([0.1, 0.2, 0.3]), np.array([0, 0, 0])))
    assert np.isnan(coefficient_of_variation(np.array([]), np.array([], dtype=int)))
    four = coefficient_of_variation(np.array([0.1, 0.2, 0.3, 0.5]), np.array([4, 4, 4, 4]))
    assert four == pytest.approx(np.std([0.1, 0.1, 0.2]) / np.mean([0.1, 0.1, 0.2]))


def test_the_population_of_independent_neurons_has_a_fano_factor_of_one():
    time, neuron = poisson()
    assert fano_factor(time, SECONDS) == pytest.approx(1.0, abs=0.03)
    # each spike copied to all neurons: counts are n times a Poisson count
    assert fano_factor(np.repeat(time[neuron == 0], NEURONS), SECONDS) == pytest.approx(NEURONS, rel=0.03)
    assert np.isnan(fano_factor(np.array([]), SECONDS))


def test_correlations_of_known_trains():
    assert correlation(*poisson(), NEURONS, SECONDS) == pytest.approx(0.0, abs=0.002)
    assert correlation(*regular(), NEURONS, SECONDS) == pytest.approx(1.0)
    # a share of common spikes: two trains of rate a + c share those of rate c
    own, common = poisson(6.0, 1), poisson(4.0, 2)
    shared = common[0][common[1] == 0]
    time = np.concatenate([own[0], np.repeat(shared, NEURONS)])
    neuron = np.concatenate([own[1], np.tile(np.arange(NEURONS), len(shared))])
    assert correlation(time, neuron, NEURONS, SECONDS) == pytest.approx(0.4, abs=0.03)
    assert np.isnan(correlation(np.array([0.1]), np.array([0]), NEURONS, SECONDS))


def test_correlations_are_those_of_all_pairs():
    time, neuron = poisson(3.0, 5)
    silent = neuron != 7
    time, neuron = time[silent], neuron[silent]
    counts = np.stack([np.histogram(time[neuron == k], np.arange(0, SECONDS + 0.005, 0.01))[0] for k in range(NEURONS)])
    fired = counts.var(axis=1) > 0
    matrix = np.corrcoef(counts[fired])
    n = int(fired.sum())
    brute = (matrix.sum() - n) / (n * (n - 1))
    assert correlation(time, neuron, NEURONS, SECONDS) == pytest.approx(brute, abs=1e-9)


def test_against_elephant():
    elephant = pytest.importorskip("elephant")
    from elephant.conversion import BinnedSpikeTrain
    from elephant.spike_train_correlation import correlation_coefficient
    from elephant.statistics import cv, isi
    from neo import SpikeTrain
    from quantities import ms, s

    assert elephant.__name__ == "elephant"
    time, neuron = poisson(5.0, 9)
    trains = [SpikeTrain(time[neuron == k] * s, t_stop=SECONDS * s) for k in range(NEURONS)]
    theirs = np.mean([cv(isi(t)) for t in trains])
    assert coefficient_of_variation(time, neuron) == pytest.approx(float(theirs), abs=1e-9)
    matrix = correlation_coefficient(BinnedSpikeTrain(trains, bin_size=10 * ms))
    off = matrix[~np.eye(NEURONS, dtype=bool)].mean()
    assert correlation(time, neuron, NEURONS, SECONDS) == pytest.approx(float(off), abs=1e-6)
