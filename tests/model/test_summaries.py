"""Summaries against plain loops over one learner at a time."""

import math

import numpy as np
import pytest
import torch

from sbirules import Status, Trajectory, summaries, summary
from sbirules.model.summaries import (
    CATALOGUE,
    autocorrelation,
    default_summaries,
    learning_curve,
    rebuild,
    resolve,
    scatter,
    summarise,
    summary_names,
    volatility,
    written,
)

LENGTHS = (120, 77, 60)


@pytest.fixture
def runs():
    rng = np.random.default_rng(0)
    n = max(LENGTHS)
    error = torch.tensor(rng.random((3, n)) * np.linspace(1.5, 0.3, n), dtype=torch.float32)
    types = torch.tensor(rng.integers(0, 2, (3, n)))
    for i, length in enumerate(LENGTHS):
        error[i, length:] = math.nan
        types[i, length:] = -1
    correct = torch.where(torch.isnan(error), torch.nan, (error < 0.5).float())
    of_the_run = {name for s in CATALOGUE.values() for name in s.fields} - {"error", "output", "reward", "correct"}
    activity = {name: torch.rand(3) for name in sorted(of_the_run)}
    return Trajectory(
        status=torch.zeros(3, dtype=torch.int8),
        trial_types=types,
        error=error,
        output=error - 1,
        reward=-error,
        correct=correct,
        activity=activity,
        num_types=2,
        type_names=("A", "B"),
    )


def by_name(runs, *chosen):
    x = summarise(runs, [resolve(s) for s in chosen])
    return dict(zip(summary_names([resolve(s) for s in chosen], runs.type_names), x.T, strict=True))


