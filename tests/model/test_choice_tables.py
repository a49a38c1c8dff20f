"""Tables of choices: what is read of them, what is refused, and that what is written is read again."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import savemat

from sbirules import Trials
from sbirules.cli import EXIT, main
from sbirules.model.choices import ChoiceColumns
from sbirules.model.fields import Field, Layout
from sbirules.model.runs import Trajectory

DATA = Path(__file__).parents[3] / "shared" / "data"
NAN = math.nan

# two mice whose rows interleave; m2 misses an answer, its second session counts trials anew, trial 5 was dropped
MICE = """mouse,day,number,contrast,cue,side,water
m1,mon,3,-0.5,red,left,1
m2,1,0,0.25,blue,right,0
m1,mon,4,0.5,blue,right,
m1,mon,6,0.5,red,left,0.5
m2,1,1,-0.5,red,,0
m2,2,0,0.25,blue,right,1
m2,2,7,0,red,left,1
"""
COLUMNS = {
    "learner": "mouse",
    "session": "day",
    "trial": "number",
    "stimulus": ["contrast", "cue"],
    "choice": "side",
    "reward": "water",
}
# one fly is offered a, then b, and takes b; takes a; rejects b and a
FLIES = """fly,trial,odor,accept,reward
f1,1,a,0,
f1,1,b,1,1
f1,2,a,1,0
f1,3,b,0,
f1,3,a,0,
"""


def file(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_text(content)
    return path


def same(trials, name, rows):
    np.testing.assert_array_equal(trials.trajectory.per_trial[name].numpy(), rows)


def test_a_table_of_choices_is_read_as_its_columns_mean(tmp_path):
    trials = Trials.read(file(tmp_path, MICE), columns=COLUMNS)
    assert trials.learners == ("m1", "m2")
    assert trials.meaning == ChoiceColumns(("left", "right"), ("contrast", "cue"), {"cue": ("blue", "red")})
    assert trials.trial_types.tolist() == [[0, 0, 0, -1], [0, 0, 0, 0]]
    assert trials.num_trials.tolist() == [3, 4]
    same(trials, "choice", [[0, 1, 0, NAN], [1, NAN, 1, 0]])
    same(trials, "reward", [[1, NAN, 0.5, NAN], [0, 0, 1, 1]])
    same(trials, "session", [[0, 0, 0, NAN], [0, 0, 1, 1]])
    same(trials, "trial", [[0, 1, 2, NAN], [0, 1, 2, 3]])
    same(trials, "contrast", [[-0.5, 0.5, 0.5, NAN], [0.25, -0.5, 0.25, 0]])
    same(trials, "cue", [[1, 0, 1, NAN], [0, 1, 0, 1]])
    assert trials.trajectory.available == ("choice", "reward", "session", "trial", "contrast", "cue")
    assert trials.trajectory.dtype == torch.float64
    assert [trials.lines.of(i, t) for i, t in ((0, 1), (1, 3))] == ["line 4 of t.csv", "line 8 of t.csv"]
    assert trials.subset([1]).meaning == trials.meaning


def test_columns_with_the_names_of_roles_need_not_be_named_and_most_may_be_absent():
    frame = pd.DataFrame({"choice": ["b", "a", None, "a"], "reward": [1, 0, None, True], "stimulus": [1, 2, 3, 4]})
    trials = Trials.read(frame)
    assert trials.learners == ("1",)
    assert trials.meaning == ChoiceColumns(("a", "b"), ("stimulus",))
    same(trials, "choice", [[1, 0, NAN, 0]])
    same(trials, "reward", [[1, 0, NAN, 1]])
    same(trials, "session", [[0, 0, 0, 0]])
    same(trials, "trial", [[0, 1, 2, 3]])
    named = frame.assign(session=["s", "s", "t", "t"], trial=[1, 2, 1, 2], learner="x")
    same(Trials.read(named), "session", [[0, 0, 1, 1]])
    same(Trials.read(named, columns={"session": None, "trial": None}), "session", [[0, 0, 0, 0]])
    without = Trials.read(frame.drop(columns="reward"), columns={"reward": None, "stimulus": None})
    assert without.meaning.stimuli == ()
    assert without.describe().unknown_rewards == 3
    assert any("No reward is known" in text for text in without.describe().cautions)


def test_offers_that_are_accepted_or_rejected_are_decisions_within_a_trial(tmp_path):
    trials = Trials.read(file(tmp_path, FLIES), columns={"learner": "fly", "stimulus": "odor"})
    assert trials.meaning == ChoiceColumns(("reject", "accept"), ("odor",), {"odor": ("a", "b")}, accept=True)
    same(trials, "choice", [[0, 1, 1, 0, 0]])
    same(trials, "trial", [[0, 0, 1, 2, 2]])
    same(trials, "reward", [[NAN, 1, 0, NAN, NAN]])
    same(trials, "odor", [[0, 1, 0, 1, 0]])
    described = trials.describe()
    assert (described.trials, described.decisions, described.unknown_rewards) == (3, 5, 0)
    assert described.options == {"reject": 0.6, "accept": 0.4}
    named = Trials.read(file(tmp_path, FLIES), columns={"learner": "fly", "accept": "accept"}, options=("no", "yes"))
    assert named.meaning.options == ("no", "yes")


def test_rows_are_picked_by_text_and_by_number(tmp_path):
    path, columns = file(tmp_path, FLIES), {"learner": "fly", "choice": "odor"}
    digests = {
        Trials.read(path, columns=columns, rows={"accept": v}).digest() for v in (1, 1.0, "1", True, [1, 7], "1.0")
    }
    frame = pd.read_csv(path).astype({"accept": float})
    digests |= {Trials.read(frame, columns=columns, rows={"accept": v}).digest() for v in (1, "1", True)}
    assert len(digests) == 1
    picked = Trials.read(path, columns=columns, rows={"accept": 1})
    same(picked, "choice", [[1, 0]])
    assert picked.lines.numbers.tolist() == [[3, 4]]
    with pytest.raises(ValueError, match="rows leaves no row with accept = 3; accept holds 0, 1"):
        Trials.read(path, columns=columns, rows={"accept": 3})
    with pytest.raises(ValueError, match="lacks the column 'took'; it has fly, trial, odor, accept, reward"):
        Trials.read(path, columns=columns, rows={"took": 1})


def test_answers_are_sorted_by_value_or_as_they_are_given():
    frame = pd.DataFrame({"choice": ["10", "9", "-1.0", "9", "-1"], "reward": 1.0})
    assert Trials.read(frame).meaning.options == ("-1", "9", "10")
    given = Trials.read(frame, options=(9, 10, 11, -1))
    assert given.meaning.options == ("9", "10", "11", "-1")
    same(given, "choice", [[1, 0, 3, 0, 3]])
    # a float column of pandas, as missing answers make it, is what the file says
    assert Trials.read(pd.DataFrame({"choice": [1.0, NAN, 0.0], "reward": 1})).meaning.options == ("0", "1")


def test_numbers_are_labels_where_it_is_said(tmp_path):
    frame = pd.read_csv(file(tmp_path, MICE)).assign(odor=[1, 2, 1, 3, 2, 1, 1])
    columns = {**COLUMNS, "stimulus": "odor"}
    assert Trials.read(frame, columns=columns).meaning.labels == {}
    one_hot = Trials.read(frame, columns=columns, one_hot=("odor",))
    assert one_hot.meaning.labels == {"odor": ("1", "2", "3")}
    same(one_hot, "odor", [[0, 0, 2, NAN], [1, 1, 0, 0]])
    ordered = Trials.read(frame, columns=columns, one_hot={"odor": (3, 2, 1)})
    same(ordered, "odor", [[2, 2, 0, NAN], [1, 1, 2, 2]])


def test_stimuli_are_called_as_fields_can_be(tmp_path):
    frame = pd.read_csv(file(tmp_path, MICE)).rename(columns={"contrast": "signed contrast", "cue": "x"})
    columns = {**COLUMNS, "stimulus": "signed contrast"}
    assert Trials.read(frame, columns=columns).meaning.stimuli == ("signed_contrast",)
    with pytest.raises(ValueError, match="a stimulus cannot be called 'x'"):
        Trials.read(frame, columns={**COLUMNS, "stimulus": "x"})
    assert Trials.read(frame, columns={**COLUMNS, "stimulus": {"light": "x"}}).meaning.labels == {
        "light": ("blue", "red")
    }


def test_the_layout_of_a_simulator_of_choices_says_what_is_a_stimulus(tmp_path):
    layout = Layout((Field("choice"), Field("reward"), Field("session"), Field("trial"), Field("contrast")))
    columns = {role: name for role, name in COLUMNS.items() if role != "stimulus"}
    assert Trials.read(file(tmp_path, MICE), layout, columns=columns).meaning.stimuli == ("contrast",)
    with pytest.raises(ValueError, match=r"lacks the column 'contrast'.*it is a stimulus of the task"):
        Trials.read(file(tmp_path, MICE.replace("contrast", "light")), layout, columns=columns)


def test_a_simulator_of_its_own_may_call_a_field_choice():
    layout = Layout((Field("choice", dtype="bool"), Field("spikes")), ("all",))
    frame = pd.DataFrame({"learner": ["a"] * 3, "trial": [0, 1, 2], "choice": [0, 1, 1], "spikes": [4.0, 2.0, 0.0]})
    trials = Trials.read(frame, layout)
    assert trials.meaning is None
    same(trials, "choice", [[0, 1, 1]])
    same(trials, "spikes", [[4, 2, 0]])


@pytest.mark.parametrize("as_frame", [False, True])
def test_what_is_written_is_read_again(tmp_path, as_frame):
    tables = [
        Trials.read(file(tmp_path, MICE), columns=COLUMNS),
        Trials.read(
            file(tmp_path, MICE), columns=COLUMNS, options=("right", "none", "left"), one_hot={"cue": ("red", "blue")}
        ),
        Trials.read(file(tmp_path, MICE), columns=COLUMNS).subset([0]),  # with an empty trial at the end
        Trials.read(file(tmp_path, FLIES), columns={"learner": "fly", "stimulus": "odor"}),
    ]
    for trials in tables:
        keywords = trials.write(tmp_path / "again.csv")
        source = pd.read_csv(tmp_path / "again.csv") if as_frame else tmp_path / "again.csv"
        again = Trials.read(source, **keywords)
        assert again.digest() == trials.digest()
        assert again.meaning == trials.meaning
        assert again.learners == trials.learners
    assert len({trials.digest() for trials in tables}) == len(tables)
    assert (tmp_path / "again.csv").read_text() == (
        "learner,session,trial,step,odor,accept,reward\nf1,0,0,0,a,0,\nf1,0,0,1,b,1,1\nf1,0,1,0,a,1,0\nf1,0,2,0,b,0,\n"
        "f1,0,2,1,a,0,\n"
    )


def test_numbers_are_written_with_all_their_digits(tmp_path):
    rewards = torch.tensor([[0.1, 1 / 3, 1e-30, NAN]])
    fields = {"choice": torch.tensor([[0.0, 1.0, NAN, 0.0]]), "reward": rewards, "session": torch.zeros(1, 4)}
    run = Trajectory(
        torch.zeros(1, dtype=torch.int8), torch.zeros(1, 4).long(), {**fields, "trial": torch.arange(4.0)[None]}
    )
    trials = Trials(("a",), run, None, ChoiceColumns(("l", "r")))
    again = Trials.read(tmp_path / "t.csv", **trials.write(tmp_path / "t.csv"))
    assert again.digest() == trials.digest()
    assert torch.equal(again.trajectory.reward[0, :3], rewards[0, :3].double())


def test_the_digest_is_of_content_and_meaning():
    frame = pd.DataFrame({"choice": ["a", "b", "a"], "reward": [1, 0, 1]})
    digests = [
        Trials.read(frame).digest(),
        Trials.read(frame.replace("b", "c")).digest(),
        Trials.read(frame.assign(reward=[1, 0, 0])).digest(),
        Trials.read(frame, options=("a", "b", "c")).digest(),
    ]
    assert len(set(digests)) == len(digests)


def test_errors_are_written_and_read_again(tmp_path):
    frame = pd.DataFrame({"learner": ["x"] * 3 + ["y"] * 2, "trial": [0, 1, 2, 0, 1], "error": [0.1, 1 / 3, 2, 0.7, 0]})
    trials = Trials.read(frame.assign(trial_type=["A", "B", "B", "A", "A"]), ("A", "B"))
    for table in (trials, trials.subset([1])):
        assert table.write(tmp_path / "t.csv") == {}
        assert Trials.read(tmp_path / "t.csv", ("A", "B")).digest() == table.digest()
    assert (tmp_path / "t.csv").read_text().startswith("learner,trial,trial_type,error,reward,correct\ny,0,A,0.69999")
    described = trials.describe()
    assert (described.kind, described.animals, described.trials) == ("errors", 2, 5)
    assert described.mean_error == pytest.approx((0.1 + 1 / 3 + 2 + 0.7) / 5)
    assert described.table()["trials"].tolist() == [3, 2]
    with pytest.raises(ValueError, match="one name for each learner, but 'x' is none, or comes twice"):
        trials.subset([0, 0]).write(tmp_path / "t.csv")


def test_columns_of_errors_can_be_called_otherwise():
    frame = pd.DataFrame({"rat": ["x", "x"], "n": [1, 2], "error": [9.0, 9.0], "miss": [0.1, 0.2]})
    trials = Trials.read(frame, ("A",), columns={"learner": "rat", "trial": "n", "error": "miss"})
    torch.testing.assert_close(trials.trajectory.error, torch.tensor([[0.1, 0.2]]))
    for columns, words in (
        ({"rat": "rat"}, "'rat' is not known. .*learner, trial, trial_type, error"),
        ({"learner": "mouse"}, "lacks the column 'mouse'; it has rat, n, error, miss"),
        ({"learner": "rat", "trial": "rat"}, "two meanings: 'rat' is learner, trial"),
        ({"learner": 3}, "must give the column of learner as text, got 3"),
    ):
        with pytest.raises(ValueError, match=words):
            Trials.read(frame, ("A",), columns=columns)
    with pytest.raises(ValueError, match="options belongs to tables of choices"):
        Trials.read(frame, ("A",), options=("a", "b"))
    with pytest.raises(ValueError, match="columns belongs to a table that is still to be read"):
        Trials.read(trials, columns={})


def test_a_description_counts(tmp_path):
    described = Trials.read(file(tmp_path, MICE), columns=COLUMNS).describe()
    assert (described.kind, described.where) == ("choices", "t.csv")
    assert (described.animals, described.sessions, described.trials, described.decisions) == (2, 3, 7, 7)
    assert (described.missing, described.unknown_rewards) == (1, 1)
    assert described.options == {"left": 0.5, "right": 0.5}
    assert described.mean_reward == pytest.approx(3.5 / 6)
    assert described.stimuli == {"contrast": "-0.5 to 0.5, 4 values", "cue": "labels blue, red"}
    assert described.cautions == ()
    table = described.table()
    assert table["animal"].tolist() == ["m1", "m2"]
    assert table["missing"].tolist() == [0, 1]
    np.testing.assert_allclose(table["left"], [2 / 3, 1 / 3])
    np.testing.assert_allclose(table["reward"], [0.75, 0.5])


@pytest.mark.parametrize(
    ("answers", "reward", "wanted"),
    [
        ("LRL", [1, 0, 1], ()),
        (
            ["L", "999", "R"],
            [1, 0, 1],
            ("999 counts as an answer; where it means that there was none, leave the cell empty.",),
        ),
        (
            [0, 1, -999],
            [1, 0, 1],
            ("-999 counts as an answer; where it means that there was none, leave the cell empty.",),
        ),
        (
            ["L", "R", "-1"],
            [1, 0, 1],
            ("-1 counts as an answer; where it means that there was none, leave the cell empty.",),
        ),
        (["L", "l", "R"], [1, 0, 1], ("L and l count as two answers; if they are one, write them alike.",)),
        (
            ["L", "R", "1", "0"],
            [1, 0, 1, 0],
            ("Answers are numbers (0) and words (L): are these the same ones, written in two ways?",),
        ),
        ("LRL", [1, 0, 999], ("999 counts as a reward; where it means that none is known, leave the cell empty.",)),
        ("LRL", [0.0025, 0, 0.0025], ("Rewards other than 0 are 0.0025 on average",)),
        ("LRL", [-1, 0, 2.5], ()),
    ],
)
def test_codes_spellings_and_units_are_cautions(answers, reward, wanted):
    frame = pd.DataFrame({"learner": "a", "choice": list(answers), "reward": reward})
    found = Trials.read(frame).describe().cautions
    assert len(found) == len(wanted), found
    assert all(text.startswith(start) for text, start in zip(found, wanted, strict=True))


def test_what_is_odd_but_can_be_read_is_a_caution():
    frame = pd.DataFrame({"learner": list("aaabbbccc"), "choice": ["l", "l", "l", "r", "l", "NA", None, None, None]})
    frame = frame.assign(reward=2, cue=["1", "2", "O", "1", "2", "O", "1", "2", "O"])
    cautions = Trials.read(frame, columns={"stimulus": "cue"}, options=("l", "r", "NA", "up")).describe().cautions
    assert cautions == (
        "Animal c gives no answer at all.",
        "Animal a gives one and the same answer in all trials.",
        "No animal ever gives the answer up.",
        "NA counts as an answer; where it means that there was none, leave the cell empty.",
        "33 % of the decisions have no answer.",
        "The reward is always 2.",
        "The stimulus cue is read as labels, for O is no number, though 1 is one.",
    )
    offers = pd.DataFrame({"trial": [0, 0, 1, 1], "accept": [1, 0, 0, 1], "reward": [1, None, None, 0]})
    assert Trials.read(offers).describe().cautions == ("1 trial went on after an offer had been accepted.",)


def test_descriptions_fit_100_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"learner": [f"animal {k} {'long ' * 12}" for k in range(40) for _ in range(40)]})
    frame["choice"] = [f"answer {k}" for k in rng.integers(0, 30, len(frame))]
    frame["odor"], frame["reward"] = [f"odor {k}" for k in rng.integers(0, 40, len(frame))], rng.normal(size=len(frame))
    lines = str(Trials.read(frame, columns={"stimulus": "odor"}).describe()).split("\n")
    assert max(map(len, lines)) <= 100
    assert lines[-1] == "... and 16 more"
    errors = pd.DataFrame({"learner": ["a"] * 3, "trial": [0, 1, 2], "error": [0.1, 0.2, 0.3]})
    assert "means       error 0.2, reward -0.2, correct 1" in str(Trials.read(errors, ("A",)).describe())


def changed(line, text, content=MICE):
    lines = content.splitlines()
    lines[line - 1] = text
    return "\n".join(lines) + "\n"


ONE = "choice,reward\n" + "".join(f"{k},1\n" for k in range(60))
FLY = {"learner": "fly", "stimulus": "odor"}
REFUSED = {
    "two meanings": (
        MICE,
        {"columns": {**COLUMNS, "stimulus": ["side"]}},
        "one column two meanings: 'side' is choice and stim",
    ),
    "one stimulus twice": (
        MICE,
        {"columns": {**COLUMNS, "stimulus": ["cue", "cue"]}},
        "two stimuli have one name, 'cue'",
    ),
    "unknown role": (MICE, {"columns": {**COLUMNS, "rewrad": "water"}}, "'rewrad' is not known; did you mean 'reward'"),
    "missing column": (
        MICE,
        {"columns": {**COLUMNS, "choice": "lever"}},
        "lacks the column 'lever'; it has mouse, day, number, contrast, cue, side, water; columns names it as choice",
    ),
    "no choice": (
        MICE,
        {},
        "lacks the column 'choice'; .*columns={.choice.: .side.}; a table of errors needs type_names",
    ),
    "no reward": (MICE, {"columns": {"choice": "side"}}, "lacks the column 'reward'; .*read without rewards by"),
    "not a name": (MICE, {"columns": {**COLUMNS, "choice": 5}}, "must give one column's name as choice, got 5"),
    "outside options": (
        MICE,
        {"columns": COLUMNS, "options": ("left", "up")},
        "side must be one of the options, left, up, got 'right' in line 3",
    ),
    "options twice": (
        MICE,
        {"columns": COLUMNS, "options": ("left", "left")},
        "options must be at least two different",
    ),
    "no list of options": (MICE, {"columns": COLUMNS, "options": 3}, "options must be "),
    "unknown one_hot": (MICE, {"columns": COLUMNS, "one_hot": "odor"}, "one_hot: 'odor' is not known"),
    "one_hot without stimuli": (
        MICE,
        {"columns": {**COLUMNS, "stimulus": None}, "one_hot": "cue"},
        "one_hot names the stimulus 'cue', but columns names no column as stimulus",
    ),
    "lists of one_hot": (MICE, {"columns": COLUMNS, "one_hot": [["cue"]]}, "one_hot: .* is not known"),
    "one_hot of all things": (MICE, {"columns": COLUMNS, "one_hot": 1.5}, "one_hot must be names of stimuli"),
    "reward of a rejected offer": (
        changed(2, "f1,1,a,0,0", FLIES),
        {"columns": FLY},
        "reward must be empty where the offer was rejected, got '0' in line 2",
    ),
    "accepted by half": (
        changed(2, "f1,1,a,0.5,", FLIES),
        {"columns": FLY},
        "accept must be 0 or 1, got '0.5' in line 2",
    ),
    "accept and choice": (
        FLIES,
        {"columns": {"learner": "fly", "accept": "accept", "choice": "odor"}},
        "choice must be left out; if 'odor' is what was offered, it is a stimulus",
    ),
    "offers read as choices": (FLIES, {"columns": {"learner": "fly", "choice": "odor"}}, "pick rows={.accept.: 1}"),
    "one trial": (MICE + "m3,1,0,0,red,left,1\n", {"columns": COLUMNS}, "animal m3 has one trial only, in line 9"),
    "always the same": (
        MICE.replace("right", "left"),
        {"columns": COLUMNS},
        "side is always left, so that there is nothing to explain",
    ),
    "always the same in each": (
        "learner,choice,reward\na,l,1\na,l,1\nb,r,1\nb,r,1\n",
        {},
        "every animal always gives one and the same answer",
    ),
    "never an answer": ("choice,reward\n,1\nnan,1\n,0\n", {}, "choice is empty in all 3 rows"),
    "many answers": (ONE, {}, "choice has 60 different answers, 0, 1, 2, ...; does choice hold a number"),
    "many labels": (
        MICE + "".join(f"m3,1,{k},0,cue{k},left,1\n" for k in range(60)),
        {"columns": COLUMNS},
        "cue has 62 different labels",
    ),
    "a constant stimulus": (MICE.replace("blue", "red"), {"columns": COLUMNS}, "cue never varies, it is always red"),
    "a constant number": (
        "choice,reward,light\na,1,0.5\nb,1,0.5\n",
        {"columns": {"stimulus": "light"}},
        "light never varies, it is always 0.5; leave it out",
    ),
    "name of a field": (
        MICE.replace("cue", "reward"),
        {"columns": {**COLUMNS, "stimulus": ["reward"]}},
        "a stimulus cannot be called 'reward', which means something else",
    ),
    "stimulus not finite": (
        changed(4, "m1,mon,4,inf,blue,right,", MICE),
        {"columns": COLUMNS},
        "contrast must be a finite number, got 'inf' in line 4",
    ),
    "stimulus not known": (
        changed(4, "m1,mon,4,,blue,right,", MICE),
        {"columns": COLUMNS},
        "contrast must be a finite number, got an empty cell in line 4; a stimulus must be known",
    ),
    "label not known": (changed(4, "m1,mon,4,0.5,,right,"), {"columns": COLUMNS}, "cue must be a name, .* in line 4"),
    "reward not finite": (
        changed(4, "m1,mon,4,0.5,blue,right,inf"),
        {"columns": COLUMNS},
        "water must be a finite number",
    ),
    "reward in words": (changed(4, "m1,mon,4,0.5,blue,right,drop"), {"columns": COLUMNS}, "got 'drop' in line 4"),
    "no learner": (
        changed(4, ",mon,4,0.5,blue,right,"),
        {"columns": COLUMNS},
        "mouse must be a name, got an empty cell in line 4",
    ),
    "trial goes back": (
        changed(5, "m1,mon,2,0.5,red,left,0.5"),
        {"columns": COLUMNS},
        "animal m1 goes back in time: number 2 follows 4, in lines 4 and 5",
    ),
    "session goes back": (
        MICE + "m1,tue,0,0,red,left,1\nm1,mon,9,0,red,left,1\n",
        {"columns": COLUMNS},
        "animal m1 goes back in time: day mon comes again after tue, in line 10",
    ),
    "trial twice": (
        changed(5, "m1,mon,4,0.5,red,left,1"),
        {"columns": COLUMNS},
        "has number 4 twice, in lines 4 and 5",
    ),
    "step twice": (
        "trial,step,choice,reward\n0,0,a,1\n0,1,b,1\n0,1,b,1\n1,0,a,1\n",
        {},
        "has step within trial 0 twice, 1, in lines 3 and 4",
    ),
    "step goes back": (
        "trial,step,choice,reward\n0,0,a,1\n0,2,b,1\n0,1,b,1\n1,0,a,1\n",
        {},
        "goes back in time: step within trial 0 is 1 after 2, in lines 3 and 4",
    ),
    "steps without trials": (
        "step,choice,reward\n0,a,1\n1,b,1\n",
        {},
        "a column of trials is needed; if it counts trials",
    ),
    "half a trial": (changed(2, "m1,mon,3.5,-0.5,red,left,1"), {"columns": COLUMNS}, "number must be a whole number"),
    "no rows": (MICE.splitlines()[0], {"columns": COLUMNS}, "has no rows"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_read_as_meant_is_refused_in_one_sentence(tmp_path, kind):
    content, keywords, words = REFUSED[kind]
    with pytest.raises(ValueError, match=words) as refused:
        Trials.read(file(tmp_path, content), **keywords)
    assert "\n" not in str(refused.value)


def test_other_formats_are_read_alike(tmp_path):
    frame = pd.read_csv(file(tmp_path, MICE))
    columns = {name: frame[name].to_numpy() for name in frame if name != "side"}
    side = ["" if cell != cell else cell for cell in frame["side"]]
    savemat(tmp_path / "t.mat", {**columns, "side": np.array(side, dtype=object), "spikes": np.zeros((7, 2))})
    np.savez(
        tmp_path / "t.npz", **{n: c.astype(str) if c.dtype == object else c for n, c in columns.items()}, side=side
    )
    by_csv = Trials.read(tmp_path / "t.csv", columns=COLUMNS)
    for name in ("t.mat", "t.npz"):
        trials = Trials.read(tmp_path / name, columns=COLUMNS)
        assert trials.digest() == by_csv.digest()
        assert trials.lines.of(0, 1) == f"row 3 of {name}"
    with pytest.raises(ValueError, match=r"t.mat lacks the column 'spikes' \(has the shape \(7, 2\)\)"):
        Trials.read(tmp_path / "t.mat", columns={**COLUMNS, "stimulus": "spikes"})


def test_the_command_says_what_would_be_read(tmp_path, capsys):
    path = str(file(tmp_path, FLIES))
    named = ["--columns", "learner=fly,choice=odor", "--rows", "accept=1"]
    assert main(["data", path, *named]) == EXIT["done"]
    assert "answers     a 0.500, b 0.500" in capsys.readouterr().out
    assert main(["data", path, *named, "--json"]) == EXIT["done"]
    told = json.loads(capsys.readouterr().out)
    assert (told["animals"], told["trials"], told["options"]) == (1, 2, {"a": 0.5, "b": 0.5})
    study = '[data]\ntrials = "t.csv"\ncolumns = { learner = "fly", choice = "odor" }\nrows = { accept = 1 }\n'
    assert main(["data", str(file(tmp_path, study, "study.toml")), "--json"]) == EXIT["done"]
    assert json.loads(capsys.readouterr().out) == told
    mice = str(file(tmp_path, MICE, "mice.csv"))
    text = "learner=mouse,session=day,trial=number,stimulus=contrast+cue"
    assert main(["data", mice, "--columns", text, "choice=side", "reward=water"]) == EXIT["done"]
    assert "stimulus    cue: labels blue, red" in capsys.readouterr().out
    errors = file(tmp_path, "learner,trial,trial_type,error\na,0,A,0.1\na,1,B,0.3\n", "errors.csv")
    assert main(["data", str(errors)]) == EXIT["done"]
    assert "errors.csv: errors of 1 learner\ntrials      2 (2 each)\nmeans       error 0.2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["none.csv"], "there is no file"),
        (["t.csv"], "has one and the same|lacks the column|goes back"),
        (["t.csv", "--columns", "learner"], "--columns must be like name=value, separated by commas, got 'learner'"),
        (["t.csv", "--rows", "accept=7"], "rows leaves no row with accept = '7'"),
        (
            ["s.csv"],
            "s.csv has the columns animal, day, c1, which do not say what it holds; name its columns: --columns",
        ),
        (["bad.toml"], "bad.toml is not valid TOML"),
        (["empty.toml"], "empty.toml names no table"),
        (["empty.toml", "--rows", "a=1"], "--rows belongs to a table"),
    ],
)
def test_the_command_refuses_in_a_sentence(tmp_path, monkeypatch, capsys, given, words):
    monkeypatch.chdir(tmp_path)
    file(tmp_path, FLIES.replace("accept,", "took,").replace("odor,took", "odor,accept").replace("reward", "pay"))
    file(tmp_path, "[data", "bad.toml")
    file(tmp_path, "animal,day,c1\na,1,0.5\n", "s.csv")
    file(tmp_path, "", "empty.toml")
    assert main(["data", *given]) == EXIT["wrong input"]
    message = capsys.readouterr().err
    assert message.startswith("sbirules: ")
    assert re.search(words, message)


@pytest.mark.skipif(not DATA.is_dir(), reason="no animals beside the repository")
def test_tables_of_animals_are_read(tmp_path):
    columns = {"learner": "fly", "trial": "trial", "choice": "odor", "reward": "reward"}
    flies = Trials.read(DATA / "flies_matching.csv", columns=columns, rows={"accept": 1})
    assert (len(flies), int(flies.num_trials.sum()), flies.num_trials[[10, 16]].tolist()) == (18, 4283, [227, 216])
    rows = pd.read_csv(DATA / "flies_matching.csv").query("accept == 1")
    described = flies.describe()
    assert described.mean_reward == pytest.approx(rows["reward"].mean())
    np.testing.assert_allclose(
        described.table()["A"], rows.groupby("fly")["odor"].apply(lambda odor: (odor == "A").mean())
    )
    columns = {"learner": "mouse", "session": "session", "trial": "trial", "stimulus": ["contrast"], "choice": "choice"}
    mice = Trials.read(DATA / "mice_contrast.csv", columns={**columns, "reward": "correct"})
    rows = pd.read_csv(DATA / "mice_contrast.csv")
    described = mice.describe()
    assert (described.animals, described.trials, described.unknown_rewards) == (
        16,
        89169,
        int(rows["correct"].isna().sum()),
    )
    assert described.table()["sessions"].tolist() == rows.groupby("mouse")["session"].nunique().tolist()
    assert Trials.read(tmp_path / "t.csv", **mice.write(tmp_path / "t.csv")).digest() == mice.digest()
