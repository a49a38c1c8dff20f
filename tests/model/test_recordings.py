"""Recordings: what is read is what was written, whatever the form; what cannot be meant is refused in a sentence."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest
import torch
from recordings import conditioning

import sbirules as sr
from sbirules.cli import main
from sbirules.commands.exits import EXIT
from sbirules.model.recording_means import cells_of, reliability

TABLE = pd.DataFrame(
    {
        "fly": ["a", "a", "a", "a", "b", "b", "b", "b"],
        "repeat": [1, 1, 2, 2, 2, 2, 1, 1],
        "odor": ["B", "A", "A", "B", "A", "B", "A", "B"],
        "shock": [0, 0, 0, 1, 0, 1, 0, 0],
        "left": [2.0, 1.0, 3.0, 4.0, 7.0, 8.0, 5.0, np.nan],
        "right": [20.0, 10.0, 30.0, 40.0, 70.0, 80.0, 50.0, 60.0],
    }
)
COLUMNS = {
    "learner": "fly",
    "trial": ["repeat", "odor"],
    "trial_type": "odor",
    "values": {"L": "left", "R": "right"},
    "events": ["odor", "shock"],
}


def test_a_table_is_read_in_the_order_of_time():
    r = sr.Recordings.read(TABLE, columns=COLUMNS, unit="Hz")
    assert r.learners == ("a", "b")
    assert r.channels == ("L", "R")
    assert r.type_names == ("A", "B")
    assert r.values[0, :, 0].tolist() == [1, 2, 3, 4]
    assert r.values[1, :, 1].tolist() == [50, 60, 70, 80]
    assert torch.isnan(r.values[1, 1, 0])
    assert r.trial_types.tolist() == [[0, 1, 0, 1]] * 2
    assert r.events["shock"].tolist() == [[0, 0, 0, 1]] * 2
    assert r.labels == {"odor": ("A", "B")}


def test_files_give_back_what_was_written(tmp_path):
    r = sr.Recordings.read(TABLE, columns=COLUMNS, unit="Hz")
    r.write(tmp_path / "r.npz")
    again = sr.Recordings.read(tmp_path / "r.npz")
    assert again.digest() == r.digest()
    assert again.labels == r.labels
    assert again.unit == "Hz"
    TABLE.to_csv(tmp_path / "r.csv", index=False)
    assert sr.Recordings.read(tmp_path / "r.csv", columns=COLUMNS, unit="Hz").digest() == r.digest()


def test_arrays_of_different_animals_are_filled_up_with_nan():
    r = sr.Recordings.of([np.ones((3, 2)), np.ones((5, 4))], unit="Hz")
    assert tuple(r.values.shape) == (2, 5, 4)
    assert r.num_trials.tolist() == [3, 5]
    assert int(torch.isfinite(r.values[0]).sum()) == 6
    assert r.trial_types[0].tolist() == [0, 0, 0, -1, -1]
    assert r.subset([0]).values.shape[1] == 3
    assert r.pick("unit 4").channels == ("unit 4",)


def test_means_over_bins_are_those_of_their_window():
    values = torch.arange(24.0).reshape(1, 3, 4, 2)
    r = sr.Recordings.of(values, times=[0.1, 0.3, 0.5, 0.7])
    assert torch.allclose(r.means().values[0], values[0].mean(dim=1).double())
    assert torch.allclose(r.means((0.2, 0.6)).values[0], values[0, :, 1:3].mean(dim=1).double())
    with pytest.raises(ValueError, match="at least one bin"):
        r.means((5.0, 6.0))


def test_a_picture_shows_means_and_errors_over_animals():
    r = conditioning(animals=4)
    grid = sr.figures.recorded(r)
    line = grid[0, 1].lines[0]
    by_animal = r.values[:, 1::2, 0]
    assert np.allclose(line.get_ydata(), by_animal.mean(dim=0))
    ends = grid[0, 1].collections[0].get_segments()
    error = by_animal.std(dim=0) / 2
    assert np.allclose([e[1, 1] - e[0, 1] for e in ends], 2 * error)
    assert torch.equal(r.scaled(2.0, "a.u.").values, 2 * r.values)


def test_trials_in_another_order_keep_their_type():
    r = conditioning()
    other = r.shuffled(1)
    assert not torch.equal(other.values, r.values)
    for kind in (0, 1):
        at = r.trial_types[0] == kind
        assert torch.equal(other.values[0, at].sort(dim=0).values, r.values[0, at].sort(dim=0).values)


def test_the_summary_says_what_to_be_careful_about():
    values = np.random.default_rng(0).poisson(2.0, (2, 8, 3)).astype(float)
    values[0, :, 1] = 0.0
    told = " ".join(sr.Recordings.of(values).describe().cautions)
    assert "unit 2 of 1 is 0 in every trial: a unit that never fires" in told
    assert "unit of the values is not given" in told
    assert not sr.Recordings.of(values[:, :, :1], unit="Hz").describe().cautions
    coded = values.copy()
    coded[1, 3, 2] = 999
    told = " ".join(sr.Recordings.of(coded, unit="Hz").describe().cautions)
    assert "unit 3 of 2 is 999 in trial 4, far from all others" in told
    values[1, 4:, 2] = np.nan
    sessions = [0, 0, 0, 0, 1, 1, 1, 1]
    told = " ".join(sr.Recordings.of(values, sessions=sessions, unit="Hz").describe().cautions)
    assert "not all channels of 2 were recorded in all sessions" in told
    named = {"trial_types": [0, 1] * 4, "unit": "Hz", "events": {"cue": [0] * 8}}
    told = " ".join(sr.Recordings.of(values, type_names=["OCT", "oct "], **named).describe().cautions)
    assert "trial type 'OCT' and 'oct ' differ in case or blanks only" in told


def test_one_sequence_of_trials_may_be_that_of_all_animals_whatever_their_length():
    found = sr.Recordings.of([np.ones((3, 1)), np.ones((2, 1))], trial_types=[0, 1, 2])
    assert found.trial_types.tolist() == [[0, 1, 2], [0, 1, -1]]


def test_the_command_says_what_would_be_read(tmp_path, capsys):
    TABLE.to_csv(tmp_path / "t.csv", index=False)
    named = ["learner=fly", "trial=repeat+odor", "trial_type=odor", "values=left+right", "events=odor+shock"]
    assert main(["data", str(tmp_path / "t.csv"), "--unit", "dF/F", "--columns", *named]) == EXIT["done"]
    table = capsys.readouterr().out
    assert "recordings of 2 animals" in table
    assert "types       A 4, B 4" in table
    assert "event shock 0 in 6, 1 in 2" in table
    columns = {"learner": "fly", "trial": ["repeat", "odor"], "trial_type": "odor", "values": ["left", "right"]}
    sr.Recordings.read(TABLE, columns={**columns, "events": ["odor", "shock"]}, unit="dF/F").write(tmp_path / "t.npz")
    study = f'[data]\nrecordings = "t.csv"\nunit = "dF/F"\ncolumns = {json.dumps({**columns, "events": ["odor", "shock"]})}\n'
    (tmp_path / "study.toml").write_text(study.replace('": ', '" = '))
    for name in ("t.npz", "study.toml"):
        assert main(["data", str(tmp_path / name)]) == EXIT["done"]
        assert capsys.readouterr().out == table
    np.savez(tmp_path / "columns.npz", learner=["a", "a"], trial=[0, 1], error=[0.1, 0.3])
    assert main(["data", str(tmp_path / "columns.npz")]) == EXIT["done"]
    assert "errors of 1 learner" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: sr.Recordings.of(np.ones((3, 2)), trial_types=[0, 1]), "do they belong to the same trials"),
        (lambda: sr.Recordings.of(np.ones((3, 2)), trial_types=[0, 1, 1, 0]), r"more trials \(4\) than values \(3\)"),
        (
            lambda: sr.Recordings.of([np.ones((3, 2)), np.ones((2, 2))], trial_types=[[0, 1, 1], [0, 1, 1], [0]]),
            "do they belong to the same trials",
        ),
        (
            lambda: sr.Recordings.of([np.ones((3, 2)), np.ones((2, 2))], trial_types=torch.zeros(2, 4)),
            r"more trials \(4\) than values \(3\)",
        ),
        (lambda: sr.Recordings.of(np.full((3, 2), np.inf)), "must be finite, or NaN"),
        (lambda: sr.Recordings.of(np.ones((3, 2)), channels=["a"]), "2 different names"),
        (lambda: sr.Recordings.of(np.ones((3, 2)), trial_types=[0, 0.5, 1]), "whole numbers"),
        (lambda: sr.Recordings.of(np.ones((3, 4, 2)), times=[0.1, 0.2]), "2 bins, one for each of times"),
        (lambda: sr.Recordings.of(np.ones(3)), r"must be \(trials, channels\)"),
        (lambda: sr.Recordings.read(TABLE, columns={**COLUMNS, "values": "middle"}), "lacks the column 'middle'"),
        (lambda: sr.Recordings.read(TABLE, columns={**COLUMNS, "trial": "repeat"}), "a trial comes twice"),
        (lambda: sr.Recordings.read(TABLE, columns={**COLUMNS, "values": "odor"}), "must be a finite number"),
        (
            lambda: sr.Recordings.read(TABLE, columns={**COLUMNS, "trial": ["odor", "repeat"]}),
            "numbers in the order of time",
        ),
        (lambda: sr.Recordings.read(TABLE, columns={**COLUMNS, "animal": "fly"}), "learner"),
        (lambda: sr.Recordings.read(TABLE, columns=COLUMNS, align="start_time"), "belongs to NWB files"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        change()


# Means --------------------------------------------------------------------------------------------


def test_cells_are_means_over_their_trials():
    r = conditioning(animals=3)
    cells = cells_of(r, most=3)
    assert cells.names == ("A, 1", "A, 2", "A, 3", "B, 1", "B, 2", "B, 3")
    found = cells.by_animal(r.values)
    assert torch.allclose(found[1, 0], r.values[1, [0, 2], 0].mean())
    assert torch.allclose(found[2, 5], r.values[2, [9, 11], 0].mean())


def test_reliability_is_that_of_known_noise():
    torch.manual_seed(0)
    signal, noise, animals = torch.randn(400).double(), 2.0, 10
    found = reliability(signal + noise * torch.randn(animals, 400).double())
    assert abs(found - 1 / (1 + noise**2 / animals)) < 0.04  # variance of the signal over that of the mean
    assert abs(reliability(torch.randn(animals, 400).double())) < 0.25


# NWB ----------------------------------------------------------------------------------------------


def written(path, trials, spikes=None, rois=None, subject="m1", day=1, ids=None):
    """An NWB file with trials at these starts, spikes by unit, or responses (frames, channels) at 10 Hz."""
    pynwb = pytest.importorskip("pynwb")
    start = datetime.datetime(2026, 1, day, tzinfo=datetime.UTC)
    file = pynwb.NWBFile("made up", path.stem, start)
    file.subject = pynwb.file.Subject(subject_id=subject, species="Mus musculus")
    file.add_trial_column("odour", "which")
    file.add_trial_column("shock", "whether")
    for k, at in enumerate(trials):
        file.add_trial(start_time=float(at), stop_time=float(at) + 1.0, odour="AB"[k % 2], shock=float(k % 2))
    for k, times in enumerate(spikes or []):
        file.add_unit(spike_times=times, id=k if ids is None else ids[k])
    if rois is not None:
        file.add_acquisition(pynwb.TimeSeries(name="dff", data=rois, unit="dF/F", rate=10.0, starting_time=0.0))
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)


def test_spikes_in_windows_are_counted_as_they_fell(tmp_path):
    trials = np.array([1.0, 3.0, 5.0, 7.0])
    stream = np.random.default_rng(0)
    spikes = [np.sort(stream.uniform(0, 9, 200)), np.sort(stream.uniform(0, 9, 40)), np.array([])]
    written(tmp_path / "a.nwb", trials, spikes)
    how = {"window": (-0.5, 0.5), "trial_type": "odour", "events": ["shock", "odour"]}
    r = sr.Recordings.read(tmp_path / "a.nwb", bins=2, rate=False, **how)
    assert r.learners == ("m1",)
    assert r.type_names == ("A", "B")
    assert r.times == (-0.25, 0.25)
    for t, at in enumerate(trials):
        for b, (low, high) in enumerate([(-0.5, 0.0), (0.0, 0.5)]):
            for k in range(3):
                expected = ((spikes[k] >= at + low) & (spikes[k] < at + high)).sum()
                assert r.values[0, t, b, k] == expected
    assert r.events["shock"][0].tolist() == [0, 1, 0, 1]
    assert r.labels == {"odour": ("A", "B")}
    rates = sr.Recordings.read(tmp_path / "a.nwb", bins=2, **how)
    assert rates.unit == "Hz"
    assert torch.allclose(rates.values, 2 * r.values)
    rates.write(tmp_path / "r.npz")
    assert sr.Recordings.read(tmp_path / "r.npz").digest() == rates.digest()


def test_trials_in_which_nothing_was_recorded_are_missing(tmp_path):
    spikes = [np.arange(0.05, 5.0, 0.1), np.array([0.5, 1.5])]
    written(tmp_path / "a.nwb", [1.0, 3.0, 4.0, 9.0], spikes)
    with pytest.warns(UserWarning, match="the windows of 1 trials lie outside"):
        r = sr.Recordings.read(tmp_path / "a.nwb", rate=False)
    assert torch.isnan(r.values[0, 3]).all()
    assert r.values[0, :3].tolist() == [[10, 1], [10, 0], [10, 0]]
    written(tmp_path / "b.nwb", [1.0, 3.0], [spikes[0][::-1].copy(), np.array([])])
    assert sr.Recordings.read(tmp_path / "b.nwb", rate=False).values[0, :, 0].tolist() == [10, 10]
    with pytest.raises(ValueError, match="is given twice"):
        sr.Recordings.read([tmp_path / "a.nwb", tmp_path / "a.nwb"])
    written(tmp_path / "c.nwb", [1.0], [np.array([])])
    with pytest.raises(ValueError, match="none of its 1 units has a spike"):
        sr.Recordings.read(tmp_path / "c.nwb")
    with pytest.raises(ValueError, match="must hold times in seconds, got 'A'"):
        sr.Recordings.read(tmp_path / "b.nwb", align="odour")


def test_gaps_in_time_are_warned_of():
    table = pd.DataFrame({"trial": [0, 1, 4, 5], "values": [1.0, 2.0, 3.0, 4.0]})
    with pytest.warns(UserWarning, match="1 gaps in trial, the first between 1 and 4"):
        sr.Recordings.read(table)


def test_responses_in_windows_are_means_over_their_frames(tmp_path):
    frames = np.random.default_rng(1).normal(size=(100, 3))
    written(tmp_path / "a.nwb", [1.0, 4.0], rois=frames)
    r = sr.Recordings.read(tmp_path / "a.nwb", values="dff", window=(0.0, 0.5))
    assert r.unit == "dF/F"
    assert np.allclose(r.values[0, 1], frames[40:45].mean(axis=0))


def test_sessions_of_one_animal_are_put_together_by_unit(tmp_path):
    one, two = [np.array([1.1, 1.2]), np.array([1.3])], [np.array([1.4]), np.array([1.1, 1.5])]
    written(tmp_path / "b.nwb", [1.0], two, day=2, ids=[7, 5])
    written(tmp_path / "a.nwb", [1.0], one, day=1, ids=[5, 7])
    r = sr.Recordings.read(tmp_path, rate=False)
    assert r.channels == ("5", "7")
    assert r.sessions.tolist() == [[0, 1]]
    assert r.values[0].tolist() == [[2, 1], [2, 1]]
    written(tmp_path / "c.nwb", [1.0], two, day=3, ids=[5, 9])
    with pytest.raises(ValueError, match="sessions of one animal with other channels"):
        sr.Recordings.read(tmp_path)


def test_files_that_cannot_be_meant_are_refused(tmp_path):
    written(tmp_path / "a.nwb", [1000.0, 1002.0], [np.array([0.5, 2.0])])
    with pytest.raises(ValueError, match="are the two clocks aligned"):
        sr.Recordings.read(tmp_path / "a.nwb")
    with pytest.raises(ValueError, match="has no column 'cue'"):
        sr.Recordings.read(tmp_path / "a.nwb", align="cue")
    with pytest.raises(ValueError, match="has no series 'dff'"):
        sr.Recordings.read(tmp_path / "a.nwb", values="dff")
    (tmp_path / "broken.nwb").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"cannot be read as \.nwb"):
        sr.Recordings.read(tmp_path / "broken.nwb")
    with pytest.raises(ValueError, match="there is no file"):
        sr.Recordings.read(tmp_path / "missing.nwb")
