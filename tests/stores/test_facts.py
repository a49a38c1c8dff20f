"""What files say of themselves is held against what they hold: manifests against shards, tensors against checksums."""

import json

import pytest
import torch
from cheap import PRIOR, Cheap, Line

from sbirules import (
    Coefficient,
    EnsembleSettings,
    PointEstimate,
    Posterior,
    SimulationStore,
    fit,
    merge,
    simulate,
    summary,
)
from sbirules.model.rules import ThreeFactorRule
from sbirules.stores.manifest import facts_digest, new_manifest, read_manifest
from sbirules.support import tensors
from sbirules.support.files import write_json


def quiet(folder, simulator=None, n=16, **options):
    keep = {"shard_size": 8, "num_workers": 1, "progress": False, **options}
    return simulate(Cheap() if simulator is None else simulator, PRIOR, n, store=folder, **keep)


@summary("half_error", fields=["error"])
def half_error(trajectory):
    return trajectory.error.nanmean(dim=1) / 2


def with_another_summary():
    """A simulator of one's own, whose config() does not tell its summaries."""
    out = Cheap()
    out.summaries = (half_error,)
    return out


def rewritten(folder, **changes):
    """A manifest that says something else, with every checksum of its own made right."""
    content = {k: v for k, v in read_manifest(folder).items() if k not in ("sha256", "facts")} | changes
    kept = {k: content[k] for k in ("names", "summary_names", "layout", "rows", "raw_per_unit") if k in content}
    write_json(folder / "manifest.json", new_manifest(content["config"], content["seed"], "", kept))


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ["b", "a"]},
        {"names": ["a", "b", "c"], "raw_per_unit": [1.0] * 3},
        {"summary_names": ["other"]},
        {"summary_names": ["final_error", "other"]},
        {"seed": 1},
        {"layout": {"fields": [], "type_names": []}},
        {"rows": 9},
    ],
)
def test_a_manifest_that_says_something_else_of_the_same_shards_is_noticed(tmp_path, changes):
    quiet(tmp_path / "s")
    rewritten(tmp_path / "s", **changes)
    with pytest.raises(ValueError, match="belongs to other simulations"):
        SimulationStore(tmp_path / "s").theta  # noqa: B018


