"""Each kind of file that the package writes, and study files, mutated at random: one sentence or what was written, never
a traceback from deep inside, and never something else than what was written."""

import json
import shutil
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import fuzz
import pytest
import torch
from cheap import PRIOR, Cheap, Line

from sbirules import EnsembleSettings, PointEstimate, Posterior, SimulationStore, Study, fit, simulate
from sbirules.checks.calibrating import _kept
from sbirules.inference.rounds.refining import RULES, _drawn_before
from sbirules.stores.proposal import proposal_config
from sbirules.studies.folders import ORIGIN, study_of
from sbirules.studies.stages import ASKED, _fitted_before
from sbirules.support import tensors
from sbirules.support.files import digest
from sbirules.support.rates import Rate

QUICK = EnsembleSettings(members=2, hidden=8, max_epochs=3)
STUDY = """
[rule]
family = "polynomial"
degree = 1
infer = ["tau_e"]
[task]
name = "delayed_discrimination"
stimulus = 40
delay = 20
response = 40
[simulator]
name = "rate_rnn"
num_units = 16
num_trials = 30
summaries = ["learned", "mean_rate"]
clamped = { 1 = 1.0 }
[prior]
name = "uniform"
low = -1.0
high = 1.0
[prior.tau_e]
name = "log_uniform"
low = 50.0
high = 5000.0
[simulate]
num_simulations = 300
seed = 3
shard_size = 64
[constraints]
learned = [1, 1]
mean_rate = [0.05, 0.6]
[fit]
all_of_networks = 4
rounds = 1
round_simulations = 100
num_samples = 400
[fit.classifier]
members = 2
[fit.sampler]
num_particles = 256
[check]
rules = 24
networks_per_rule = 4
[check.held_out."longer delay"]
task = { delay = 60 }
simulator = { num_units = 20 }
[sensitivity]
rules = 6
networks = 2
parts = ["sobol", "stiff"]
"""


@dataclass
class Kind:
    """A kind of file: where it is, how it is mutated, and what reading it gives."""

    path: Path
    mutate: object
    read: object
    named: bool = True  # whether every refusal names the file or its folder
    same: bool = True  # whether what is read must be what was written
    extra: object = lambda content: None  # what else is put right, so that only the mutation is wrong


def of_store(folder):
    store = SimulationStore(folder)
    run = store.trajectory
    with torch.no_grad():
        numbers = [store.theta, store.x, store.status, run.error, run.trial_types]
    again = SimulationStore.create(
        folder,
        {
            "simulator": Cheap().config(),
            "proposal": proposal_config(PRIOR, None, Cheap()),
            "trial_types": store.manifest["config"].get("trial_types"),
            "shard_size": 8,
            "keep_trials": True,
        },
        0,
        names=["a", "b"],
        summary_names=["final_error"],
        layout=Cheap().layout.config(),
    )
    facts = [
        len(store),
        store.names,
        store.summary_names,
        store.layout,
        repr(store),
        store.simulator_hash,
        again.owner(1),
    ]
    return [*(v.tolist() for v in numbers), *facts, store.manifest.get("raw_per_unit"), store.status_counts()]


def of_posterior(folder):
    posterior = Posterior.load(folder)
    theta = torch.tensor([[0.1, 0.2], [0.5, -0.3]])
    facts = [posterior.names, posterior.record.facts(), posterior.question.config(), repr(posterior.settings)]
    return [posterior.potential(theta).tolist(), posterior.draws.tolist(), posterior.hold, posterior.region, *facts]


