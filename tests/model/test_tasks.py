"""Tasks against the protocols they are named after."""

import pytest
import torch

from sbirules import TrialTensors
from sbirules.model.tasks.catalogue import DelayedDiscrimination, DelayedNonMatchToSample, SelectiveIntegration


def test_delayed_discrimination_is_the_protocol_of_250_ms():
    t = DelayedDiscrimination().tensors(5.0)
    assert t.inputs.shape == (2, 50, 2)
    assert t.response.nonzero()[0].item() == 30
    assert t.response.sum() == 20
    assert t.targets.tolist() == [-0.98, 0.98]
    assert t.inputs[0, :20, 0].eq(1).all()
    assert t.inputs[0].sum() == 20
    assert t.inputs[1, :20, 1].eq(1).all()


def test_delayed_non_match_to_sample_is_miconis_second():
    t = DelayedNonMatchToSample().tensors(1.0)
    assert t.inputs.shape == (4, 1000, 2)
    assert t.response.nonzero()[0].item() == 800
    assert t.targets.tolist() == [-0.98, 0.98, 0.98, -0.98]
    for c, (first, second) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert t.inputs[c, :200, first].eq(1).all()
        assert t.inputs[c, 400:600, second].eq(1).all()
        assert t.inputs[c].sum() == 400


def test_selective_integration_has_two_noisy_streams_and_a_context():
    task = SelectiveIntegration()
    t = task.tensors(1.0)
    assert t.inputs.shape == (4, 700, 4)
    types = torch.arange(4).repeat(200)
    stream = torch.Generator().manual_seed(0)
    u = task.draw_inputs(t.to("cpu", torch.float32), types, stream)
    assert u[:, 500:, :2].eq(0).all()
    for c in range(4):
        mine = u[types == c]
        relevant, sign = c // 2, 1 if c % 2 else -1
        assert mine[:, :, 2 + relevant].eq(1).all()
        assert mine[:, :, 3 - relevant].eq(0).all()
        assert mine[:, :500, relevant].mean() == pytest.approx(sign * 0.25, abs=0.01)
        assert mine[:, :500, relevant].std() == pytest.approx(0.5, abs=0.01)
        # the irrelevant stream goes either way, with equal probability
        means = mine[:, :500, 1 - relevant].mean(dim=1)
        assert means.abs().mean() == pytest.approx(0.25, abs=0.01)
        assert 60 < (means > 0).sum() < 140


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DelayedDiscrimination(delay=52.0).tensors(5.0), "delay must be a multiple of dt"),
        (lambda: DelayedDiscrimination(delay=-5.0).tensors(5.0), "at least 0"),
        (lambda: DelayedDiscrimination(response=0.0).tensors(5.0), "response"),
        (lambda: TrialTensors(torch.zeros(2, 3, 1), torch.zeros(3), torch.ones(3, dtype=torch.bool)), "targets"),
        (lambda: TrialTensors(torch.zeros(2, 3), torch.zeros(2), torch.ones(3, dtype=torch.bool)), "inputs"),
        (lambda: TrialTensors(torch.zeros(2, 3, 1), torch.zeros(2), torch.ones(3)), "boolean"),
    ],
)
def test_bad_input_is_refused_in_words(make, words):
    with pytest.raises(ValueError, match=words):
        make()
