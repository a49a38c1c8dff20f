"""Tables in files of other formats than CSV: Parquet, NumPy's .npz, MATLAB's .mat and NWB, as a DataFrame."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sbirules.support import arguments
from sbirules.support.typed import typed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMATS", "frame_of"]

FORMATS = (".mat", ".npz", ".nwb", ".parquet")
SAVE = "in MATLAB: s = table2struct(T, 'ToScalar', true); save('trials.mat', '-struct', 's')"
SIGNATURES = {".npz": b"PK", ".parquet": b"PAR1"}  # with which files of these formats begin
INSIDE = ("#refs#", "#subsystem#", "__header__", "__version__", "__globals__", "__function_workspace__")


@typed
def frame_of(path: str | Path, argument: str = "path") -> pd.DataFrame:
    """The table that a file holds, by the file's suffix.

    - `.parquet`: its columns.
    - `.npz`: arrays `(n,)` by name.
    - `.mat`, also of version 7.3: variables `(n, 1)` or `(1, n)` by name, numbers or cell arrays of text; or the fields of the
      one structure that it holds; or a structure array.
    - `.nwb`: the trials table, with start_time and stop_time.

    What is no column is left out and named in `attrs["left_out"]`, with the reason.

    Arguments:
        path: The file.
        argument: What it is called in messages.

    Raises:
        ValueError: If the suffix is another, the file is not of that format, or holds no table; if a library is missing.
    """
    path = arguments.path(argument, path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(
            f"{argument}: {path.name} is no table that can be read: its name must end in .csv, {arguments.listed(FORMATS)}; "
            f"other tables can be given as a DataFrame."
        )
    if not path.is_file():
        raise ValueError(f"{argument}: there is no file {path}.")
    begin = SIGNATURES.get(suffix)
    with _told(path, argument), path.open("rb") as handle:
        wrong = begin is not None and handle.read(len(begin)) != begin
    if wrong:
        raise ValueError(f"{argument}: {path.name} cannot be read as {suffix}: it is no file of that kind.")
    with _told(path, argument):
        return READERS[suffix](path, argument)


class _Refused(ValueError):
    """A sentence that is complete."""


@contextmanager
def _told(path: Path, argument: str) -> Iterator[None]:
    """What a library raises as one sentence that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries' remarks about other versions of their formats
            yield
    except _Refused as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # each library has errors of its own for a broken file
        why = " ".join(str(error).split())[:200].rstrip(". ") or type(error).__name__
        raise ValueError(f"{argument}: {path.name} cannot be read as {path.suffix.lower()}: {why}.") from error


def _lacking(path: Path, argument: str, library: str, extra: str) -> _Refused:
    return _Refused(f"{argument}: {path.name} needs {library}, which is not installed: pip install '{extra}'.")


# Columns of equal length --------------------------------------------------------------------------


