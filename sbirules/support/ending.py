"""How runs end: SIGTERM as an exception, so that cleaning up happens; and workers that end with who called them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "end_with", "terminable"]

EVERY = 0.5  # seconds between two looks at the caller


class Terminated(KeyboardInterrupt):
    """SIGTERM."""


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`, unless something else was to happen; after it, the process ends so."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    except Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # as it would have ended without us, now that nothing is left behind
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_with(caller: int) -> None:
    """For a worker process: it ends soon after the one that started it, also where that was killed and could not say so."""
    if os.name == "posix":
        threading.Thread(target=_watch, args=(caller,), daemon=True).start()


def _watch(caller: int) -> None:
    while os.getppid() == caller:  # a process whose parent has ended gets another one
        time.sleep(EVERY)
    os._exit(1)
