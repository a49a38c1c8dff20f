"""Pieces of work in processes."""

import os
import threading
import warnings
from functools import partial

import pytest
import torch

from sbirules.support.side_by_side import side_by_side


def threads(value):
    warnings.warn(f"of {value}")
    return value, os.getpid(), torch.get_num_threads()


def fails():
    raise ArithmeticError("no number")


def test_results_come_in_order_with_their_warnings():
    with pytest.warns(UserWarning, match="of 2") as said:
        found = side_by_side([partial(threads, k) for k in range(4)], 2)
    assert [value for value, _, _ in found] == [0, 1, 2, 3]
    assert sorted(str(w.message) for w in said) == [f"of {k}" for k in range(4)]
    assert os.getpid() not in {process for _, process, _ in found}
    assert {count for _, _, count in found} == {1}


def test_one_worker_is_this_process_with_one_thread():
    before = torch.get_num_threads()
    with pytest.warns(UserWarning, match="of 0"):
        (_, process, count), _ = side_by_side([partial(threads, 0), partial(threads, 1)], 1)
    assert process == os.getpid()
    assert count == 1
    assert torch.get_num_threads() == before


def test_what_cannot_be_sent_is_done_here():
    lock = threading.Lock()  # no process can be sent one
    assert side_by_side([lambda: lock.locked(), os.getpid], 2) == [False, os.getpid()]


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_come_back(workers):
    with pytest.raises(ArithmeticError, match="no number"):
        side_by_side([fails, fails], workers)
