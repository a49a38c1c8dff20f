"""A kind of question in one file with one registration: it goes everywhere, and nothing else was changed for it."""

import math

import pytest
import torch
from cheap import PRIOR, Cheap

import sbirules as sr
from sbirules.inference.potentials import Potential
from sbirules.inference.questions import QUESTIONS, Fitted, Question
from sbirules.inference.questions.fresh import failures_of
from sbirules.inference.questions.observation import ObservationCheck
from sbirules.inference.record import FitRecord
from sbirules.studies.study import Study

QUICK = sr.SamplerSettings(num_runs=2, num_particles=256, num_moves=4, max_doublings=0)


class NearPotential(Potential):
    """A bell around a rule."""

    kind = "near"

    def __init__(self, centre, width):
        super().__init__()
        self.register_buffer("centre", centre)
        self.width = width

    def log_likelihood(self, theta):
        return -0.5 * ((theta - self.centre) / self.width).square().sum(dim=1)

    def config(self):
        return {"width": self.width, "columns": len(self.centre)}

    @classmethod
    def from_config(cls, config):
        return cls(torch.zeros(config["columns"]), config["width"])


class NearQuestion(Question):
    """Which rules are near those of the simulations whose final error is smallest?"""

    kind = section = "nearest"
    fit_keys = ("width",)
    potentials = {"near": NearPotential}  # noqa: RUF012

    def __init__(self, share, width=0.2):
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, got {share!r}.")
        self.share, self.width = share, width

    def config(self):
        return {"share": self.share, "width": self.width}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    @classmethod
    def ask(cls, value, layout, summary_names, **options):
        return cls(value["share"] if isinstance(value, dict) else value, options.get("width", 0.2))

    def fit(self, stores, job, estimator):
        x, theta = stores[0].x[:, 0], stores[0].theta
        best = theta[x <= torch.nanquantile(x, self.share)]
        return Fitted(self, NearPotential(best.mean(dim=0), self.width), FitRecord("", len(x), len(best), "near"))

    def resimulate(self, posterior, simulator, fresh):
        theta = posterior.spread_out(fresh.rules)
        store = fresh.simulate(theta, 1, simulator, "posterior")
        own = torch.tensor([float(store.x[:, 0].nanmean())])
        return ObservationCheck(len(theta), 1, ("final_error",), own, store.x[:, :1], theta, failures_of(store))

    def verdicts(self, found, posterior, simulator):
        mean = float(found.x.nanmean())
        return [sr.Verdict("nearness", "pass" if mean < 1 else "fail", f"mean final error {mean:.2f}.")]

    def words(self, subject, setting):
        return f"{subject} are near the best {self.share:.0%}{setting}?"


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(QUESTIONS, NearQuestion.kind, NearQuestion)


def test_fit_check_report_save_and_load(tmp_path):
    store = sr.simulate(Cheap(), PRIOR, 400, seed=1, num_workers=1)
    posterior = sr.fit(store, PRIOR, question=NearQuestion(0.1), sampler=QUICK)
    assert repr(posterior).startswith("Posterior(nearest, 2 coefficients")
    wanted = posterior.potential_net.centre
    assert (posterior.sample((2000,)).mean(dim=0) - wanted).abs().max() < 0.1
    checked = sr.check(posterior, Cheap(), store=store, rules=40, num_workers=1)
    assert checked["nearness"].level == "pass"
    assert checked["simulations"].level == "pass"
    sr.report(tmp_path / "r.html", posterior, Cheap(), checked=checked, store=store)
    assert "are near the best 10% on Nothing?" in (tmp_path / "r.html").read_text()
    posterior.save(tmp_path / "p")
    theta = PRIOR.sample((20,))
    assert torch.equal(sr.Posterior.load(tmp_path / "p").potential(theta), posterior.potential(theta))
    data = posterior.to_inference_data()
    assert data.posterior.attrs["kind"] == "nearest"
    assert data.posterior.attrs["share"] == 0.1
    again, _ = sr.refine(posterior, Cheap(), store, PRIOR, rounds=1, num_simulations=100, num_workers=1)
    assert again.question is posterior.question


def test_a_file_of_a_kind_that_is_not_registered_is_refused_in_words(tmp_path, monkeypatch):
    store = sr.simulate(Cheap(), PRIOR, 400, seed=1, num_workers=1)
    sr.fit(store, PRIOR, question=NearQuestion(0.1), sampler=QUICK).save(tmp_path)
    monkeypatch.delitem(QUESTIONS, "nearest")
    with pytest.raises(ValueError, match="a question of the kind 'nearest', which is not registered here"):
        sr.Posterior.load(tmp_path)


def test_a_study_file_asks_it(tmp_path):
    from sbirules.studies.stages import run_study

    content = {
        "rule": {"degree": 1},
        "task": {"stimulus": 40.0, "delay": 20.0, "response": 40.0},
        "simulator": {"num_units": 12, "num_trials": 24, "summaries": ["final_error"]},
        "simulate": {"num_simulations": 120},
        "nearest": {"share": 0.2},
        "fit": {"width": 0.3, "num_samples": 300},
        "check": {"rules": 10, "calibration": 0},
        "sensitivity": {"parts": ["stiff"]},
    }
    study = Study.of(content, name="toy", folder=tmp_path)
    assert study.question.config() == {"share": 0.2, "width": 0.3}
    found = run_study(study, tmp_path / "out", num_workers=1, progress=False)
    assert "nearness" in found["checks"]["checks"]
    import tomllib

    again = Study.of(tomllib.loads((tmp_path / "out" / "study.toml").read_text()), name="toy")
    assert again.question.config() == study.question.config()
    assert math.isfinite(found["parameters"]["theta_00"]["mean"])
    with pytest.raises(ValueError, match="share must lie between 0 and 1, got 2"):
        Study.of({**content, "nearest": {"share": 2}}, name="toy")
    with pytest.raises(ValueError, match=r"\[fit\] width belongs to studies with \[nearest\]"):
        Study.of({**{k: v for k, v in content.items() if k != "nearest"}, "constraints": {"learned": [1, 1]}}, name="x")


def test_two_questions_at_once_are_refused():
    store = sr.simulate(Cheap(), PRIOR, 400, seed=1, num_workers=1)
    with pytest.raises(
        ValueError,
        match="exactly one of constraints, trials, recordings, sessions, x_o and question, got x_o, question",
    ):
        sr.fit(store, PRIOR, question=NearQuestion(0.1), x_o=[0.1])
