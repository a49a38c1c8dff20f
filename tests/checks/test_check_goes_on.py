"""One check that cannot be made is a caution with its reason; everything else is delivered."""

import pytest
import torch
from cheap import PRIOR, Cheap

import sbirules as sr
from sbirules.checks.case import CHECKS
from sbirules.checks.recovery import Recovery
from sbirules.checks.trust import calibration_verdicts
from sbirules.inference.questions import Fresh
from sbirules.model.runs import Status
from sbirules.model.verdicts import attempted


@pytest.fixture(autouse=True)
def checks_in_order():
    """Puts back the table of checks in its order, which `monkeypatch` loses: later ones use what earlier ones found."""
    kept = dict(CHECKS)
    yield
    CHECKS.clear()
    CHECKS.update(kept)


class Fragile(Cheap):
    """Networks of which this share is lost."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def config(self):
        return super().config() | {"share": self.share}

    def run(self, theta, *, seed=None, trial_types=None, **options):
        run = super().run(theta, seed=seed, trial_types=trial_types, **options)
        lost = torch.rand(len(theta), generator=torch.Generator().manual_seed(hash(seed) % 2**31)) < self.share
        run.status[lost] = int(Status.DIVERGED)
        run.per_trial["error"][lost] = torch.nan
        run.per_trial["output"][lost] = torch.nan
        return run


def learners(number=8, seed=7):
    run = Cheap().run(torch.tensor([[0.5, -0.4]]).repeat(number + 4, 1), seed=seed)
    kept = (run.status == Status.OK).nonzero()[:number, 0]
    return sr.Trials(tuple(str(k) for k in range(number)), run.rows(kept))


@pytest.fixture(scope="module")
def fitted():
    store = sr.simulate(Cheap(), PRIOR, 1024, seed=1, num_workers=1, progress=False)
    settings = sr.EnsembleSettings(members=2, max_epochs=10)
    return sr.fit(store, PRIOR, trials=learners(), settings=settings), store


def test_calibration_that_finds_no_rules_is_a_caution(fitted):
    posterior, store = fitted
    found = sr.check(
        posterior,
        Fragile(0.4),
        store=store,
        rules=16,
        calibration=50,
        num_workers=1,
        parts=["calibration", "information"],
    )
    assert found["calibration"].level == "caution"
    assert "This could not be checked: only" in found["calibration"].finding
    assert "narrow the prior" in found["calibration"].finding
    assert found["information"].finding, "the others are there"
    assert found.level != "pass"


def test_calibration_goes_on_with_fewer_rules_and_says_so(fitted):
    posterior, _ = fitted
    fresh = Fresh(num_workers=1)
    few = posterior.question.fresh_data(Fragile(0.2), PRIOR, 150, fresh)
    assert 50 <= len(few.truth) < 150
    assert len(few.observations) == len(few.truth) == len(few.features)
    recovery = Recovery(("a", "b"), few.truth, PRIOR.sample((len(few.truth), 60)), 8, torch.ones(2), posterior)
    tested = sr.Calibration(recovery, few.features, None, wanted=150)
    finding = calibration_verdicts(tested, posterior, 0)[0].finding
    assert f"on {len(few.truth)} rules of the prior (of 150 wanted: the others failed, or led to no draws)" in finding


def test_a_users_own_check_is_seen_and_cannot_stop_the_others(fitted, monkeypatch):
    posterior, _ = fitted

    def breaks(case):
        raise KeyError("what it needs")

    monkeypatch.setitem(CHECKS, "mine_own", breaks)
    found = sr.check(posterior, Cheap(), parts=["mine_own", "information"], num_workers=1)
    assert found["mine own"].level == "caution"
    assert found["mine own"].finding == "This could not be checked: KeyError: 'what it needs'."
    assert found["information"].level in ("pass", "caution")
    monkeypatch.setitem(CHECKS, "mine_own", lambda case: [sr.Verdict("mine own", "fail", "as meant.")])
    assert sr.check(posterior, Cheap(), parts="mine_own").level == "fail"
    for name in set(CHECKS) - {"mine_own", "sampler"}:
        monkeypatch.delitem(CHECKS, name)
    assert [v.name for v in sr.check(posterior, Cheap())] == ["sampler", "mine own"], "without parts: all there are"


def test_what_was_asked_wrongly_is_refused_before_anything_is_simulated(fitted):
    posterior, _ = fitted
    for options, words in (
        ({"networks_per_rule": 3}, r"networks_per_rule must be the number of learners \(8\)"),
        ({"held_out": {"x": Cheap()}}, r"held_out\['x'\] needs the trials observed there"),
        ({"held_out": {"x": (Cheap(), "nowhere.csv")}}, "nowhere.csv"),
        ({"parts": ["mine"]}, "parts: 'mine' is not known"),
    ):
        with pytest.raises(ValueError, match=words):
            sr.check(posterior, Cheap(), **options)


def test_a_full_disk_is_no_matter_of_one_check():
    def full():
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        attempted("x", full)


def test_a_figure_that_cannot_be_drawn_is_left_out_of_the_report():
    from sbirules.reporting.figures import ReportFigure, drawable

    def bad():
        raise IndexError("nothing there")

    def good():
        return sr.figures.style.panels(None, 1, 1, 2, 2)[0][0]

    made = [ReportFigure("bad", "g", bad, "c"), ReportFigure("good", "g", good, "c")]
    with pytest.warns(UserWarning, match="figure bad is left out"):
        assert [item.name for item in drawable(made)] == ["good"]
