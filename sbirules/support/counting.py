"""A progress bar over steps that worker processes take: they count in files that grow, their caller looks at the sizes."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["counted", "counter"]

EVERY = 0.25  # seconds between looks


@contextmanager
def counted(total: int, what: str, unit: str, progress: bool) -> Iterator[Path | None]:
    """A bar for as long as the block runs; where workers count is a folder, None where no bar is shown.

    Arguments:
        total: Steps of all workers together.
        what: What is counted, in front of the bar.
        unit: Of one step.
        progress: Whether to show the bar.
    """
    if not progress:
        yield None
        return
    from tqdm.auto import tqdm

    with tempfile.TemporaryDirectory(prefix="sbirules-") as place, tqdm(total=total, desc=what, unit=unit) as bar:
        folder, ended = Path(place), threading.Event()

        def look() -> None:
            with contextlib.suppress(OSError):  # a bar is no reason to stop
                bar.update(sum(path.stat().st_size for path in folder.iterdir()) - bar.n)

        def watch() -> None:
            while not ended.wait(EVERY):
                look()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield folder
        finally:
            ended.set()
            watcher.join()
            look()


def counter(folder: Path | None, worker: int) -> Callable[..., None]:
    """What a worker calls after each step, with whatever arguments; it never fails.

    Arguments:
        folder: As from `counted`.
        worker: Its number: each has a file of its own.
    """

    def step(*_: object) -> None:
        if folder is not None:
            with contextlib.suppress(OSError), open(folder / str(worker), "ab") as file:
                file.write(b".")

    return step
