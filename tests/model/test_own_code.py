"""Errors in a user's own rules, tasks and summaries: whose code it was, what it got, what went wrong."""

from dataclasses import dataclass

import pytest
import torch

import sbirules as sr
from sbirules.cli import EXIT, main
from sbirules.priors import uniform
from sbirules.simulators import PolicyNetwork, RateRNN
from sbirules.summaries import summary
from sbirules.support.own_code import OwnCodeError
from sbirules.tasks import ChoiceTask, DelayedDiscrimination

TASK = DelayedDiscrimination(stimulus=20, delay=10, response=20)


class Matrix(sr.ThreeFactorRule):
    coefficients = (sr.Coefficient("hebb", "r_j d_i"),)

    def drive(self, theta, rate, deviation, weight):
        return rate.reshape(-1) @ deviation.reshape(-1, 7)


class Misspelt(sr.ThreeFactorRule):
    coefficients = (sr.Coefficient("hebb", "r_j d_i"),)

    def drive(self, theta, rate, deviation, weight):
        return theta["heb"] * rate * deviation


class Flat(sr.ThreeFactorRule):
    coefficients = (sr.Coefficient("hebb", "r_j d_i"),)

    def drive(self, theta, rate, deviation, weight):
        return (theta["hebb"] * rate * deviation).flatten()


class Summed(sr.ThreeFactorRule):
    coefficients = (sr.Coefficient("hebb", "r_j d_i"),)

    def drive(self, theta, rate, deviation, weight):
        return theta["hebb"] * rate * deviation

    def trace(self, theta, rate, deviation, weight, dt, decay):
        raise RuntimeError("no sum here")


class Dividing(sr.PolicyRule):
    coefficients = (sr.Coefficient("eta", "c_i r"),)

    def update(self, theta, *, x, c, d, y, w, r, rd):
        return theta["eta"] * torch.cat([c, r], dim=1) * w


class Growing(sr.LocalRule):
    coefficients = (sr.Coefficient("eta", "r_i r_j"),)

    def change(self, theta, *, pre, post):
        return theta["eta"] * post @ post


@dataclass(frozen=True)
class Noisy(DelayedDiscrimination):
    def draw_inputs(self, tensors, types, generator):
        return tensors.inputs[types] + torch.randn(3, 4, generator=generator)


@summary("worst", fields=["error"])
def worst(trajectory):
    return trajectory.error.max(dim=1).vales


def network(family, **settings):
    return RateRNN(family, settings.pop("task", TASK), num_units=12, num_trials=4, warm_up=1, **settings)


@pytest.mark.parametrize(
    ("run", "words", "cause"),
    [
        (
            lambda: network(Matrix()).run([[0.1]]),
            ["Matrix.drive raised RuntimeError", "hebb (", "rate (", ", 1, "],
            RuntimeError,
        ),
        (lambda: network(Misspelt()).run([[0.1]]), ["Misspelt.drive raised KeyError: 'heb'", "weight ("], KeyError),
        (lambda: network(Summed()).run([[0.1]]), ["Summed.trace raised RuntimeError: no sum here"], RuntimeError),
        (lambda: network(Growing()).run([[0.1]]), ["Growing.change raised", "post ("], RuntimeError),
        (
            lambda: network(sr.PolynomialRule(degree=1), task=Noisy()).run(torch.zeros(2, 4)),
            ["Noisy.draw_inputs raised", "inputs (", "types ("],
            RuntimeError,
        ),
        (
            lambda: network(sr.PolynomialRule(degree=1), summaries=["learned", worst]).config(),
            ["worst raised AttributeError", "error (4, 120)"],
            AttributeError,
        ),
        (
            lambda: PolicyNetwork(
                Dividing(), ChoiceTask(reward="bandit", probabilities=(0.8, 0.2)), nuisance=()
            ).animals([[0.1]]),
            ["Dividing.update raised RuntimeError", "c (64, 2, 1)", "w (64, 2, 1)"],
            RuntimeError,
        ),
    ],
)
def test_an_error_says_whose_code_it_was_and_what_it_got(run, words, cause):
    with pytest.raises(OwnCodeError) as told:
        run()
    said = str(told.value)
    assert all(word in said for word in words), said
    assert said.endswith(".")
    assert "\n" not in said
    assert isinstance(told.value.__cause__, cause)


def test_what_does_not_suit_the_weights_is_said_with_its_shape():
    with pytest.raises(
        OwnCodeError,
        match=r"Flat\.drive must return a tensor that broadcasts to \(\d+, 12, 12\), got one of shape \(\d+,\)",
    ):
        network(Flat()).run([[0.1]])


def test_a_study_of_such_code_ends_in_one_sentence(tmp_path, capsys):
    (tmp_path / "wrong_rule_for_test.py").write_text(
        "import sbirules as sr\n\nclass Mine(sr.ThreeFactorRule):\n    coefficients = (sr.Coefficient('a', 'r_j'),)\n\n"
        "    def drive(self, theta, rate, deviation, weight):\n        return theta['b'] * rate\n"
    )
    (tmp_path / "s.toml").write_text('[rule]\nfamily = "wrong_rule_for_test:Mine"\n[constraints]\nlearned = [1, 1]\n')
    assert main(["run", str(tmp_path / "s.toml"), "--trust", "--dry-run"]) == EXIT["wrong input"]
    said = capsys.readouterr().err
    assert "Mine.drive raised KeyError: 'b'" in said
    assert len(said.splitlines()) == 1


def test_the_package_s_own_errors_stay_what_they_are():
    family = sr.PolynomialRule(degree=1)
    with pytest.raises(ValueError, match="theta must") as told:
        network(family).run(uniform(family).sample((2,))[:, :2])
    assert not isinstance(told.value, OwnCodeError)
