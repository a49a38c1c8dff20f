"""Random streams: named as they say, as wide as they should be, and rows that are the same in any company."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import sbirules as sr
from sbirules.simulators import LinearGaussian, RateRNN
from sbirules.support.streams import Stream, by_row, child, generator, seeded, small

PACKAGE = [Path(sr.__file__).parent, Path(sr.simulators.__file__).parent, Path(sr.priors.__file__).parent]
RULE = sr.PolynomialRule(degree=2, terms=["theta_11", "theta_20"])


def test_a_generator_has_the_whole_state_that_its_name_hashes_to():
    words = np.random.SeedSequence([3, 5, int(Stream.RUN), 7]).generate_state(624, np.uint32)
    reference = np.random.RandomState()
    reference.set_state(("MT19937", words, 624))
    expected = reference.randint(0, 2**32, 2000, dtype=np.uint32) & (2**24 - 1)
    drawn = torch.rand(2000, generator=generator(5, Stream.RUN, 7))
    assert torch.equal((drawn * 2**24).long(), torch.as_tensor(expected.astype(np.int64)))


def test_seeds_that_32_bits_cannot_tell_apart_give_different_streams():
    """torch keeps 32 bits of a seed: hashed to one number, a hundred thousand names collide."""
    assert torch.equal(
        torch.rand(3, generator=torch.Generator().manual_seed(5)),
        torch.rand(3, generator=torch.Generator().manual_seed(5 + 2**32)),
    )
    states = {tuple(generator(0, Stream.RUN, k).get_state()[24:56].tolist()) for k in range(2000)}
    assert len(states) == 2000
    assert len({child(0, Stream.ROUND, k) for k in range(20_000)}) == 20_000
    assert max(child(0, Stream.ROUND, k) for k in range(100)) > 2**60


def test_names_are_told_apart_by_every_part():
    names = [(0, 3), (0, 3, 0), (3, 0), ((0, 3), 1), (0, 3, 1, 0), (2**40, 3)]
    values = {float(torch.rand((), generator=generator(*name))) for name in names}
    assert len(values) == len(names)
    assert float(torch.rand((), generator=generator((0, 3), 1))) == float(torch.rand((), generator=generator(0, 3, 1)))
    assert len({int(s) for s in Stream}) == len(Stream.__members__)
    assert 1 <= small(0, Stream.STARTS) < 2**31
    for wrong in (-1, 0.5, "a", True, (0, -1)):
        with pytest.raises(ValueError, match="seed must be a whole number of at least 0"):
            generator(wrong)


def test_a_seeded_block_leaves_no_trace():
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    with seeded(4, Stream.PRIOR):
        a = torch.rand(3), np.random.rand(3)
    with seeded(4, Stream.PRIOR):
        b = torch.rand(3), np.random.rand(3)
    assert torch.equal(a[0], b[0])
    assert np.array_equal(a[1], b[1])
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_no_seed_is_made_by_arithmetic():
    """seed + 1 of one purpose is seed of another: seeds come from `child` alone."""
    found = []
    for folder in PACKAGE:
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitOr):
                    for side in (node.left, node.right):
                        text = ast.unparse(side)
                        # torch numbers the workers of a loader itself
                        if (
                            text.split(".")[-1] in ("seed", "key")
                            and text != "worker.seed"
                            and path.name != "streams.py"
                        ):
                            found.append(f"{path.name}:{node.lineno}")
    assert found == []


BATCHES = (1, 7, 40)


def all_fields(run):
    return [*run.per_trial.values(), *run.per_run.values(), run.status]


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("task", [sr.tasks.DelayedDiscrimination(), sr.tasks.SelectiveIntegration()])
def test_rows_of_a_network_are_the_same_in_any_batch(backend, task):
    options = {"num_units": 12, "num_trials": 4, "warm_up": 1, "backend": backend}
    simulator = RateRNN(RULE, task, readout="random", mask=0.5, **options)
    theta = 0.2 * torch.rand(150, 2, generator=torch.Generator().manual_seed(0))
    whole = simulator.run(theta, seed=9)
    assert len(whole.error.unique(dim=0)) == 150
    for n in BATCHES:
        for a, b in zip(all_fields(simulator.run(theta[:n], seed=9)), all_fields(whole), strict=True):
            if backend == "numba":
                assert torch.equal(a.nan_to_num(), b[:n].nan_to_num())
            else:  # what is drawn is the same; torch sums the products of small batches in another order
                torch.testing.assert_close(a, b[:n], rtol=1e-4, atol=1e-5, equal_nan=True)


def test_rows_of_an_analytic_simulator_are_the_same_in_ten_thousand():
    simulator = LinearGaussian(RULE, projections=3)
    theta = torch.rand(10_000, 2, generator=torch.Generator().manual_seed(0))
    whole = simulator.run(theta, seed=2)
    for n in (*BATCHES, 150):
        part = simulator.run(theta[:n], seed=2)
        for a, b in zip(all_fields(part), all_fields(whole), strict=True):
            torch.testing.assert_close(a, b[:n], rtol=1e-6, atol=1e-6)  # noise alike; products in another order
    drawn = by_row(lambda g, n: torch.randn(n, 3, generator=g), 10_000, 4)
    assert torch.equal(by_row(lambda g, n: torch.randn(n, 3, generator=g), 77, 4), drawn[:77])
    assert len(drawn.unique(dim=0)) == 10_000


def test_switching_kicks_off_leaves_initial_states_and_weights_alone():
    options = {"num_units": 12, "num_trials": 3, "warm_up": 3, "kick_start": 6}
    runs = [
        RateRNN(RULE, sr.tasks.DelayedDiscrimination(), kick_rate=rate, **options).run(
            torch.zeros(5, 2), seed=4, record=[0, 1, 2], keep_weights=True
        )
        for rate in (3.0, 0.0)
    ]
    noisy, quiet = (run.recording.x for run in runs)
    assert not torch.equal(noisy, quiet)
    # before the first kick can fall, states follow from x(0) and the weights alone
    assert torch.equal(noisy[:, :, :3], quiet[:, :, :3])
    assert torch.equal(runs[0].final_weights, runs[1].final_weights)
