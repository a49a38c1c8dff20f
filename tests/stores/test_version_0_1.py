"""What version 0.1 wrote and how it was called: stores are read, posteriors refused in a sentence, old words warn."""

import json

import pytest
import torch
from cheap import PRIOR, Cheap, Line

import sbirules as sr
from sbirules.stores.manifest import BEFORE
from sbirules.stores.shards import encode
from sbirules.support.files import write_json


@pytest.fixture
def old(tmp_path):
    """A store as 0.1 laid it out: fields of trials by name, of the run behind "activity.", a criterion in the manifest."""
    new = sr.simulate(Cheap(), PRIOR, 300, store=tmp_path / "new", seed=1, shard_size=100, num_workers=1)
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    del manifest["layout"]
    manifest |= {"schema": BEFORE, "criterion": 0.5, "type_names": ["only"]}
    (tmp_path / "old").mkdir()
    write_json(tmp_path / "old" / "manifest.json", manifest)
    for k in range(3):
        fields = new.shard(k)
        more = {"activity.mean_rate": fields["error"][:, 0]}
        path = tmp_path / "old" / f"shard-{k:06d}.safetensors"
        path.write_bytes(encode({**fields, **more}, f"{manifest['hash']} seed {manifest['seed']} shard {k}"))
    return new, tmp_path / "old"


def test_stores_are_read_and_fitted(old):
    new, path = old
    store = sr.SimulationStore(path)
    assert len(store) == 300
    run, wanted = store.trajectory, new.trajectory
    for name in ("error", "output", "reward", "correct"):
        torch.testing.assert_close(run.per_trial[name], wanted.per_trial[name], equal_nan=True)
    assert torch.equal(run.mean_rate.nan_to_num(9), run.error[:, 0].nan_to_num(9))
    assert store.layout.performance.name == "error"
    a, b = (sr.fit(s, PRIOR, constraints={"final_error": (0, 0.3)}) for s in (store, new))
    theta = PRIOR.sample((10,))
    assert torch.equal(a.potential(theta), b.potential(theta))
    both = sr.fit([store, sr.simulate(Cheap(), PRIOR, 100, seed=2)], PRIOR, constraints={"final_error": (0, 0.3)})
    assert both.record.simulations == 400


def test_a_complete_store_is_taken_as_it_is_but_not_continued(old):
    _, path = old
    again = sr.simulate(Cheap(), PRIOR, 300, store=path, seed=1, shard_size=100, num_workers=1)
    assert len(again) == 300
    with pytest.raises(
        ValueError, match=r"was begun by sbirules 0.1: its simulations can be used, but none can be added"
    ):
        sr.simulate(Cheap(), PRIOR, 400, store=path, seed=1, shard_size=100, num_workers=1)


def test_posteriors_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "posterior.json").write_text(json.dumps({"schema": 2, "kind": "constraints"}))
    (tmp_path / "posterior.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"was saved by sbirules 0.1; fit again"):
        sr.Posterior.load(tmp_path)


def test_runs_made_in_the_old_words_warn_and_are_the_same():
    error = torch.rand(3, 8)
    types = torch.zeros(3, 8, dtype=torch.long)
    status = torch.zeros(3, dtype=torch.int8)
    with pytest.warns(FutureWarning, match=r"per_trial=\{'error'"):
        run = sr.Trajectory(
            status=status,
            trial_types=types,
            error=error,
            output=error,
            reward=-error,
            correct=(error < 0.5).float(),
            activity={"mean_rate": error[:, 0]},
            num_types=1,
            type_names=("only",),
        )
    assert run.available == ("error", "output", "reward", "correct", "mean_rate")
    assert torch.equal(run.activity["mean_rate"], run.mean_rate)
    with pytest.raises(ValueError, match="did you mean 'error'"):
        sr.Trajectory(status, types, eror=error)


def test_families_that_derive_from_rule_family_warn_and_work():
    with pytest.warns(FutureWarning, match=r"derive it from sbirules.ThreeFactorRule instead of RuleFamily"):

        class Old(sr.RuleFamily):
            coefficients = (sr.Coefficient("a"), sr.Coefficient("b"))

            def drive(self, theta, rate, deviation, weight):
                return theta["a"] * rate + theta["b"] * deviation

    family = Old(tau_e=50.0, infer=["tau_w"])
    assert isinstance(family, sr.ThreeFactorRule)
    assert family.names == ("a", "b", "tau_w")
    one = {n: torch.ones(2, 1, 1) for n in "ab"}
    arrays = torch.rand(2, 4, 3), torch.rand(2, 4, 3), torch.rand(2, 3, 3), 5.0, None
    torch.testing.assert_close(family.trace(one, *arrays), Line().trace(one, *arrays))

    class Abstract(sr.ThreeFactorRule):
        coefficients = (sr.Coefficient("a"),)

    with pytest.raises(TypeError, match="abstract"):
        Abstract()
