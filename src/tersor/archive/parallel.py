"""Jobs on several threads whose results come back in order, with few of them in memory at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

T = TypeVar("T")


def in_order(jobs: Iterable[Callable[[], T]], threads: int) -> Iterator[T]:
    """Yield the result of each job, in the order of the jobs.

    jobs: consumed lazily; at most 2 * threads are started and not yet yielded.
    threads: 1 runs every job in the caller's thread.
    An exception of a job is raised in its place; jobs after it that have not begun are dropped.
    """
    remaining = iter(jobs)
    first = list(islice(remaining, 2 * threads if threads > 1 else 1))
    if len(first) <= 1:  # one thread, or nothing to share
        for job in chain(first, remaining):
            yield job()
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            waiting.extend(pool.submit(job) for job in first)
            first.clear()
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(job) for job in islice(remaining, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
