"""Tables in files: each oddity is read as meant, or refused with line and column."""

import random
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from sbirules import Trials
from sbirules.model.fields import Field, Layout

GOOD = """learner,trial,trial_type,error,reward
a,0,0,0.1,-0.1
a,1,1,0.7,-0.7
a,2,0,0.3,-0.3
b,0,1,1.2,-1.2
b,1,1,0.2,-0.2
"""


def read(tmp_path, content, layout=("A", "B")):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Trials.read(path, layout)


def changed(line, text):
    lines = GOOD.splitlines()
    lines[line - 1] = text
    return "\n".join(lines) + "\n"


REFUSED = {
    "duplicate column": (GOOD.replace("reward", "error"), "has the column 'error' more than once"),
    "stray separator": (changed(3, "a,1,1,,0.7,-0.7"), "line 3 has 6 cells, but the header has 5; is there a stray"),
    "stray separator everywhere": (
        GOOD.replace("a,", ",a,").replace("b,", ",b,"),
        "line 2 has 6 cells, but the header has 5",
    ),
    "cell missing": (changed(4, "a,2,0,0.3"), "line 4 has 4 cells"),
    "contradiction": (changed(4, "a,2,0,0.3,-0.8"), "reward must be minus the error, got '-0.8' in line 4; .* is 0.3"),
    "too large": (changed(4, "a,2,0,1e39,-1e39"), "error must be at most 3.4e.38 in size, got '1e39' in line 4"),
    "far too large": (changed(4, "a,2,0,1e999,-1"), "error must be a finite number, got '1e999' in line 4"),
    "repeated header": (GOOD + GOOD, "line 7 repeats the header"),
    "decimal comma, quoted": (changed(3, 'a,1,1,"0,7","-0,7"'), "got '0,7' in line 3; numbers need a decimal point"),
    "decimal comma, bare": (changed(3, "a,1,1,0,7,-0,7"), "line 3 has 7 cells"),
    "semicolons": (GOOD.replace(",", ";"), "is not separated by commas; read the file with pandas"),
    "gap": (changed(4, "a,3,0,0.3,-0.3"), "trial 1 is followed by 3, in lines 3 and 4"),
    "twice": (changed(4, "a,1,0,0.3,-0.3"), "trial 1 comes twice, in lines 3 and 4"),
    "half a trial": (changed(4, "a,1.5,0,0.3,-0.3"), "trial must be a whole number of at least 0, got '1.5' in line 4"),
    "words among numbers": (changed(4, "a,2,0,missed,-0.3"), "error must be a finite number, got 'missed' in line 4"),
    "empty cell": (changed(4, "a,2,0,,-0.3"), "got an empty cell in line 4; the model misses no trials"),
    "other digits": (changed(4, "a,2,0,٠.٣,-0.3"), "error must be a finite number, got '٠.٣' in line 4"),
    "underscores": (changed(4, "a,2,0,1_0,-10"), "error must be a finite number, got '1_0' in line 4"),
    "unknown type": (changed(4, "a,2,C,0.3,-0.3"), r"0 \(A\), 1 \(B\), got 'C' in line 4"),
    "no learner": (changed(4, ",2,0,0.3,-0.3"), "learner must be a name, got an empty cell in line 4"),
    "open quotation mark": (changed(4, 'a,2,0,"0.3,-0.3'), "goes on in the next line|unexpected end of data"),
    "quotation mark over lines": (changed(4, '"a,2,0\n",0.3,-0.3,0,0'), "a cell of line 4 goes on in the next line"),
    "zero byte": (changed(4, "a,2,0,0.3,-0.3\0"), "line 4 holds a zero byte"),
    "other encoding": (GOOD.encode("utf-16"), "it is not UTF-8 text"),
    "header only": (GOOD.splitlines()[0], "has no rows"),
    "empty": ("\n\n", "it is empty"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_as_meant_is_refused_with_its_line(tmp_path, kind):
    content, words = REFUSED[kind]
    with pytest.raises(ValueError, match=words):
        read(tmp_path, content)


READ = {
    "byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "line ends of Windows": GOOD.replace("\n", "\r\n"),
    "spaces": GOOD.replace(",", " , "),
    "blank lines": GOOD.replace("\n", "\n\n") + ",,,,\n",
    "an index without a name": "\n".join(
        f"{i},{line}" for i, line in zip(["", *"01234"], GOOD.split("\n"), strict=False)
    ),
    "types by name": GOOD.replace(",0,0.", ",A,0.").replace(",1,0.", ",B,0.").replace(",1,1.", ",B,1."),
    "types as decimals": GOOD.replace(",0,0.", ",0.0,0.").replace(",1,0.", ",1.0,0.").replace(",1,1.", ",1.0,1."),
    "rows in another order": "\n".join([GOOD.splitlines()[i] for i in (0, 3, 1, 5, 2, 4)]),
    "exponents": GOOD.replace("0.7", "7e-1"),
    "rounded": GOOD.replace("-0.7", "-0.703"),
    "quoted": GOOD.replace("a,", '"a",'),
    "numbered from 1": GOOD.replace("b,1", "b,2").replace("b,0", "b,1"),
}


@pytest.mark.parametrize("kind", READ)
def test_what_can_be_read_as_meant_is_read(tmp_path, kind):
    trials = read(tmp_path, READ[kind])
    assert trials.learners == ("a", "b")
    assert trials.trial_types.tolist() == [[0, 1, 0], [1, 1, -1]]
    error = torch.tensor([[0.1, 0.7, 0.3], [1.2, 0.2, torch.nan]])
    torch.testing.assert_close(trials.trajectory.error, error, equal_nan=True, rtol=0, atol=1e-7)


def test_learners_are_text(tmp_path):
    assert read(tmp_path, GOOD.replace("a,", "01,").replace("b,", "1,")).learners == ("01", "1")
    assert read(tmp_path, GOOD.replace("a,", "NA,").replace("b,", "nan,")).learners == ("NA", "nan")
    frame = pd.DataFrame({"learner": [1.0, 2.0], "trial": [0, 0], "error": [0.1, 0.2]})
    assert Trials.read(frame, ("A",)).learners == ("1", "2")
    assert Trials.read(frame.astype({"learner": "category"}), ("A",)).learners == ("1", "2")


def test_an_answer_that_contradicts_the_error_is_refused(tmp_path):
    text = "learner,trial,error,correct\na,0,0.4,1\na,1,0.6,0\na,2,0.5004,1\n"  # 0.5 within rounding
    assert read(tmp_path, text, ("A",)).trajectory.correct.tolist() == [[1.0, 0.0, 1.0]]
    with pytest.raises(ValueError, match=r"correct must be 1 where the error is below 0.5, .* got '1' in line 3"):
        read(tmp_path, text.replace("0.6,0", "0.6,1"), ("A",))
    assert (
        read(tmp_path, text.replace(",1\n", ",True\n").replace(",0\n", ",false\n"), ("A",)).trajectory.correct.sum()
        == 2
    )


def test_flags_are_no_numbers():
    frame = pd.DataFrame({"learner": ["a", "a"], "trial": [0, 1], "error": [0.5, True]}, dtype=object)
    with pytest.raises(ValueError, match="error must be a finite number, got True in row 3"):
        Trials.read(frame, ("A",))


def test_large_numbers_are_not_merged(tmp_path):
    layout = Layout((Field("stamp"),))
    rows = "".join(f"a,{i},{1.7e9 + i / 8}\n" for i in range(50))
    values = read(tmp_path, "learner,trial,stamp\n" + rows, layout).trajectory.per_trial["stamp"]
    np.testing.assert_array_equal(values[0].numpy(), 1.7e9 + np.arange(50) / 8)


def test_trials_know_their_lines(tmp_path):
    trials = read(tmp_path, READ["rows in another order"])
    assert [trials.lines.of(i, t) for i in (0, 1) for t in (0, 1)] == [f"line {n} of t.csv" for n in (3, 5, 6, 4)]
    assert trials.subset([-1]).lines.of(0, 0) == "line 6 of t.csv"


# fmt: off
ODD = (
    "", "nan", "inf", "-inf", "1e39", "1e999", "-1", "0.5.1", "1,5", '"', "'", "NA", "None", "0x1", "true", "é", "\0", ";", "\t",
    "9" * 400, "a" * 200000, "\ufeff", "−1", "1e-400", "#", "=1+1", "999", "01", " ", "\r", "٣", "learner",
)
# fmt: on


def mutated(content, draw):
    """A CSV file with one to three things done to it that editors, programs and disks do."""
    for _ in range(draw.randint(1, 3)):
        lines = content.split("\n")
        row = draw.randrange(len(lines))
        cells = lines[row].split(",")
        cell = draw.randrange(len(cells))
        odd = draw.choice(ODD)
        what = draw.randrange(10)
        if what == 0:
            cells[cell] = odd
        elif what == 1:
            cells.insert(cell, odd)
        elif what == 2:
            del cells[cell]
        elif what == 3:
            lines.insert(row, draw.choice(lines))
        elif what == 4:
            del lines[row + 1 :]
        elif what == 5:
            return content.encode(draw.choice(["utf-16", "utf-8-sig", "utf-32", "utf-7"]), errors="surrogatepass")
        elif what == 6:
            content = content.replace(draw.choice([",", "\n", ".", "0"]), odd, draw.choice([1, 3, -1]))
            continue
        elif what == 7:
            lines = lines[row:] + lines[:row]
        elif what == 8:
            raw = bytearray(content.encode(errors="surrogatepass"))
            for _ in range(draw.randint(1, 4)):
                raw[draw.randrange(max(len(raw), 1)) if raw else 0 : 0] = bytes([draw.randrange(256)])
            return bytes(raw)
        else:
            lines[row] = lines[row][: draw.randrange(len(lines[row]) + 1)]
        if what in (0, 1, 2):
            lines[row] = ",".join(cells)
        content = "\n".join(lines)
        if not content:
            return b""
    return content.encode(errors="surrogatepass")


def fuzz(tmp_path, count, seed):
    """How many mutations were read, refused in words, and ended in raw errors."""
    draw, tally, raw = random.Random(seed), {"read": 0, "refused": 0}, []
    path = tmp_path / "t.csv"
    for _ in range(count):
        content = mutated(GOOD, draw)
        path.write_bytes(content)
        sources = [path]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sources.append(pd.read_csv(path))
        except Exception:  # pandas' own ways with it are not looked at
            pass
        for source in sources:
            try:
                trials = Trials.read(source, ("A", "B"))
                assert all(v.isfinite().any() for v in trials.trajectory.per_trial.values())
                tally["read"] += 1
            except ValueError as error:
                tally["refused"] += 1
                if not str(error).startswith(("trials: t.csv", "t.csv", "the table")) or "\n" in str(error):
                    raw.append((content, repr(error)))
            except Exception as error:
                raw.append((content, repr(error)))
    return tally, raw


def test_mutated_tables_are_read_or_refused(tmp_path):
    tally, raw = fuzz(tmp_path, 150, seed=0)
    assert not raw, raw[:3]
    assert min(tally.values()) > 10


@pytest.mark.long
def test_many_mutated_tables_are_read_or_refused(tmp_path):
    tally, raw = fuzz(tmp_path, 2000, seed=1)
    print(f"tables: {sum(tally.values()) + len(raw)} tried from 2000 mutations, {tally}, {len(raw)} raw")
    assert not raw, raw[:3]
