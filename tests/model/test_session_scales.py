"""Session scales: from arrays and tables, in parts, and what is refused."""

import pytest
import torch
from sessions import stimulated

import sbirules as sr
from sbirules.model.session_scales import SessionScales


def columns(s):
    return {
        "scales": list(s.names),
        "errors": [f"{n} error" for n in s.names],
        "stimulation": list(s.channels),
    }


def test_tables_bring_scales_back(tmp_path):
    sessions = stimulated()
    frame = sessions.frame()
    frame.to_csv(tmp_path / "scales.csv", index=False)
    for source in (frame, tmp_path / "scales.csv", frame.sample(frac=1.0, random_state=0)):
        back = SessionScales.read(source, columns=columns(sessions))
        torch.testing.assert_close(back.scales[back.learners.index("1")], sessions.scales[0])
        assert back.names == sessions.names
        torch.testing.assert_close(back.covariance, sessions.covariance)
        torch.testing.assert_close(back.time, sessions.time)
    assert SessionScales.read(sessions) is sessions


def test_parts_and_orders():
    sessions = stimulated(3, 10)
    assert sessions.subset([2, 0]).learners == ("3", "1")
    first = sessions.first([4, 5, 6])
    assert first.num_sessions.tolist() == [4, 5, 6]
    assert first.measured.sum(dim=1).tolist() == [4, 5, 6]
    other = sessions.shuffled(1)
    for a in range(3):
        pairs = {tuple(v) for v in torch.cat([sessions.scales[a], sessions.stimulation[a]], dim=1).tolist()}
        assert pairs == {tuple(v) for v in torch.cat([other.scales[a], other.stimulation[a]], dim=1).tolist()}
    assert not torch.equal(other.scales, sessions.scales)
    assert other.digest() != sessions.digest()
    assert sessions.digest() == stimulated(3, 10).digest()


def test_what_they_hold_in_words():
    sessions = stimulated(1, 8)
    told = sessions.describe()
    assert "only 8 sessions" in str(told)
    assert told.scales.loc["scale 1", "error"] == pytest.approx(0.05)
    assert "the same in all sessions" in str(
        sr.SessionScales.of(sessions.scales, 0.05, stimulation=torch.ones(1, 8, 1)).describe()
    )
    assert "less than 3 of their errors" in str(sr.SessionScales.of(sessions.scales, 5.0).describe())
    gaps = sr.SessionScales.of(sessions.scales, 0.05, time=torch.tensor([0, 1, 2, 3, 4, 5, 6, 40.0]))
    assert "times between sessions differ" in str(gaps.describe())
    assert "8 sessions" in sessions._repr_html_()


GOOD = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: SessionScales.of(GOOD[:, :2], 0.1), "at least 3 sessions"),
        (lambda: SessionScales.of(GOOD, 0.0), "errors must be a number greater than 0"),
        (lambda: SessionScales.of(GOOD, -torch.ones(2, 6, 2)), "errors must be above 0"),
        (lambda: SessionScales.of(GOOD, torch.ones(2, 5, 2)), "errors must be standard errors"),
        (lambda: SessionScales.of(GOOD, -torch.eye(2).expand(2, 6, 2, 2)), "positive eigenvalues"),
        (lambda: SessionScales.of(GOOD, 0.1, stimulation=torch.ones(2, 5, 1)), "one row for each session"),
        (lambda: SessionScales.of(GOOD, 0.1, stimulation=torch.full((2, 6, 1), torch.nan)), "must be finite in every"),
        (lambda: SessionScales.of(GOOD, 0.1, time=torch.tensor([0.0, 1, 2, 2, 3, 4])), "rise from session to session"),
        (lambda: SessionScales.of(torch.full((2, 6, 2), torch.inf), 0.1), "must be finite"),
        (lambda: SessionScales.of([GOOD[0], GOOD[1, :, :1]], 0.1), "the same 2 for every animal"),
        (lambda: SessionScales.of(GOOD, 0.1, names=["a", "a"]), "2 different names"),
        (lambda: SessionScales.read(stimulated().frame()), "which columns hold scales"),
        (lambda: SessionScales.read(stimulated().frame(), columns={"scales": ["scale 1"], "errors": []}), "its error"),
        (lambda: stimulated().subset([5]), "index"),
    ],
)
def test_wrong_scales_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()


def test_tables_with_gaps_and_twice_told_sessions():
    frame = stimulated(1, 8).frame().drop(columns="time")
    cut = frame[frame["session"].isin([1, 2, 3, 7, 8])]
    read = SessionScales.read(cut, columns=columns(stimulated()))
    assert read.time[0].tolist() == [1, 2, 3, 7, 8]
    assert "times between sessions differ" in str(read.describe())
    twice = frame.assign(session=[1, 2, 3, 3, 5, 6, 7, 8])
    with pytest.raises(ValueError, match="session 3 of animal '1' comes twice"):
        SessionScales.read(twice, columns=columns(stimulated()))
    with pytest.raises(ValueError, match="named for two roles"):
        SessionScales.read(frame, columns={**columns(stimulated()), "stimulation": ["scale 1"]})
    some = stimulated(1, 8).scales.clone()
    some[0, 3, 1] = torch.nan
    assert "only some of the scales" in str(SessionScales.of(some, 0.05).describe())
    assert stimulated().first(1).describe().sessions == 2
