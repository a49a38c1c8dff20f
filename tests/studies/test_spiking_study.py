"""A study of spiking networks, from its file to its report."""

import json

import numpy as np
import pytest

import sbirules as sr
from sbirules.simulators import SpikingNetwork
from sbirules.studies.stages import run_study
from sbirules.studies.study import Study

STUDY = {
    "rule": {"family": "spike_pair", "synapses": ["IE"]},
    "simulator": {
        "name": "spiking",
        **{"num_excitatory": 40, "num_inhibitory": 10, "num_inputs": 50},
        **{"in_degree_excitatory": 8, "in_degree_inhibitory": 8, "in_degree_inputs": 20},
        **{"weights": {"XE": 0.5, "XI": 0.5}, "duration": 1.0, "judged": 0.5, "bin_length": 0.25},
    },
    "prior": {"name": "uniform", "low": -2, "high": 2},
    "simulate": {"num_simulations": 400, "seed": 0},
    "constraints": {"rate_E": [5, 30], "weight_at_bounds_IE": [0, 0.2]},
    "check": {"rules": 16, "networks_per_rule": 2},
    "sensitivity": {"rules": 4, "networks": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("spiking") / "out"
    run_study(Study.of(STUDY, name="spiking"), out, num_workers=2)
    return out


def test_the_report_shows_spikes(folder):
    page = (folder / "report.html").read_text()
    assert "A weight changes when either of its neurons fires" in page
    assert "its spikes in the last second" in page
    assert (folder / "figures" / "raster.png").stat().st_size > 5000
    assert (folder / "figures" / "rates_and_weights.csv").stat().st_size > 100
    assert "alpha_IE" in json.loads((folder / "summary.json").read_text())["parameters"]


def test_its_store_gives_the_networks_again(folder):
    store = sr.SimulationStore(folder / "store")
    settings = {k: v for k, v in STUDY["simulator"].items() if k != "name"}
    simulator = SpikingNetwork(sr.SpikePairRule(["IE"]), summaries=["rate_E", "weight_at_bounds_IE"], **settings)
    assert store.names == simulator.names
    assert set(store.summary_names) >= {"rate_E", "weight_at_bounds_IE"}
    assert np.isfinite(store.x[store.status == 0].numpy()).all()


def test_the_bundled_study_is_read():
    from importlib import resources

    with resources.as_file(resources.files("sbirules").joinpath("studies")) as place:
        study = Study.read(place / "spiking.toml")
    assert study.name == "spiking"
