"""The training of flows, on a regression whose loss is known."""

import math

import pytest
import torch
from sbi.neural_nets import likelihood_nn

from sbirules.neural_nets.flows import FlowSettings, train_flow
from sbirules.support.streams import seeded

SMALL = FlowSettings(hidden_features=20, epochs=15, min_steps=0)
NOISE = 0.3


def linear(n, seed=0):
    with seeded(seed):
        condition = torch.randn(n, 2)
        return condition @ torch.tensor([[1.0, 0.5], [-0.5, 1.0]]) + NOISE * torch.randn(n, 2), condition


def trained(settings, n=3000, **options):
    target, condition = linear(n)
    with seeded(1):
        flow = likelihood_nn("zuko_nsf", hidden_features=20, num_transforms=2, num_bins=6)(condition, target)
        return train_flow(flow, target, condition, settings, **options)


def test_it_comes_near_the_entropy_and_keeps_the_best_state():
    flow, curves, held = trained(SMALL)
    entropy = 2 * (0.5 * math.log(2 * math.pi * math.e) + math.log(NOISE))
    target, condition = linear(4000, seed=5)
    with torch.no_grad():
        fresh = float(flow.loss(target, condition).mean())
        target, condition = linear(3000)
        again = float(flow.loss(target[held], condition[held]).mean())
    assert entropy - 0.05 < fresh < entropy + 0.1
    assert again == pytest.approx(min(curves["validation"]), abs=1e-5)
    assert len(held) == 300
    assert len(curves["training"]) == len(curves["validation"])


def test_few_rows_are_passed_over_more_often_and_a_bad_turn_ends_it():
    few = FlowSettings(hidden_features=20, epochs=2, min_steps=100, patience=1.0)
    curves = trained(few, n=1000)[1]
    assert len(curves["validation"]) == 25  # four steps each
    # a flow of 50 hidden units soon knows 60 rows by heart
    hasty = FlowSettings(hidden_features=50, epochs=300, min_steps=0, patience=0.1, weight_decay=0.0)
    assert len(trained(hasty, n=66)[1]["validation"]) < 200


def test_rows_of_a_group_are_held_out_together():
    groups = torch.arange(1000).repeat_interleave(3)
    held = trained(FlowSettings(hidden_features=20, epochs=1, min_steps=0), groups=groups)[2]
    assert (torch.bincount(groups[held], minlength=1000) % 3 == 0).all()
    assert len(held) == 300


def test_what_goes_wrong_is_said():
    with pytest.raises(ValueError, match="device must name a device that torch can use here"):
        trained(FlowSettings(device="nowhere"))
    target, condition = linear(300)
    flow = likelihood_nn("zuko_nsf", hidden_features=20, num_transforms=2)(condition, target)
    with pytest.raises(ValueError, match="is no number after 1 passes over 270 rows"):
        train_flow(flow, target * math.nan, condition, FlowSettings(epochs=1, min_steps=0))
    for wrong in ({"epochs": 0}, {"learning_rate": 0}, {"patience": 0}, {"weight_decay": -1}, {"min_steps": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            FlowSettings(**wrong)
