"""Tables in files of other formats, written here by their own libraries: what is read, and what is refused."""

import datetime

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from sbirules.support.table_files import frame_of

CHOICE, REWARD, CUE = [0.0, 1.0, np.nan, 1.0], [1.0, 0.0, 0.5, np.nan], ["red", "blue", "red", "red"]


def expected(frame):
    np.testing.assert_array_equal(frame["choice"].to_numpy(dtype=float), CHOICE)
    np.testing.assert_array_equal(frame["reward"].to_numpy(dtype=float), REWARD)
    assert frame["cue"].tolist() == CUE


def write_npz(path):
    np.savez(path, choice=CHOICE, reward=np.array(REWARD), cue=np.array(CUE), spikes=np.zeros((4, 3)), rate=30.0)


def write_mat(path):
    columns = {
        "choice": np.array(CHOICE)[:, None],
        "reward": np.array(REWARD)[None],
        "cue": np.array(CUE, dtype=object),
    }
    savemat(path, {**columns, "spikes": np.zeros((4, 3)), "rate": 30.0})


def write_mat_columns(path):
    savemat(path, {"choice": CHOICE, "reward": REWARD, "cue": np.array(CUE, dtype=object)[:, None]}, oned_as="column")


def write_mat_struct(path):
    inside = {"choice": np.array(CHOICE), "reward": np.array(REWARD)[:, None], "cue": np.array(CUE, dtype=object)}
    savemat(path, {"session": {**inside, "notes": "a good day"}, "rate": 30.0})


def write_mat_struct_array(path):
    rows = [(CHOICE[k], REWARD[k], CUE[k]) for k in range(4)]
    savemat(path, {"trials": np.array(rows, dtype=[("choice", "O"), ("reward", "O"), ("cue", "O")])})


def write_mat_letters(path):
    savemat(path, {"choice": np.array(CHOICE), "reward": np.array(REWARD), "cue": np.array(CUE)})  # a matrix of letters


def write_mat_7_3(path, inside=False):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        group = file.create_group("session") if inside else file
        for name, values in (("choice", CHOICE), ("reward", REWARD)):  # MATLAB stores the transpose
            group.create_dataset(name, data=np.array(values)[None]).attrs["MATLAB_class"] = np.bytes_("double")
        refs = file.create_group("#refs#")
        cells = group.create_dataset("cue", (1, 4), dtype=h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        for k, text in enumerate(CUE):
            one = refs.create_dataset(f"c{k}", data=np.array([[ord(letter)] for letter in text], dtype=np.uint16))
            one.attrs["MATLAB_class"] = np.bytes_("char")
            cells[0, k] = one.ref
        file.create_dataset("spikes", data=np.zeros((3, 4)))
    with open(path, "r+b") as handle:
        handle.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")


def write_parquet(path):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"choice": CHOICE, "reward": REWARD, "cue": CUE, "spikes": [[1], [2, 3], [], [4]]}).to_parquet(path)


def write_nwb(path, trials=True):
    pynwb = pytest.importorskip("pynwb")
    file = pynwb.NWBFile("a session", "s1", datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))
    if trials:
        for name in ("choice", "reward", "cue"):
            file.add_trial_column(name, f"the {name}")
        file.add_trial_column("licks", "times of licks", index=True)
        for k in range(4):
            file.add_trial(float(k), k + 0.5, choice=CHOICE[k], reward=REWARD[k], cue=CUE[k], licks=[0.1] * (k + 1))
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)


FILES = {
    "t.npz": write_npz,
    "t.mat": write_mat,
    "columns.mat": write_mat_columns,
    "struct.mat": write_mat_struct,
    "rows.mat": write_mat_struct_array,
    "letters.mat": write_mat_letters,
    "new.mat": write_mat_7_3,
    "new_struct.mat": lambda path: write_mat_7_3(path, inside=True),
    "t.parquet": write_parquet,
    "t.nwb": write_nwb,
}


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_same_columns(tmp_path, name):
    FILES[name](tmp_path / name)
    expected(frame_of(tmp_path / name))


