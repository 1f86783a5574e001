"""Objects that only the garbage collector would free, because they lead back to themselves."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def without_collector(kind: type) -> Iterator[Callable[[], int]]:
    """Nothing is collected within; what is given counts the objects of that kind that were made and are still there."""

    def found() -> set[int]:
        return {id(each) for each in gc.get_objects() if isinstance(each, kind)}

    gc.collect()
    before = found()
    gc.disable()
    try:
        yield lambda: len(found() - before)
    finally:
        gc.enable()
