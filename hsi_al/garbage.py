"""Garbage collection between the rounds of an experiment."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Garbage:
    """The garbage collector, called by hand after every round.

    A Trainer and its optimiser form a reference cycle, and memory would grow every round. What needs no torch leaves
    nothing of that size.

    Attributes:
        only_new: Whether what existed before is left out, since scanning all imported modules takes 0.3 s.
    """

    def __init__(self) -> None:
        self.only_new = False

    @contextmanager
    def leaving_out_the_old(self) -> Iterator[None]:
        """Exclude existing objects inside, unless that is done around it already."""
        if self.only_new or "torch" not in sys.modules:
            yield
            return
        gc.collect()
        gc.freeze()
        self.only_new = True
        try:
            yield
        finally:
            self.only_new = False
            gc.unfreeze()

    def collect(self) -> None:
        """Free what the round has left behind."""
        if "torch" in sys.modules:
            gc.collect()


garbage = Garbage()