def test_the_suffix_may_be_in_capitals(tmp_path):
    write_npz(tmp_path / "t.npz")
    (tmp_path / "t.npz").rename(tmp_path / "T.NPZ")
    expected(frame_of(tmp_path / "T.NPZ"))


def test_what_is_no_column_is_left_out_and_said(tmp_path):
    for name, reason in (
        ("t.npz", "has the shape (4, 3)"),
        ("t.mat", "has the shape (4, 3)"),
        ("t.parquet", "holds lists"),
    ):
        FILES[name](tmp_path / name)
        frame = frame_of(tmp_path / name)
        assert "spikes" not in frame
        assert frame.attrs["left_out"]["spikes"].startswith(reason)


def test_the_times_of_nwb_trials_are_kept(tmp_path):
    write_nwb(tmp_path / "t.nwb")
    frame = frame_of(tmp_path / "t.nwb")
    assert frame["start_time"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert frame["stop_time"].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert list(frame.attrs["left_out"]) == ["licks"]


def objects(path):
    np.savez(path, choice=np.array([{}, 1], dtype=object))


def several(path):
    one = {"choice": np.arange(3.0)}
    savemat(path, {"first": one, "second": one})


REFUSED = {
    "t.xlsx": (lambda path: path.write_bytes(b"PK"), r"its name must end in .csv, .mat, .npz, .nwb, .parquet"),
    "none.npz": (lambda path: None, "there is no file"),
    "text.npz": (lambda path: path.write_text("choice,reward\n"), "cannot be read as .npz: it is no file of that kind"),
    "text.mat": (lambda path: path.write_text("choice,reward\n" * 50), "cannot be read as .mat"),
    "empty.mat": (lambda path: path.write_bytes(b""), "cannot be read as .mat"),
    "text.parquet": (lambda path: path.write_text("choice"), "cannot be read as .parquet: it is no file of that kind"),
    "text.nwb": (lambda path: path.write_text("choice"), "cannot be read as .nwb|pip install 'sbirules.nwb.'"),
    "cut.npz": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(30)), "cannot be read as .npz"),
    "matrix.npz": (
        lambda path: np.savez(path, table=np.zeros((4, 3))),
        r"holds no columns, one-dimensional arrays of equal length by name; table has the shape \(4, 3\)",
    ),
    "matrix.mat": (lambda path: savemat(path, {"table": np.zeros((4, 3))}), r"table has the shape \(4, 3\)"),
    "objects.npz": (objects, "choice holds Python objects, which are not opened"),
    "ragged.npz": (lambda path: np.savez(path, a=np.zeros(3), b=np.zeros(4)), r"differ in length \(a 3, b 4\)"),
    "ragged.mat": (lambda path: savemat(path, {"a": np.zeros(3), "b": np.zeros(4)}), r"differ in length \(a 3, b 4\)"),
    "several.mat": (several, r"holds several structures \(first, second\); save one of them"),
    "nothing.mat": (lambda path: savemat(path, {}), "holds no columns; tables of MATLAB are not read"),
    "no_trials.nwb": (lambda path: write_nwb(path, trials=False), "holds no trials table"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path, name):
    write, words = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=words) as refused:
        frame_of(tmp_path / name, "trials")
    assert str(refused.value).startswith("trials: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "library", "extra"), [("t.nwb", "pynwb", "nwb"), ("t.parquet", "pyarrow", "parquet")])
def test_without_its_library_a_format_says_what_to_install(tmp_path, monkeypatch, name, library, extra):
    FILES[name](tmp_path / name)
    monkeypatch.setitem(__import__("sys").modules, library, None)  # as if it were not installed
    if extra == "parquet":
        monkeypatch.setattr(pd, "read_parquet", lambda path: __import__(library))
    with pytest.raises(
        ValueError, match=rf"needs {library}, which is not installed: pip install 'sbirules\[{extra}\]'"
    ):
        frame_of(tmp_path / name)