def _table(path: Path, argument: str, found: Mapping[str, Any], more: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A DataFrame of what is one-dimensional, the rest left out with the reason."""
    import pandas as pd

    columns: dict[str, Any] = {}
    left_out: dict[str, str] = dict(more or {})
    for name, value in found.items():
        array = _cells(value)
        if isinstance(array, str):
            left_out[name] = array
        else:
            columns[name] = array
    lengths = {name: len(column) for name, column in columns.items()}
    if not columns:
        what = ", ".join(f"{name} {reason}" for name, reason in left_out.items())
        raise _Refused(
            f"{argument}: {path.name} holds no columns, one-dimensional arrays of equal length by name"
            f"{'; ' if what else ': it is empty'}{what:.200}."
        )
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise _Refused(f"{argument}: {path.name} is no table: its columns differ in length ({told:.200}).")
    frame = pd.DataFrame(columns)
    frame.attrs["left_out"] = left_out
    return frame


def _cells(value: Any) -> Any:
    """A column `(n,)` of numbers or text, or why it is none."""
    array = value if isinstance(value, np.ndarray) or hasattr(value, "dtype") else np.asarray(value, dtype=object)
    shape = tuple(array.shape)
    if sum(n != 1 for n in shape) > 1 or not shape:
        return "is a single value" if not shape else f"has the shape {shape}"
    if array.dtype.kind == "c":
        return "holds complex numbers"
    array = np.asarray(array).reshape(-1)
    if array.dtype.kind == "S":
        return np.array([cell.decode("utf-8", "replace") for cell in array.tolist()], dtype=object)
    if array.dtype.kind == "U":  # rows of a matrix of letters are filled up
        return np.array([cell.rstrip() for cell in array.tolist()], dtype=object)
    if array.dtype.kind == "V":
        return "holds records"
    if array.dtype.kind == "O":
        cells = [_cell(cell) for cell in array.tolist()]
        if any(isinstance(cell, _Other) for cell in cells):
            return "holds other things than numbers and text"
        return np.array([*cells, None], dtype=object)[:-1]  # one more, so that it stays one-dimensional
    return array


class _Other:
    """A cell that is neither number nor text."""


def _cell(cell: Any) -> Any:
    """A number, text or None; of what comes in a list of its own, the one that is inside."""
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if cell is None or isinstance(cell, (str, bool, int, float, np.generic)):
        return cell
    if isinstance(cell, np.ndarray) and cell.dtype.kind in "biufUO" and cell.size <= 1:
        return _cell(cell.reshape(-1)[0]) if cell.size else None  # an empty cell
    return cell if hasattr(cell, "isoformat") else _Other()  # dates


# Each format --------------------------------------------------------------------------------------


def _parquet(path: Path, argument: str) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise _lacking(path, argument, "pyarrow", "sbirules[parquet]") from error
    return _of_lists(frame, path, argument)


def _of_lists(frame: pd.DataFrame, path: Path, argument: str) -> pd.DataFrame:
    """A DataFrame whose columns hold one cell in each row; others are left out."""
    if any(name is not None for name in frame.index.names) and not set(frame.index.names) & set(frame.columns):
        frame = frame.reset_index()
    wrong = {}
    for at, name in enumerate(frame.columns):
        column = frame.iloc[:, at]
        if column.dtype == object and any(isinstance(_cell(cell), _Other) for cell in column):
            wrong[str(name)] = "holds lists or other things than numbers and text"
    kept = frame[[name for name in frame.columns if str(name) not in wrong]]
    if not len(kept.columns):
        raise _Refused(f"{argument}: {path.name} holds no columns of numbers or text.")
    kept.attrs = {"left_out": wrong}
    return kept


def _npz(path: Path, argument: str) -> pd.DataFrame:
    found: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            try:
                found[name] = file[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                left_out[name] = "holds Python objects, which are not opened"
    return _table(path, argument, found, left_out)


def _nwb(path: Path, argument: str) -> pd.DataFrame:
    try:
        from pynwb import NWBHDF5IO  # type: ignore[import-untyped]
    except ImportError as error:
        raise _lacking(path, argument, "pynwb", "sbirules[nwb]") from error
    with NWBHDF5IO(str(path), "r", load_namespaces=True) as file:
        trials = file.read().trials
        if trials is None:
            raise _Refused(
                f"{argument}: {path.name} holds no trials table; add trials to the file, or give a DataFrame."
            )
        frame = trials.to_dataframe().reset_index(drop=True)
    return _of_lists(frame, path, argument)


def _mat(path: Path, argument: str) -> pd.DataFrame:
    with path.open("rb") as handle:
        begin = handle.read(1024)
    if b"\x89HDF\r\n\x1a\n" in begin:  # version 7.3
        found = _variables_7_3(path, argument)
    else:
        from scipy.io import loadmat

        found = loadmat(path, simplify_cells=True)
    found = {name: value for name, value in found.items() if name not in INSIDE and name != "None"}
    records = {name: rows for name, value in found.items() if (rows := _records(value)) is not None}
    plain = {name: value for name, value in found.items() if name not in records}
    if any(not isinstance(_cells(value), str) for value in plain.values()):
        return _table(path, argument, plain, dict.fromkeys(records, "is a structure"))
    if len(records) > 1:
        raise _Refused(
            f"{argument}: {path.name} holds several structures ({arguments.listed(records)}); save one of them."
        )
    if not records:
        if not plain:
            raise _Refused(f"{argument}: {path.name} holds no columns; tables of MATLAB are not read, {SAVE}.")
        return _table(path, argument, plain)
    return _table(path, argument, next(iter(records.values())), {name: str(_cells(v)) for name, v in plain.items()})


def _records(value: Any) -> Mapping[str, Any] | None:
    """Fields of a structure, or of a structure array as columns; None of other things."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.reshape(-1).tolist()
    if (
        isinstance(value, list)
        and value
        and all(isinstance(row, Mapping) and row.keys() == value[0].keys() for row in value)
    ):
        return {name: [row[name] for row in value] for name in value[0]}
    return None


def _variables_7_3(path: Path, argument: str) -> dict[str, Any]:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError as error:
        raise _lacking(path, argument, "h5py", "h5py") from error
    with h5py.File(path, "r") as file:
        return {name: _of_hdf5(file, item) for name, item in file.items() if name not in INSIDE}


def _of_hdf5(file: Any, item: Any) -> Any:
    """A variable of version 7.3: structures are groups, cells are references, text is numbers of characters."""
    import h5py

    if isinstance(item, h5py.Group):
        return {name: _of_hdf5(file, inner) for name, inner in item.items()}
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if item.attrs.get("MATLAB_empty", 0):
        return "" if kind == "char" else np.zeros(0)
    if h5py.check_ref_dtype(item.dtype) is not None:
        cells = [_of_hdf5(file, file[ref]) for ref in item[()].reshape(-1)]
        return _listed(cells)
    if h5py.check_string_dtype(item.dtype) is not None:
        return item.asstr()[()]
    array = item[()]
    if kind == "char":  # columns first
        lines = ["".join(map(chr, row)).rstrip() for row in np.atleast_2d(array.T).tolist()]
        return lines[0] if len(lines) == 1 else _listed(lines)
    return array


def _listed(cells: list[Any]) -> np.ndarray:
    """Cells of any kind as a one-dimensional array."""
    out = np.empty(len(cells), dtype=object)
    for at, cell in enumerate(cells):
        out[at] = cell
    return out


READERS: dict[str, Callable[[Path, str], Any]] = {".mat": _mat, ".npz": _npz, ".nwb": _nwb, ".parquet": _parquet}
