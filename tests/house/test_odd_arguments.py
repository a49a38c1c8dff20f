"""Every public callable under odd arguments: success, or a clear sentence of the package's own; nothing raw."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "odd_arguments.py"


def tried(*given, seconds):
    """What the program found; it runs apart, with limits on memory and time of its own."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    out = subprocess.run(
        [sys.executable, str(PROGRAM), *given], capture_output=True, text=True, timeout=seconds, env=one_thread
    )
    assert out.returncode == 0, out.stderr[-3000:]
    return json.loads(out.stdout)


def test_some_odd_arguments_end_in_success_or_a_clear_sentence():
    found = tried("500", "0", seconds=120)
    assert not found["calls"]
    assert found["clear"] > 350


@pytest.mark.long
def test_all_odd_arguments_end_in_success_or_a_clear_sentence():
    found = tried(seconds=3600)
    tally = {k: v for k, v in found.items() if isinstance(v, int)}
    print(f"odd arguments: {tally}, {len(found['calls'])} raw of {found['tried']}; slowest {found['slowest'][:3]}")
    assert not found["unfit"], "a call without an odd argument must work"
    assert not found["calls"]
