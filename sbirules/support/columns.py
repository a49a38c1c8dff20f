"""Tables by named columns, from CSV files or DataFrames: every cell is read as meant, or refused with line and column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from sbirules.support import arguments

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Columns"]

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")
LARGEST = float(np.finfo(np.float32).max)  # runs hold their fields in single precision
YES_NO = {"true": 1.0, "false": 0.0}
WITH_PANDAS = 'read the file with pandas.read_csv(path, sep=";", decimal=",") and pass the DataFrame'


@dataclass(frozen=True)
class Columns:
    """Columns of cells by name, and the line that each row stands in.

    Cells of files are text. Those of DataFrames are as they are there, missing ones None.

    Arguments:
        where: What the table is called in messages.
        cells: Cells by column; columns without a name are left out.
        lines: Line of each row, as an editor or a spreadsheet counts: the header is 1.
        unit: What a row is called in messages, `"line"` of a file or `"row"` of a DataFrame.
    """

    where: str
    cells: dict[str, list[object]]
    lines: tuple[int, ...]
    unit: str = "row"

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.cells)

    def __contains__(self, name: str) -> bool:
        return name in self.cells

    # From files and DataFrames --------------------------------------------------------------------

    @staticmethod
    def read(argument: str, source: str | Path | pd.DataFrame) -> Columns:
        """The columns of a CSV file (UTF-8, commas) or a DataFrame; `argument` is its name in messages.

        Raises:
            ValueError: If it is none, a column's name stands twice, a row has more or fewer cells than the header, or
                repeats it.
        """
        import pandas as pd

        if isinstance(source, pd.DataFrame):
            return _of_frame(source)
        if not isinstance(source, (str, Path)):
            raise ValueError(f"{argument} must be the path of a CSV file or a DataFrame, got {type(source).__name__}.")
        return _of_file(argument, source)

    # Columns by what they hold --------------------------------------------------------------------

    def numbers(self, name: str, if_empty: str = "") -> np.ndarray:
        """A column of finite numbers, as float64; `if_empty` says what would do where a cell is empty."""
        out = np.empty(len(self))
        for row, cell in enumerate(self.cells[name]):
            value = _number(cell)
            if value is None:
                self.refuse(name, row, "must be a finite number", if_empty if _empty(cell) else _hint(cell))
            if abs(value) > LARGEST:
                self.refuse(name, row, f"must be at most {LARGEST:.2g} in size")
            out[row] = value
        return out

    def whole(self, name: str) -> np.ndarray:
        """A column of whole numbers of at least 0, as int64."""
        values = self.numbers(name)
        wrong = (values != np.floor(values)) | (values < 0) | (values > 2**53)
        if wrong.any():
            self.refuse(name, int(wrong.argmax()), "must be a whole number of at least 0")
        return values.astype(np.int64)

    def flags(self, name: str) -> np.ndarray:
        """A column of 0 and 1, or false and true, as float64."""
        out = np.empty(len(self))
        for row, cell in enumerate(self.cells[name]):
            text = str(cell).strip().lower()
            value = YES_NO[text] if text in YES_NO else _number(cell)
            if value not in (0.0, 1.0):
                self.refuse(name, row, "must be 0 or 1", _hint(cell))
            out[row] = value
        return out

    def labels(self, name: str) -> list[str]:
        """A column of names as text, as they are written: `01` is not `1`."""
        out: list[str] = []
        kinds: dict[str, type] = {}
        for row, cell in enumerate(self.cells[name]):
            text = _label(cell)
            if not text:
                self.refuse(name, row, "must be a name", "it is empty")
            if kinds.setdefault(text, type(cell)) is not type(cell):
                self.refuse(name, row, "must be text or a number throughout", f"{text} comes as both")
            out.append(text)
        return out

    def refuse(self, name: str, row: int, rule: str, more: str = "") -> NoReturn:
        """Raises ValueError about one cell."""
        cell = self.cells[name][row]
        given = "an empty cell" if _empty(cell) else f"{cell!r:.60}"
        raise ValueError(
            f"{self.where}: {name} {rule}, got {given} in {self.unit} {self.lines[row]}{'; ' if more else ''}{more}."
        )


def _of_frame(frame: pd.DataFrame) -> Columns:
    import pandas as pd

    names = [str(name).strip() for name in frame.columns]
    _check_names("the table", names)
    cells: dict[str, list[object]] = {}
    for at, name in enumerate(names):
        column = frame.iloc[:, at]
        absent = column.isna().tolist()
        cells[name] = [None if gone else value for gone, value in zip(absent, column.tolist(), strict=True)]
    # what pandas keeps beside numbers (dates, categories of dates) has no plain value
    for name, column_cells in cells.items():
        cells[name] = [str(v) if isinstance(v, (pd.Timestamp, pd.Timedelta)) else v for v in column_cells]
    return Columns("the table", cells, tuple(range(2, len(frame) + 2)))


def _of_file(argument: str, source: str | Path) -> Columns:
    path = arguments.path(argument, source)
    if not path.is_file():
        raise ValueError(f"{argument}: there is no file {path}.")
    where = path.name
    try:
        text = path.read_bytes().decode("utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{argument}: {where} cannot be read as CSV: it is not UTF-8 text ({error.reason} at byte {error.start}); save it as "
            f"UTF-8."
        ) from error
    except OSError as error:
        raise ValueError(f"{argument}: {where} cannot be read: {error.strerror}.") from error
    rows, lines = _rows(argument, where, text)
    if not rows:
        raise ValueError(f"{argument}: {where} cannot be read as CSV: it is empty.")
    header, rows, lines = [name.strip() for name in rows[0]], rows[1:], lines[1:]
    if len(header) == 1 and any(separator in header[0] for separator in ";\t"):
        raise ValueError(f"{argument}: {where} is not separated by commas; {WITH_PANDAS}.")
    _check_names(where, [name for name in header if name])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise ValueError(
                f"{where}: line {line} has {_cells(len(row))}, but the header has {len(header)}; is there a stray separator, or "
                f"a decimal comma?"
            )
        if [cell.strip() for cell in row] == header:
            raise ValueError(f"{where}: line {line} repeats the header; were files joined? Remove that line.")
    cells: dict[str, list[object]] = {name: [row[at].strip() for row in rows] for at, name in enumerate(header) if name}
    return Columns(where, cells, tuple(lines), "line")


def _rows(argument: str, where: str, text: str) -> tuple[list[list[str]], list[int]]:
    """Rows that are not empty, and the line that each begins in."""
    if "\0" in text:
        raise ValueError(
            f"{argument}: {where} cannot be read as CSV: line {text[: text.index(chr(0))].count(chr(10)) + 1} "
            f"holds a zero byte."
        )
    rows: list[list[str]] = []
    lines: list[int] = []
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for row in reader:
            if any("\n" in cell or "\r" in cell for cell in row):
                raise ValueError(
                    f"{argument}: {where} cannot be read as CSV: a cell of line {line} goes on in the next line; is a quotation "
                    f"mark left open?"
                )
            if row and any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{argument}: {where} cannot be read as CSV: {error} in line {line}.") from error
    return rows, lines


def _check_names(where: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{where} has the column {name!r} more than once.")
        seen.add(name)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _empty(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _number(cell: object) -> float | None:
    """A finite number, or None. Flags are no numbers."""
    if isinstance(cell, str):
        cell = cell.strip()
        value = float(cell) if NUMBER.fullmatch(cell) else math.nan
    elif isinstance(cell, (bool, np.bool_)) or not isinstance(cell, (int, float, np.integer, np.floating)):
        return None
    else:
        try:
            value = float(cell)
        except OverflowError:
            return None
    return value if math.isfinite(value) else None


def _label(cell: object) -> str:
    """A name as text; whole numbers that a DataFrame holds as floats are still whole."""
    if cell is None:
        return ""
    if isinstance(cell, (float, np.floating)) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def _hint(cell: object) -> str:
    """What may have been meant by a cell that is no number."""
    if isinstance(cell, str) and DECIMAL_COMMA.fullmatch(cell.strip()):
        return f"numbers need a decimal point; {WITH_PANDAS}"
    return ""
