"""Every public callable with odd arguments, generated from the signatures: what is no success must be a clear sentence.

A call is good but for one argument. It may succeed, also with a warning, or run out of time; anything else but a ValueError or
TypeError that the package itself raises is raw. A program of its own, since huge arguments need limits on memory and
time:

    python tests/odd_arguments.py [COUNT [SEED]]
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import inspect
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from odd_arguments_good import CONTEXT, GOOD, INSTANCES, OMITTED, SPECIAL

import sbirules as sr
from sbirules import figures, priors, reference, simulators, summaries, tasks

# arguments with defaults that would take long
GIVEN = ("progress", "num_workers", "num_samples", "rules", "num_simulations", "num_rules", "networks")
# what needs no posterior, for a sample that is tried in seconds
LIGHT = (
    *(
        "priors.",
        "tasks.",
        "summaries.",
        "simulators.FeedforwardNetwork",
        "simulators.RateRNN",
        "simulators.Policy",
        "BCM",
        "Covariance",
        "MLPRule",
        "LayeredRule",
        "HebbianLayer",
        "Backpropagation",
        "NodePerturbation",
        "FeedbackAlignment",
        "Oja",
        "PolynomialRule",
        "PolicyRule",
        "TaylorRule",
        "Choice",
        "Field",
        "Layout",
        "Trials",
    ),
    *(
        "Constraints",
        "CurveBand",
        "Coefficient",
        "Trajectory",
        "EnsembleSettings",
        "NPESettings",
        "SamplerSettings",
        "Verdict",
    ),
)
AGAIN = {  # callables that are tried with other good arguments, too
    "Trials.read": ("errors",),
    **dict.fromkeys(("fit", "recover", "recover_families"), ("choices",)),
}
SECONDS = 3  # for one call
MEMORY = 12 * 2**30  # of address space; torch alone takes a few
ROOTS = tuple(str(Path(m.__file__).resolve().parent) + os.sep for m in (sr, simulators, priors))

ODD = {
    "None": lambda: None,
    "True": lambda: True,
    "-1": lambda: -1,
    "0": lambda: 0,
    "3": lambda: 3,
    "10**18": lambda: 10**18,
    "-10**30": lambda: -(10**30),
    "1.5": lambda: 1.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: float("-inf"),
    "1e300": lambda: 1e300,
    "1e-300": lambda: 1e-300,
    "complex": lambda: 1 + 2j,
    "empty text": lambda: "",
    "a wrong name": lambda: "misspelt",
    "zero byte": lambda: "a\0b",
    "long text": lambda: "x" * 5000,
    "bytes": lambda: b"learned",
    "empty list": lambda: [],
    "empty mapping": lambda: {},
    "ragged list": lambda: [1.0, [2.0, 3.0]],
    "wrong names": lambda: ["misspelt", "other"],
    "mixed list": lambda: ["a", 1, None],
    "list of None": lambda: [None],
    "mapping of a wrong name": lambda: {"misspelt": 1},
    "mapping of a pair": lambda: {"final_error": (1, 0)},
    "mapping by number": lambda: {1: "a"},
    "an object": object,
    "a class": lambda: int,
    "a function": lambda: lambda *args: 0,
    "generator": lambda: iter(()),
    "set": lambda: {1.0, 2.0},
    "empty tensor": lambda: torch.empty(0),
    "0-d tensor": lambda: torch.tensor(0.5),
    "0-d NaN": lambda: torch.tensor(float("nan")),
    "row": lambda: torch.tensor([0.1, 0.2]),
    "long row": lambda: torch.zeros(7),
    "NaN row": lambda: torch.full((2,), float("nan")),
    "rows of inf": lambda: torch.full((2, 2), float("inf")),
    "3-d": lambda: torch.zeros(2, 3, 4),
    "complex tensor": lambda: torch.zeros(2, dtype=torch.complex64),
    "bool tensor": lambda: torch.tensor([True, False]),
    "whole numbers": lambda: torch.tensor([[10**15, -3]]),
    "array of text": lambda: np.array(["a", "b"]),
    "array of objects": lambda: np.array([None, 1.0], dtype=object),
    "matrix": lambda: np.arange(6.0).reshape(2, 3),
}


class TooLong(BaseException):
    """A call took longer than it may; it had been accepted."""


@dataclass(frozen=True)
class Subject:
    """A public callable: its label, and how it is had (a bound method needs an instance)."""

    label: str
    get: object
    parameters: tuple[inspect.Parameter, ...]


def subjects():
    """All public callables."""
    out, seen = [], set()
    modules = {"": sr, "simulators.": simulators, "priors.": priors, "tasks.": tasks, "summaries.": summaries}
    modules |= {"figures.": figures, "reference.": reference}
    for prefix, module in modules.items():
        for name in module.__all__:
            item = getattr(module, name)
            if not callable(item) or id(item) in seen or not getattr(item, "__module__", "").startswith("sbirules"):
                continue
            seen.add(id(item))
            if not inspect.isclass(item):
                out.append(_subject(prefix + name, item, item))
                continue
            if not getattr(item, "_is_protocol", False):
                out.append(_subject(prefix + name, item, item))
            for method in sorted(vars(sr.Simulator) | dir_of(item)):
                static = inspect.getattr_static(item, method, None)
                plain = getattr(static, "__func__", static)
                if method.startswith("_") or not inspect.isfunction(plain):
                    continue
                if not plain.__module__.startswith("sbirules"):
                    continue
                label = f"{prefix}{name}.{method}"
                if isinstance(static, (classmethod, staticmethod)):
                    out.append(_subject(label, getattr(item, method), getattr(item, method)))
                else:
                    get = functools.partial(_bound, name, method)
                    parameters = list(inspect.signature(plain).parameters.values())[1:]
                    out.append(Subject(label, get, tuple(parameters)))
    out += [dataclasses.replace(s, label=f"{s.label} of {more}") for s in out for more in AGAIN.get(s.label, ())]
    return [s for s in out if s.label not in OMITTED and s.label.rpartition(".")[0] + ".*" not in OMITTED]


def dir_of(item):
    return dict.fromkeys(dir(item))


def _subject(label, item, signed):
    try:
        parameters = tuple(inspect.signature(signed).parameters.values())
    except ValueError:
        parameters = ()
    return Subject(label, lambda: item, parameters)


def _bound(name, method):
    return getattr(INSTANCES.get(f"{name}.{method}", INSTANCES[name])(CONTEXT), method)


def good_arguments(subject):
    """Positional and keyword arguments that work."""
    args, kwargs = [], {}
    for p in subject.parameters:
        special = SPECIAL.get(
            f"{subject.label}({p.name})", SPECIAL.get(f"{subject.label.rpartition('.')[0]}.*({p.name})")
        )
        if p.kind is p.VAR_KEYWORD or p.kind is p.VAR_POSITIONAL:
            if special is not None and p.kind is p.VAR_KEYWORD:
                kwargs |= special(CONTEXT)
            continue
        if special is None and p.default is not p.empty and p.name not in GIVEN:
            continue
        value = special if special is not None else GOOD.get(p.name)
        if value is None:
            if p.default is p.empty:
                raise LookupError(f"no good value for {p.name} of {subject.label}")
            continue
        if p.kind is p.KEYWORD_ONLY or (p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty):
            kwargs[p.name] = value(CONTEXT)
        else:
            args.append((p.name, value(CONTEXT)))
    return args, kwargs


SETTINGS = {  # callables that pass on what a dataclass lists
    "simulators.RateRNN": type(CONTEXT.rate.settings),
    "simulators.miconi2017": type(CONTEXT.rate.settings),
    "simulators.RateRNN.with_settings": type(CONTEXT.rate.settings),
    "simulators.PolicyNetwork": simulators.PolicySettings,
    "simulators.FeedforwardNetwork": type(CONTEXT.feedforward.settings),
    "simulators.SpikingNetwork": type(CONTEXT.spiking.settings),
}


def odd_calls():
    """What can be tried: subject, argument, odd value."""
    for subject in subjects():
        if subject.label in SETTINGS:
            for name in dataclasses.fields(SETTINGS[subject.label]):
                for odd in ODD:
                    yield subject, None, name.name, odd
        for p in subject.parameters:
            if p.kind is p.VAR_POSITIONAL:
                continue
            name = "misspelt" if p.kind is p.VAR_KEYWORD else p.name
            for odd in ODD:
                yield subject, p, name, odd


@functools.cache
def _raises(path):
    """Lines of a file that belong to a raise statement."""
    lines = set()
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.Raise):
            lines |= set(range(node.lineno, node.end_lineno + 1))
    return lines


def is_clear(error):
    """Whether the package itself raised it, as an error about arguments."""
    if not isinstance(error, (ValueError, TypeError)) or not str(error).strip():
        return False
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    if isinstance(error, TypeError) and Path(last.filename).name == Path(__file__).name:
        return True  # Python's own: an argument is missing, or unknown
    path = str(Path(last.filename).resolve())
    return path.startswith(ROOTS) and last.lineno in _raises(path)


def tried(subject, parameter, name, odd, seconds=SECONDS):
    """How a call ended: `success`, `clear`, `long` or `raw`, with words; None where nothing odd was done."""
    args, kwargs = good_arguments(subject)
    if name and all(n != name for n, _ in args):
        kwargs[name] = ODD[odd]()
    args = [value if n != name else ODD[odd]() for n, value in args]
    call = subject.get()

    def stop(*_):
        raise TooLong

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        out = call(*args, **kwargs)
        if inspect.isgenerator(out):
            for _ in range(3):
                next(out, None)
        ended = "success", ""
    except TooLong:
        ended = "long", ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        words = "".join(traceback.format_exception_only(error)).strip()
        if is_clear(error):
            ended = "clear", words
        else:
            frames = [
                f
                for f in traceback.extract_tb(error.__traceback__)
                if str(Path(f.filename).resolve()).startswith(ROOTS)
            ]
            last = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "-"
            first = f"{Path(frames[0].filename).name}:{frames[0].lineno}" if frames else "-"
            ended = "raw", f"{words[:160]}  [{first} ... {last}]"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        CONTEXT.tidy()
    return ended


def main(count=None, seed=0, only=""):
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    unfit = {}
    for subject in subjects():
        if only and not subject.label.startswith(only):
            continue
        if count is None:
            try:
                ended = tried(subject, None, "", "", 60)
            except Exception as error:
                ended = "raw", repr(error)
            if ended[0] != "success":
                unfit[subject.label] = ended[1] or ended[0]
    calls = [c for c in odd_calls() if not only or c[0].label.startswith(only)]
    if count is not None:
        calls = [c for c in calls if c[0].label.startswith(LIGHT)]
        calls = random.Random(seed).sample(calls, count)
    tally, raw, slow = Counter(), [], Counter()
    for subject, parameter, name, odd in calls:
        if subject.label in unfit:
            continue
        begun = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            ended, words = tried(subject, parameter, name, odd)
        slow[subject.label] += time.monotonic() - begun
        tally[ended] += 1
        if ended == "raw":
            raw.append(f"{subject.label}({name}={odd}): {words}")
    return {"tried": sum(tally.values()), **tally, "unfit": unfit, "slowest": slow.most_common(12), "calls": raw}


if __name__ == "__main__":
    given = [a for a in sys.argv[1:] if a.isdigit()]
    chosen = next((a for a in sys.argv[1:] if not a.isdigit()), "")
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        found = main(int(given[0]) if given else None, int(given[1]) if len(given) > 1 else 0, chosen)
        os.chdir("/")
    print(json.dumps(found, indent=1))
