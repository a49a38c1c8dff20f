"""Verdicts judge against what was asked, and the headline says what was reached and learned."""

import math

import pytest
import torch
from cheap import PRIOR, Cheap

import sbirules as sr
from sbirules.inference.questions import ConstraintCheck, ConstraintsQuestion
from sbirules.inference.questions.success import success_verdicts
from sbirules.support.rates import Rate, mean_rate


def found(share, networks=32, reliable=0.9, idle=0.0):
    share = torch.as_tensor(share)
    often = float((share >= reliable - 1e-6).float().mean())
    return ConstraintCheck(
        len(share),
        networks,
        mean_rate(share),
        Rate(0.2, 0.01),
        Rate(idle, 0.002),
        Rate(often, 0.04),
        math.nan,
        torch.zeros(len(share), 2),
        share,
        reliable=reliable,
    )


def judged(question, check):
    return success_verdicts(check, (), question.often, question.target)[0]


def spread(middle):
    """Shares of 128 rules around a mean."""
    return (middle + 0.05 * torch.linspace(-1, 1, 128)).clamp(max=1.0)


@pytest.mark.parametrize(
    ("options", "reached", "level"),
    [
        ({"all_of_networks": 32}, 0.81, "caution"),
        ({"all_of_networks": 32}, 0.99, "pass"),
        ({"all_of_networks": 4}, 0.81, "caution"),
        ({"all_of_networks": 4}, 0.86, "pass"),
        ({}, 0.81, "pass"),
        ({}, 0.45, "caution"),
        ({"reliability": 0.9}, 0.81, "caution"),
        ({"reliability": 0.8}, 0.81, "pass"),
        ({"all_of_networks": 32}, 0.18, "fail"),
        ({"all_of_networks": 32}, 0.6, "fail"),  # clearly more often than prior rules, but none does
    ],
)
def test_success_is_held_against_what_was_asked(options, reached, level):
    question = ConstraintsQuestion(sr.Constraints({"learned": (1, 1)}), **options)
    verdict = judged(question, found(spread(reached)))
    assert verdict.level == level, str(verdict)
    assert (verdict.advice != "") == (level != "pass")
    assert verdict.numbers["asked"] == question.target


def test_all_of_n_networks_takes_the_share_that_does_so_as_likely_as_not():
    for n in (1, 4, 32):
        question = ConstraintsQuestion(sr.Constraints({"learned": (1, 1)}), all_of_networks=n)
        assert question.target**n == pytest.approx(0.5)


def test_rules_that_do_worse_than_no_plasticity_are_pointed_out():
    question = ConstraintsQuestion(sr.Constraints({"learned": (1, 1)}))
    verdict = judged(question, found(spread(0.81), idle=0.94))
    assert verdict.level == "caution"
    assert "Networks without plasticity satisfy the constraints more often" in verdict.advice


def test_the_headline_counts_checks_that_do_not_pass():
    def checks(*levels):
        return sr.Checks(tuple(sr.Verdict(f"c{k}", level, "found.") for k, level in enumerate(levels)))

    assert checks("pass", "pass").headline == "All 2 checks pass."
    assert checks("pass", "caution").headline == "1 of 2 checks need attention (c1)."
    assert checks("fail", "caution", "fail").headline.startswith("2 of 3 checks failed: do not rely on this posterior")


def test_the_share_of_reliable_rules_is_said():
    question = ConstraintsQuestion(sr.Constraints({"learned": (1, 1)}), all_of_networks=32)
    verdict = judged(question, found([1.0] * 40 + [0.5] * 60))
    assert "40% ± 4.0% of posterior rules are reliable (at least 90% of networks), 40% succeeded in all 32" in str(
        verdict
    )
    asked = ConstraintsQuestion(sr.Constraints({"learned": (1, 1)}), reliability=0.75)
    verdict = judged(asked, found([0.8] * 70 + [0.7] * 30, reliable=0.75))
    assert "70% ± 4.0% of posterior rules are reliable (at least 75% of networks)" in str(verdict)


def test_the_headline_is_honest():
    """Nearly no rule does what is asked: not all is green, and the first line says so."""
    store = sr.simulate(Cheap(), PRIOR, 1024, seed=1, num_workers=1, progress=False)
    settings = sr.EnsembleSettings(members=2, max_epochs=20)
    posterior = sr.fit(
        store,
        PRIOR,
        constraints={"final_error": (0, 0.12)},
        all_of_networks=32,
        classifier=settings,
        sampler=sr.SamplerSettings(num_particles=80),
    )
    checked = sr.check(
        posterior,
        Cheap(),
        store=store,
        rules=32,
        networks_per_rule=8,
        num_workers=1,
        parts=["predictions", "information"],
    )
    assert checked["success"].level == "caution"
    s = checked.success.posterior_success
    assert (
        "satisfy the constraints in all of 32 random networks, which takes 98% of single networks" in checked.headline
    )
    assert f"reached are {s.value:.0%}" in checked.headline
    assert "of posterior rules are reliable" in checked.headline
    assert "Learned: " in checked.headline
    assert "do it more often" in checked["success"].advice or "less than was asked" in checked["success"].advice
    assert str(checked).startswith(checked.headline)
    assert checked.to_dict()["headline"] == checked.headline
