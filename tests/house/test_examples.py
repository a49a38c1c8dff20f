"""Examples in docstrings run as they stand: found in the source, with small things behind the names that they use."""

import ast
import doctest
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from cheap import Cheap

import sbirules as sr
from sbirules import priors, simulators
from sbirules.model.tasks.catalogue import DelayedDiscrimination

ROOT = Path(sr.__file__).parents[1]
SMALL = sr.EnsembleSettings(members=2, hidden=8, max_epochs=2)
QUICK = sr.SamplerSettings(num_runs=2, num_particles=128, num_moves=4, max_doublings=0)
FAST = {"classifier": SMALL, "sampler": QUICK}
ONE = {"num_workers": 1}


def examples():
    """Place and code of every example of the package."""
    for folder in ("sbirules", "simulators", "priors"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ">>>" in (ast.get_docstring(node) or ""):
                    code = doctest.script_from_examples(ast.get_docstring(node))
                    yield pytest.param(code, id=f"{path.stem}:{node.name}")


def _compared(folder, families, trials):
    """`compare_families` with small estimators, and tables where they were written."""
    settings = {} if "rule" in families else {"settings": SMALL}
    return sr.compare_families(families, folder / trials if isinstance(trials, str) else trials, **settings)


def _searched(problem, **options):
    """`search` in a grammar of two variables."""
    problem.grammar = sr.RuleGrammar(["c", "rd"], degree=2, max_terms=2)
    return sr.search(problem, **options)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What examples take for granted: networks, simulations, posteriors, tables, of a size that costs seconds."""
    torch.manual_seed(0)
    task = DelayedDiscrimination(stimulus=20, delay=10, response=20)
    rate = simulators.RateRNN(
        sr.PolynomialRule(1),
        task,
        num_units=16,
        num_trials=30,
        warm_up=2,
        summaries=["learned", "saturation", "final_error"],
    )
    box = priors.uniform(rate.family, -1, 1)
    store = sr.simulate(rate, box, 200, seed=1, **ONE)
    posterior = sr.fit(store, box, constraints={"final_error": (0, 1.0)}, **FAST)
    exact = simulators.LinearGaussian()
    wide = priors.normal(exact.family)
    drawn = sr.simulate(exact, wide, 300, seed=1, **ONE)
    cheap_prior = priors.uniform(Cheap().family, -1, 1)
    cheap = sr.simulate(Cheap(), cheap_prior, 200, seed=1, **ONE)
    table = sr.Trials(("1", "2", "3"), cheap.trajectory.rows(torch.arange(3)))
    folder = tmp_path_factory.mktemp("examples")
    bandit = sr.tasks.ChoiceTask(reward="bandit", probabilities=(0.8, 0.2))
    learner = simulators.PolicyNetwork(sr.TaylorRule(["c rd"]), bandit, nuisance=(), num_trials=30)
    learner.animals(torch.full((3, 1), 0.5), seed=1).write(folder / "bandit.csv")
    table.write(folder / "trials.csv")
    of_table = sr.fit(cheap, cheap_prior, trials=table, settings=SMALL, **FAST)
    cubic = sr.PolynomialRule(3, terms=["theta_33"])
    learning = simulators.RateRNN(
        cubic, DelayedDiscrimination(), num_units=32, num_trials=150, summaries=["learned", "saturation"]
    )
    flies = sr.Trials.read(
        str(ROOT / "sbirules" / "studies" / "flies.csv"), columns={"learner": "fly", "choice": "odor"}
    )
    policy = simulators.PolicyNetwork(sr.TaylorRule(["c"]))
    import pyro
    import pyro.distributions as dist

    check = partial(sr.check, rules=10, calibration=50, **ONE)
    sensitivity = partial(sr.sensitivity, parts=["knock_outs"], num_rules=4, networks=2, **ONE)
    small = {"check": check, "sensitivity": sensitivity}
    return folder, {
        **{name: getattr(sr, name) for name in sr.__all__},
        **{name: getattr(priors, name) for name in priors.__all__},
        **{name: getattr(simulators, name) for name in simulators.__all__},
        "sr": SimpleNamespace(**{**{name: getattr(sr, name) for name in sr.__all__}, **small}),
        "DelayedDiscrimination": DelayedDiscrimination,
        "BPTL": partial(sr.BPTL, restarts=2, iterations=2, episodes=6, networks=2),
        "filter_rules": partial(sr.filter_rules, budget=400, num_simulations=200, **ONE),
        "search": _searched,
        "compare_families": partial(_compared, folder),
        "torch": torch,
        "dataclass": dataclass,
        "pyro": pyro,
        "dist": dist,
        "train_step": lambda theta, x: None,
        "task": task,
        "family": rate.family,
        "simulator": rate,
        "prior": box,
        "store": store,
        "posterior": posterior,
        "early": posterior,
        "late": posterior,
        "store_2": cheap,
        "store_3": cheap,
        "prior_2": cheap_prior,
        "prior_3": cheap_prior,
        "x_o": drawn.x[0],
        "of_choices": {
            "simulator": policy,
            "prior": priors.uniform(policy.family, -0.5, 0.5),
            "trials": flies.subset([0, 1, 2]),
        },
        "of_table": {"posterior": of_table, "simulator": Cheap(), "store": cheap},
        "of_normals": {"prior": wide},
        "of_cubic": {"prior": priors.uniform(sr.PolynomialRule(3), -0.5, 0.5)},
        "of_learning": {"simulator": learning, "prior": priors.uniform(cubic, -1, -0.5)},
    }


OTHERS = {  # what stands behind the same names in some examples
    "checking:check": "of_table",
    "linear_gaussian:LinearGaussian": "of_normals",
    "rate_rnn:RateRNN": "of_cubic",
    "filtering:filter_rules": "of_learning",
    "comparing_families:compare_families": "of_choices",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", examples())
def test_an_example_runs(code, names, request, monkeypatch):
    folder, known = names
    monkeypatch.chdir(folder)
    place = request.node.callspec.id
    more = known.get(OTHERS.get(place, ""), {})
    exec(compile(code, place, "exec"), {**known, **more})


def test_there_are_examples():
    assert len(list(examples())) >= 17