def test_against_plain_loops(runs):
    got = by_name(runs, *(s for s in CATALOGUE.values() if "responses" not in s.fields))
    for i, n in enumerate(LENGTHS):
        e, c = runs.error[i, :n].tolist(), runs.trial_types[i, :n].tolist()
        right = [v < 0.5 for v in e]
        assert got["final_error"][i].item() == pytest.approx(np.mean(e[-50:]), rel=1e-5)
        assert got["initial_error"][i].item() == pytest.approx(np.mean(e[:20]), rel=1e-5)
        assert got["error_change"][i].item() == pytest.approx(np.mean(e[-50:]) - np.mean(e[:20]), abs=1e-5)
        assert got["final_accuracy"][i].item() == pytest.approx(np.mean(right[-50:]), rel=1e-5)
        assert got["learned"][i].item() == float(np.mean(right[-50:]) >= 0.9)
        for k, name in enumerate("AB"):
            for b in range(10):
                part = [e[t] for t in range(n) if t * 10 // n == b and c[t] == k]
                value = got[f"learning_curve[{name},{b}]"][i].item()
                assert (math.isnan(value) and not part) or value == pytest.approx(np.mean(part), rel=1e-5)
        steps = [[], [], []]
        last = {}
        for t in range(n):
            if c[t] in last:
                steps[t * 3 // n].append(abs(e[t] - last[c[t]]))
            last[c[t]] = e[t]
        for b in range(3):
            assert got[f"volatility[{b}]"][i].item() == pytest.approx(np.mean(steps[b]), rel=1e-5)


def test_scatter_and_autocorrelation_against_plain_loops(runs):
    got = by_name(runs, scatter(3), autocorrelation(3))
    for i, n in enumerate(LENGTHS):
        error, kind = runs.error[i, :n].numpy(), runs.trial_types[i, :n].numpy()
        part = np.arange(n) * 3 // n
        for c, name in enumerate("AB"):
            for b in range(3):
                d = error[(part == b) & (kind == c)]
                d = d - d.mean()
                assert got[f"scatter[{name},{b}]"][i].item() == pytest.approx(np.sqrt((d**2).mean()), rel=1e-4)
                wanted = (d[1:] * d[:-1]).sum() / (d**2).sum()
                assert got[f"autocorrelation[{name},{b}]"][i].item() == pytest.approx(wanted, abs=1e-4)


def test_errors_that_never_change_have_no_autocorrelation_and_single_trials_no_scatter():
    flat = Trajectory(
        status=torch.zeros(1, dtype=torch.int8),
        trial_types=torch.zeros(1, 12, dtype=torch.long),
        error=torch.full((1, 12), 0.7),
        type_names=("only",),
    )
    assert (summarise(flat, [autocorrelation(3)]) == 0).all()
    assert (summarise(flat, [scatter(3)]).abs() < 1e-6).all()
    assert torch.isnan(summarise(flat, [scatter(12)])).all()
    assert torch.isnan(summarise(flat, [autocorrelation(12)])).all()


def test_summaries_with_settings_come_back_from_their_plain_form(runs):
    for each in (
        scatter(2),
        autocorrelation(4, of="output"),
        volatility(2, of="reward"),
        learning_curve(5, of="output"),
    ):
        back = rebuild(written(each))
        assert back.name == each.name
        torch.testing.assert_close(summarise(runs, [back]), summarise(runs, [each]))


def test_short_sessions_get_fewer_parts_by_default(runs):
    fields = tuple(runs.per_trial)

    def parts(trials):
        found = default_summaries(fields, "error", sessions=runs.cut(torch.full((3,), trials)))
        return {s.name: dict(s.settings)["bins"] for s in found if s.name in ("scatter", "autocorrelation")}

    assert parts(60) == {"scatter": 6, "autocorrelation": 6}
    assert parts(24) == {"scatter": 3, "autocorrelation": 3}
    assert parts(4) == {}


def test_learned_counts_45_of_50_and_trials_to_criterion_finds_the_first():
    correct = torch.zeros(2, 100)
    correct[0, 30:75] = 1  # 45 correct in a row, then wrong again
    correct[1, 50:95] = 1
    error = torch.where(correct > 0, 0.1, 1.0)
    runs = Trajectory(
        torch.zeros(2, dtype=torch.int8),
        torch.zeros(2, 100, dtype=torch.long),
        {"error": error, "correct": correct},
        type_names=("A",),
    )
    got = by_name(runs, "learned", "trials_to_criterion")
    assert got["learned"].tolist() == [0.0, 1.0]
    # trials 26...75 are the first fifty of which 45 were correct
    assert got["trials_to_criterion"].tolist() == [75.0, 95.0]


def test_failed_networks_are_nan_and_others_untouched(runs):
    failed = Trajectory(**{**runs.__dict__, "status": torch.tensor([0, 1, 2], dtype=torch.int8)})
    x = summarise(failed, [CATALOGUE["final_error"], CATALOGUE["mean_rate"]])
    assert torch.isnan(x[1:]).all()
    torch.testing.assert_close(x[0], summarise(runs, [CATALOGUE["final_error"], CATALOGUE["mean_rate"]])[0])


def test_cutting_a_session_forgets_what_came_later(runs):
    length = torch.tensor([60, 60, 60])
    cut = runs.cut(length)
    short = {n: v[:, :60] for n, v in runs.per_trial.items()}
    direct = Trajectory(**{**runs.__dict__, "trial_types": runs.trial_types[:, :60], "per_trial": short})
    chosen = [learning_curve(6), volatility(3), CATALOGUE["final_error"], CATALOGUE["trials_to_criterion"]]
    torch.testing.assert_close(summarise(cut, chosen), summarise(direct, chosen), equal_nan=True)


def test_a_network_that_diverged_only_later_counts_for_a_short_session(runs):
    runs = Trajectory(**{**runs.__dict__, "status": torch.full((3,), int(Status.DIVERGED), dtype=torch.int8)})
    runs.error[0, 70:] = math.nan
    assert runs.cut(torch.tensor([60, 60, 60])).status.tolist() == [0, 0, 0]
    assert runs.cut(torch.tensor([90, 60, 60])).status.tolist() == [1, 0, 0]


def test_a_users_own_summary_and_its_mistakes(runs):
    @summary("worst", fields=["error"])
    def worst(t):
        return torch.nan_to_num(t.error, nan=-1.0).max(dim=1).values

    torch.testing.assert_close(by_name(runs, worst)["worst"], torch.nan_to_num(runs.error, nan=-1.0).max(1).values)

    wrong = summary("wrong", fields=["error"])(lambda t: t.error)
    with pytest.raises(ValueError, match="'wrong' must return shape"):
        summarise(runs, [wrong])
    absent = summary("absent", fields=["pupil"])(lambda t: t.error[:, 0])
    with pytest.raises(ValueError, match="'absent' reads pupil"):
        summarise(runs, [absent])
    with pytest.raises(ValueError, match="did you mean"):
        resolve("final_acuracy")
    with pytest.raises(ValueError, match="bins"):
        summaries.learning_curve(0)