def of_point(folder):
    point = PointEstimate.load(folder, Line())
    return [point.theta.tolist(), point.settings, str(point), point.raw_per_unit.tolist(), sorted(point.trace)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One file of each kind."""
    top = tmp_path_factory.mktemp("written")
    store = simulate(Cheap(), PRIOR, 16, store=top / "store", shard_size=8, num_workers=1, progress=False)
    more = simulate(Cheap(), PRIOR, 200, store=top / "more", num_workers=1, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = fit(more, PRIOR, constraints={"final_error": (0.0, 0.5)}, classifier=QUICK)
        posterior = posterior.with_draws(PRIOR.sample((50,)))
    posterior.truncated(a=(-0.5, 0.9)).with_draws(PRIOR.sample((50,))).save(top / "posterior")
    trace = {name: torch.rand(3, 2) for name in ("value", "gradient_norm", "alive")} | {"theta": torch.rand(3, 2, 2)}
    rates = [Rate(0.5, 0.1), Rate(0.25, 0.1)]
    lost = torch.tensor([False, True])
    PointEstimate(Line(), torch.rand(2, 2), lost, rates, trace, torch.ones(2), {"steps": 3}).save(top / "point")
    tensors.write(top / RULES, {"theta": torch.rand(8, 2)})
    tensors.write(top / "calibration.safetensors", {n: torch.rand(8, 2) for n in ("truth", "draws", "features")})
    out = top / "out"
    out.mkdir()
    (out / "study.toml").write_text(STUDY)
    (out / ORIGIN).write_text(json.dumps({"name": "s", "folder": str(top)}))
    (top / "mine.toml").write_text(STUDY)
    shutil.copytree(top / "posterior", top / "fitted")
    (top / "fitted" / ASKED).write_text(json.dumps({"key": "k"}))

    def unsigned(path):
        """A manifest as of an earlier version, without checksums, so that its parts are looked at one by one."""
        value = json.loads(path.read_bytes())
        if isinstance(value, dict):
            path.write_text(json.dumps({k: v for k, v in value.items() if k not in ("sha256", "facts")}))

    def signed(path):
        """Tensors that name this content, so that its parts are looked at one by one."""
        _, found = tensors.read(path.with_suffix(".safetensors"))
        tensors.write(path.with_suffix(".safetensors"), found, content=digest(json.loads(path.read_bytes())))

    old = top / "old"
    old.mkdir()
    manifest = json.loads((store.path / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k not in ("sha256", "facts")}))
    older = SimulationStore(old)
    for k in range(2):
        older.write(k, tensors.encode(tensors.read(store.shard_path(k))[1], {"owner": older.owner(k)}))

    return {
        "manifest.json": Kind(top / "store" / "manifest.json", fuzz.of_json, lambda p: of_store(p.parent)),
        "manifest.json without checksums": Kind(
            old / "manifest.json", fuzz.of_json, lambda p: of_store(p.parent), same=False
        ),
        "shard": Kind(store.shard_path(1), fuzz.of_tensors, lambda p: of_store(p.parent)),
        "progress.json": Kind(
            top / "store" / "progress.json", fuzz.of_json, lambda p: SimulationStore(p.parent).seconds, same=False
        ),
        "posterior.json": Kind(top / "posterior" / "posterior.json", fuzz.of_json, lambda p: of_posterior(p.parent)),
        "posterior.json with its checksum made right": Kind(
            top / "posterior" / "posterior.json",
            fuzz.of_json,
            lambda p: repr(Posterior.load(p.parent)),
            same=False,
            extra=signed,
        ),
        "posterior.safetensors": Kind(
            top / "posterior" / "posterior.safetensors", fuzz.of_tensors, lambda p: of_posterior(p.parent)
        ),
        "point.json": Kind(top / "point" / "point.json", fuzz.of_json, lambda p: of_point(p.parent)),
        "point.json with its checksum made right": Kind(
            top / "point" / "point.json",
            fuzz.of_json,
            lambda p: repr(PointEstimate.load(p.parent, Line())),
            same=False,
            extra=signed,
        ),
        "point.safetensors": Kind(top / "point" / "point.safetensors", fuzz.of_tensors, lambda p: of_point(p.parent)),
        "rules.safetensors": Kind(top / RULES, fuzz.of_tensors, lambda p: anew(_drawn_before(p.parent, 8))),
        "calibration.safetensors": Kind(top / "calibration.safetensors", fuzz.of_tensors, lambda p: anew(_kept(p))),
        "asked.json": Kind(
            top / "fitted" / ASKED, fuzz.of_json, lambda p: None if _fitted_before(p.parent, "k", None_) is None else 1
        ),
        "origin.json": Kind(out / ORIGIN, fuzz.of_json, lambda p: study_of(p.parent).name, same=False),
        "study.toml of results": Kind(
            out / "study.toml", fuzz.of_toml, lambda p: study_of(p.parent).resolved(), same=False
        ),
        "a study file": Kind(
            top / "mine.toml", fuzz.of_toml, lambda p: Study.read(p).resolved(), named=False, same=False
        ),
    }


class None_:
    """A study of whose parts only the prior matters."""

    prior = None


def anew(found):
    if found is None:
        return None
    return {k: v.tolist() for k, v in found.items()} if isinstance(found, dict) else found.tolist()


KINDS = (
    "manifest.json",
    "manifest.json without checksums",
    "shard",
    "progress.json",
    "posterior.json",
    "posterior.json with its checksum made right",
    "posterior.safetensors",
    "point.json",
    "point.json with its checksum made right",
    "point.safetensors",
    "rules.safetensors",
    "calibration.safetensors",
    "asked.json",
    "origin.json",
    "study.toml of results",
    "a study file",
)


def tried(name, kind, number, seed):
    """What became of so many mutations: how many were refused, and those that went wrong."""
    content = kind.path.read_bytes()
    beside = {path: path.read_bytes() for path in kind.path.parent.iterdir() if path.is_file()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        right = kind.read(kind.path)
    refused, told, wrong = 0, 0, []
    for k, mutation in enumerate(fuzz.mutations(content, kind.mutate, number, seed)):
        kind.path.write_bytes(mutation)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                with suppress(ValueError, AttributeError, RecursionError):  # what is not even JSON cannot be put right
                    kind.extra(kind.path)
                found = kind.read(kind.path)
            except (ValueError, OSError) as error:
                refused += 1
                text = str(error)
                one = "\n" not in text or "the study has" in text
                if not text or not one or (kind.named and str(kind.path.parent) not in text):
                    wrong.append((k, f"{type(error).__name__}: {text}"))
            except Exception as error:
                *_, place = traceback.extract_tb(error.__traceback__)
                wrong.append((k, f"raw {type(error).__name__}: {error} ({place.filename}:{place.lineno})"))
            else:
                told += bool(said)
                if kind.same and not said and repr(found) != repr(right) and found is not None:
                    wrong.append((k, "read as something else, without a word"))
        for path, before in beside.items():
            if path.read_bytes() != before:
                path.write_bytes(before)
    print(
        f"\n{name}: {number} mutations, {refused} refused in a sentence, {told} with a warning, {len(wrong)} raw or wrong"
    )
    return wrong


@pytest.mark.parametrize("number", [30, pytest.param(1000, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", KINDS)
def test_a_mutated_file_is_refused_in_one_sentence_or_is_what_it_was(written, name, number):
    wrong = tried(name, written[name], number, seed=1)
    assert not wrong, "\n".join(f"{k}: {text[:300]}" for k, text in wrong[:10])
