"""Spike trains: what they hold, and what other programs read of them."""

from dataclasses import replace

import numpy as np
import pytest

import sbirules as sr


@pytest.fixture(scope="module")
def trains():
    draw = np.random.default_rng(0)
    time = np.sort(draw.uniform(0, 2.0, 300))
    neuron = draw.integers(0, 10, 300).astype(np.int32)
    weights = {"EE": draw.random(50), "IE": draw.random(20)}
    means = {"EE": np.array([0.5, 0.6]), "IE": np.array([0.5, 0.4])}
    return sr.SpikeTrains(time, neuron, 8, 2, 2.0, 1.0, np.array([[10.0, 12.0], [11.0, 13.0]]), means, weights)


def test_a_neurons_spikes_are_its_own(trains):
    every = [trains.of(k) for k in range(10)]
    assert sum(map(len, every)) == 300
    assert np.array_equal(every[3], trains.time[trains.neuron == 3])
    assert "300 spikes" in repr(trains)
    with pytest.raises(ValueError, match="neuron must hold positions below 10"):
        trains.of(10)


def test_nwb_files_hold_every_spike(trains, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    path = trains.to_nwb(tmp_path / "network.nwb")
    with pynwb.NWBHDF5IO(str(path), "r") as source:
        units = source.read().units
        assert len(units) == 10
        assert units["population"][7] == "excitatory"
        assert units["population"][8] == "inhibitory"
        for k in range(10):
            assert np.allclose(units["spike_times"][k], trains.of(k))
    with pytest.raises(ValueError, match="path must be a new file"):
        trains.to_nwb(path)


def test_neo_has_a_train_for_each_neuron(trains):
    pytest.importorskip("neo")
    segment = trains.to_neo()
    assert len(segment.spiketrains) == 10
    for k, train in enumerate(segment.spiketrains):
        assert np.allclose(train.rescale("s").magnitude, trains.of(k))
    assert segment.spiketrains[9].annotations["population"] == "inhibitory"


def test_figures_show_what_there_is(trains):
    grid = sr.figures.raster([trains, trains], labels=["a", "b"], start=0.5, seconds=1.0)
    shown = grid[0, 0].collections
    inside = (trains.time >= 0.5) & (trains.time < 1.5)
    assert sum(len(c.get_offsets()) for c in shown) == int(inside.sum())
    assert [ax.get_title() for ax in grid.ravel()] == ["a", "b"]
    over_time = sr.figures.rates_and_weights(trains, ["IE"])
    assert np.allclose(over_time[0, 0].lines[0].get_ydata(), [10.0, 11.0, 11.0])
    assert np.allclose(over_time[1, 0].lines[0].get_ydata(), [0.5, 0.4])
    with pytest.raises(ValueError, match="synapses: 'XE' is not known"):
        sr.figures.rates_and_weights(trains, ["XE"])
    with pytest.raises(ValueError, match="labels must be one for each of 1 networks"):
        sr.figures.raster(trains, labels=["a", "b"])


def test_patterns_and_networks_that_were_stopped_are_shown(trains):
    shown = replace(trains, presented=[(0.4, 0.6, "familiar"), (0.8, 1.0, "novel")])
    grid = sr.figures.raster(shown, start=0.0, seconds=2.0)
    assert [p.get_label() for p in grid[0, 0].patches] == ["familiar pattern", "novel pattern"]
    edges = [p.get_x() for p in grid[0, 0].patches]
    assert edges == [0.4, 0.8]
    early = replace(
        trains, time=trains.time[:0], neuron=trains.neuron[:0], duration=0.3, blown_up=True, rates=trains.rates * np.nan
    )
    rate, weight, _ = sr.figures.rates_and_weights(early, ["IE"])[:, 0]
    for ax in (rate, weight):
        assert [t.get_text() for t in ax.texts] == ["stopped after 0.3 s,\nbefore a bin of 1 s was over"]
    assert sr.figures.raster([shown, early], start=0.5)[0, 1].texts[0].get_text() == "stopped after 0.3 s"


def test_rates_are_those_of_their_bins(trains):
    rate = sr.figures.rates_and_weights(trains, ["IE"])[0, 0]
    x, y = rate.lines[0].get_data()
    assert list(x) == [0.0, 1.0, 2.0]
    assert list(y) == [10.0, 11.0, 11.0]