@pytest.mark.parametrize(("key", "value"), [("raw_per_unit", [1.0, 2.0]), ("hash", "0" * 64), ("names", ["b", "a"])])
def test_a_manifest_that_was_edited_is_refused(tmp_path, key, value):
    store = quiet(tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    path.write_text(json.dumps({**store.manifest, key: value}))
    with pytest.raises(ValueError, match=r"manifest\.json is not as it was written: .*Put the file back"):
        SimulationStore(tmp_path / "s")


def test_numbers_of_columns_are_those_of_the_shards_in_stores_without_checksums_too(tmp_path):
    store = quiet(tmp_path / "s")
    old = {k: v for k, v in store.manifest.items() if k not in ("facts", "sha256")}
    write_json(tmp_path / "s" / "manifest.json", {**old, "summary_names": ["final_error", "other"]})
    opened = SimulationStore(tmp_path / "s")
    for k in range(2):  # as shards were written then
        opened.write(k, tensors.encode(tensors.read(store.shard_path(k))[1], {"owner": opened.owner(k)}))
    with pytest.raises(
        ValueError, match=r"x in shard-000000.safetensors has shape \(8, 1\), but by manifest.json it must be"
    ):
        opened.x  # noqa: B018


def test_a_simulator_of_the_same_configuration_with_other_columns_is_refused(tmp_path):
    quiet(tmp_path / "s", n=8)
    with pytest.raises(
        ValueError, match=r"with another summary names: it was \['final_error'\] and is now \['half_error'\]"
    ):
        quiet(tmp_path / "s", with_another_summary())
    quiet(tmp_path / "other", with_another_summary(), shards=(1, 2))
    with pytest.raises(ValueError, match="with another summary names"):
        merge([tmp_path / "s", tmp_path / "other"], tmp_path / "all")
    assert facts_digest(read_manifest(tmp_path / "s")) != facts_digest(read_manifest(tmp_path / "other"))


# Posteriors and point estimates -------------------------------------------------------------------


@pytest.fixture(scope="module")
def posterior():
    store = simulate(Cheap(), PRIOR, 300, num_workers=1, progress=False)
    quick = EnsembleSettings(members=2, hidden=8, max_epochs=3)
    made = fit(store, PRIOR, constraints={"final_error": (0.0, 0.5)}, classifier=quick)
    return made.with_draws(PRIOR.sample((50,)))


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def test_one_bit_of_a_saved_posterior_is_noticed(posterior, tmp_path):
    posterior.save(tmp_path)
    path = tmp_path / "posterior.safetensors"
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for at in torch.linspace(start, len(whole) - 1, 25).long().tolist():
        flipped(path, at)
        with pytest.raises(ValueError, match=r"is damaged: the checksum of .* is wrong\. Fit and save again"):
            Posterior.load(tmp_path)
        path.write_bytes(whole)
    assert torch.equal(Posterior.load(tmp_path).draws, posterior.draws)
    assert start < len(whole)


def test_the_content_of_another_posterior_is_noticed(posterior, tmp_path):
    posterior.save(tmp_path / "one")
    posterior.truncated(a=(0.0, 0.5)).save(tmp_path / "two")
    (tmp_path / "one" / "posterior.json").write_bytes((tmp_path / "two" / "posterior.json").read_bytes())
    with pytest.raises(ValueError, match=r"was saved with another posterior\.json"):
        Posterior.load(tmp_path / "one")


def test_shape_and_type_are_part_of_a_checksum(tmp_path):
    tensors.write(tmp_path / "t", {"a": torch.ones(2, 3)})
    content = (tmp_path / "t").read_bytes()
    for was, now in ((b"[2,3]", b"[3,2]"), (b'"F32"', b'"I32"')):
        assert was in content
        (tmp_path / "t").write_bytes(content.replace(was, now))
        with pytest.raises(tensors.DamagedFile, match="checksum of a"):
            tensors.read(tmp_path / "t")


class Opposite(Line):
    """The same coefficients, with another effect."""

    coefficients = (Coefficient("a"), Coefficient("b"))

    def drive(self, theta, rate, deviation, weight):
        return -theta["a"] * rate - theta["b"] * deviation


def test_a_point_estimate_of_another_family_with_the_same_names_is_refused(tmp_path):
    trace = {name: torch.zeros(3, 1) for name in ("value", "gradient_norm", "alive")} | {"theta": torch.zeros(3, 1, 2)}
    point = PointEstimate(Line(), torch.ones(1, 2), torch.zeros(1, dtype=torch.bool), None, trace, torch.ones(2))
    point.save(tmp_path)
    assert torch.equal(PointEstimate.load(tmp_path, Line()).theta, point.theta)
    assert issubclass(Opposite, ThreeFactorRule)
    with pytest.raises(ValueError, match="change synapses in another way than those of Opposite"):
        PointEstimate.load(tmp_path, Opposite())


def test_summaries_of_ones_own_that_do_not_come_back_are_named(tmp_path):
    import pandas as pd

    simulator = Cheap()
    store = simulate(simulator, PRIOR, 400, num_workers=1, progress=False)
    run = simulator.run([[0.2, -0.3]] * 3, seed=5)
    rows = [(k, t, float(run.error[k, t])) for k in range(3) for t in range(10)]
    table = pd.DataFrame(rows, columns=["learner", "trial", "error"])
    quick = EnsembleSettings(members=2, hidden=8, max_epochs=2)
    made = fit(store, PRIOR, trials=table, summaries=[half_error], settings=quick, classifier=quick)
    made.with_draws(PRIOR.sample((20,))).save(tmp_path)
    with pytest.warns(UserWarning, match="of the summaries half_error: .* given.. cannot be asked"):
        loaded = Posterior.load(tmp_path)
    with pytest.raises(ValueError, match="fit again"):
        loaded.given(table)
