"""Tables by named columns, from files or DataFrames: every cell is read as meant, or refused with line and column."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from sbirules.support import arguments
from sbirules.support.cells import WITH_PANDAS, empty, flag, hint, label, not_finite, number, same
from sbirules.support.table_files import frame_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Columns"]

LARGEST = float(np.finfo(np.float32).max)  # runs hold their fields in single precision
CSV = (".csv", ".txt", ".tsv", ".dat", "")  # suffixes of files that are read as CSV
NO_NUMBER = ("nan", "na")  # how programs write that a number is not known


@dataclass(frozen=True)
class Columns:
    """Columns of cells by name, and the line that each row stands in.

    Cells of files are text. Those of DataFrames are as they are there, missing ones None.

    Arguments:
        where: What the table is called in messages.
        cells: Cells by column; columns without a name are left out.
        lines: Line of each row, as an editor or a spreadsheet counts: the header is 1.
        unit: What a row is called in messages, `"line"` of a CSV file or `"row"` of another table.
        left_out: Columns that the file has and that are none of a table, with the reason.
    """

    where: str
    cells: dict[str, list[object]]
    lines: tuple[int, ...]
    unit: str = "row"
    left_out: Mapping[str, str] = field(default_factory=dict)

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
        """The columns of a file or a DataFrame; `argument` is its name in messages.

        Files are CSV (UTF-8, commas), or what `table_files.frame_of` reads by their suffix.

        Raises:
            ValueError: If it is none, a column's name stands twice, a row has more or fewer cells than the header, or
                repeats it.
        """
        import pandas as pd

        if isinstance(source, pd.DataFrame):
            return _of_frame(source)
        if not isinstance(source, (str, Path)):
            raise ValueError(f"{argument} must be the path of a table or a DataFrame, got {type(source).__name__}.")
        path = arguments.path(argument, source)
        if path.suffix.lower() in CSV:
            return _of_file(argument, path)
        return _of_frame(frame_of(path, argument), path.name, first=1)

    def renamed(self, names: Mapping[str, str]) -> Columns:
        """The same with columns `names` under the names that stand before them.

        A column that is there under such a name already is left out.
        """
        self.need(names.values())
        kept = {n: cells for n, cells in self.cells.items() if n not in names and n not in names.values()}
        return replace(self, cells={**kept, **{name: self.cells[column] for name, column in names.items()}})

    def picked(self, rows: Mapping[str, object]) -> Columns:
        """The rows that have these values in these columns: one value each, or a list of which any will do.

        Values are compared as text and as numbers: 1 is `1`, `1.0` and true.

        Raises:
            ValueError: If there is no such column, or no row is left.
        """
        self.need(rows)
        keep = np.ones(len(self), dtype=bool)
        for name, value in rows.items():
            wanted = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
            codes, cells = self.distinct(name)
            keep &= np.array([any(same(cell, one) for one in wanted) for cell in cells], dtype=bool)[codes]
            if not keep.any():
                shown = arguments.listed(label(cell) or "an empty cell" for cell in cells[:10])
                raise ValueError(
                    f"{self.where}: rows leaves no row with {name} = {value!r:.80}; {name} holds {shown:.200}"
                    f"{', ...' if len(cells) > 10 else ''}."
                )
        at = np.flatnonzero(keep).tolist()
        cells_of = {name: [column[i] for i in at] for name, column in self.cells.items()}
        return replace(self, cells=cells_of, lines=tuple(self.lines[i] for i in at))

    def need(self, names: Iterable[str], why: str = "") -> None:
        """Raises ValueError unless these columns are there; `why` says what would do."""
        for name in names:
            if name not in self:
                reason = f" ({self.left_out[name]})" if name in self.left_out else ""
                raise ValueError(
                    f"{self.where} lacks the column {name!r}{reason}; it has {_names(self.names):.300}"
                    f"{'; ' if why else ''}{why}."
                )

    # Columns by what they hold --------------------------------------------------------------------

    def distinct(self, name: str) -> tuple[np.ndarray, list[object]]:
        """Different cells of a column in order of appearance, and which of them each row has, `(rows,)`."""
        seen: dict[object, int] = {}
        cells = self.cells[name]
        try:  # 1, 1.0 and True are one key, and three kinds of cells
            codes = [seen.setdefault((type(cell), cell), len(seen)) for cell in cells]
        except TypeError:  # lists and the like
            seen.clear()
            codes = [seen.setdefault((type(cell), repr(cell)), len(seen)) for cell in cells]
        index = np.array(codes, dtype=np.int64)
        first = np.unique(index, return_index=True)[1] if len(index) else index
        return index, [cells[int(i)] for i in first]

    def numbers(self, name: str, if_empty: str = "", *, missing: bool = False, flags: bool = False) -> np.ndarray:
        """A column of finite numbers, as float64; `if_empty` says what would do where a cell is empty.

        With `missing`, empty cells, NaN and NA are NaN; with `flags`, true and false are 1 and 0.
        """
        codes, cells = self.distinct(name)
        out = np.empty(len(cells))
        for code, cell in enumerate(cells):
            value = number(cell)
            if value is None and flags:
                value = flag(cell)
            if value is None and missing and (empty(cell) or str(cell).strip().lower() in NO_NUMBER):
                value = math.nan
            if value is None:
                row = int((codes == code).argmax())
                self.refuse(name, row, "must be a finite number", if_empty if empty(cell) else hint(cell))
            if abs(value) > LARGEST:
                self.refuse(name, int((codes == code).argmax()), f"must be at most {LARGEST:.2g} in size")
            out[code] = value
        each: np.ndarray = out[codes]
        return each

    def whole(self, name: str) -> np.ndarray:
        """A column of whole numbers of at least 0, as int64."""
        values = self.numbers(name)
        wrong = (values != np.floor(values)) | (values < 0) | (values > 2**53)
        if wrong.any():
            self.refuse(name, int(wrong.argmax()), "must be a whole number of at least 0")
        return values.astype(np.int64)

    def flags(self, name: str, *, missing: bool = False) -> np.ndarray:
        """A column of 0 and 1, or false and true, as float64; with `missing`, empty cells and NaN are NaN."""
        codes, cells = self.distinct(name)
        out = np.empty(len(cells))
        for code, cell in enumerate(cells):
            value = flag(cell)
            if value is None and missing and (empty(cell) or str(cell).strip().lower() in NO_NUMBER):
                value = math.nan
            if value is None:
                self.refuse(name, int((codes == code).argmax()), "must be 0 or 1", hint(cell))
            out[code] = value
        each: np.ndarray = out[codes]
        return each

    def labels(self, name: str) -> list[str]:
        """A column of names as text, as they are written: `01` is not `1`."""
        codes, texts = self.coded(name)
        return [texts[code] for code in codes.tolist()]

    def coded(self, name: str, *, missing: bool = False) -> tuple[np.ndarray, list[str]]:
        """A column of names as the different texts in order of appearance, and which of them each row has.

        With `missing`, empty cells and NaN are the text "". Two cells may have the same text.
        """
        codes, cells = self.distinct(name)
        texts: list[str] = []
        kinds: dict[str, type] = {}
        for code, cell in enumerate(cells):
            text = label(cell)
            if missing and text.lower() == "nan":
                text = ""
            if not text and not missing:
                self.refuse(name, int((codes == code).argmax()), "must be a name", "it is empty")
            if text and kinds.setdefault(text, type(cell)) is not type(cell):
                row = int((codes == code).argmax())
                self.refuse(name, row, "must be text or a number throughout", f"{text} comes as both")
            texts.append(text)
        return codes, texts

    def numeric(self, name: str) -> bool:
        """Whether all cells that are not empty are numbers, finite or not."""
        cells = [cell for cell in self.distinct(name)[1] if not empty(cell)]
        return bool(cells) and all(number(cell) is not None or not_finite(cell) for cell in cells)

    def refuse(self, name: str, row: int, rule: str, more: str = "") -> NoReturn:
        """Raises ValueError about one cell."""
        cell = self.cells[name][row]
        given = "an empty cell" if empty(cell) else f"{cell!r:.60}"
        raise ValueError(
            f"{self.where}: {name} {rule}, got {given} in {self.unit} {self.lines[row]}{'; ' if more else ''}{more}."
        )


def _of_frame(frame: pd.DataFrame, where: str = "the table", first: int = 2) -> Columns:
    import pandas as pd

    names = [str(name).strip() for name in frame.columns]
    _check_names(where, names)
    cells: dict[str, list[object]] = {}
    for at, name in enumerate(names):
        column = frame.iloc[:, at]
        absent = column.isna().tolist()
        cells[name] = [None if gone else value for gone, value in zip(absent, column.tolist(), strict=True)]
    # what pandas keeps beside numbers (dates, categories of dates) has no plain value
    for name, column_cells in cells.items():
        cells[name] = [str(v) if isinstance(v, (pd.Timestamp, pd.Timedelta)) else v for v in column_cells]
    left_out = dict(frame.attrs.get("left_out", {}))
    return Columns(where, cells, tuple(range(first, len(frame) + first)), left_out=left_out)


def _of_file(argument: str, path: Path) -> Columns:
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


def _names(names: Iterable[str]) -> str:
    """Names as they should appear in a message, each in one line."""
    return arguments.listed(" ".join(name.split()) for name in names)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
