"""Jobs on several threads whose results come back in order, with few of them in memory at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from itertools import chain, islice
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def in_order(jobs: Iterable[Callable[[], T]], threads: int) -> Iterator[T]:
    """Yield the result of each job, in the order of the jobs.

    jobs: consumed lazily; at most 2 * threads are started and not yet yielded.
    threads: 1 runs every job in the caller's thread.
    An exception of a job is raised in its place; jobs after it that have not begun are dropped. Jobs must not call
    `in_order` themselves: they would wait for the threads that they occupy.
    """
    remaining = iter(jobs)
    first = list(islice(remaining, 2 * threads if threads > 1 else 1))
    if len(first) <= 1:  # one thread, or nothing to share
        for job in chain(first, remaining):
            yield job()
        return
    waiting: deque[Future[T]] = deque()
    pool = _pool(threads)
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
        wait(waiting)  # a job that runs still writes into the caller's memory


def together(works: Iterable[Callable[[], object]], threads: int) -> None:
    """Call each of the works in this thread and at the same time in threads - 1 others, and wait for all.

    works: drawn in this thread, while the others begin with those that are known. Each shares out among its callers
        what there is to do, and returns when nothing is left of it.
    An exception of any of them is raised.
    """
    if threads == 1:
        for work in works:
            work()
        return
    queues: list[SimpleQueue[Callable[[], object] | None]] = [SimpleQueue() for _ in range(threads - 1)]
    others = [_pool(threads).submit(_work_off, queue) for queue in queues]
    known = []
    try:
        for work in works:
            known.append(work)
            for queue in queues:
                queue.put(work)
        for work in reversed(known):
            work()
    finally:
        for queue in queues:
            queue.put(None)
        begun = [future for future in others if not future.cancel()]  # the rest has nothing to do any more
        wait(begun)
    for future in begun:
        future.result()


def _work_off(queue: SimpleQueue[Callable[[], object] | None]) -> None:
    while (work := queue.get()) is not None:
        work()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """The process's pool of so many threads: starting one takes as long as decoding a megabyte."""
    return ThreadPoolExecutor(threads, thread_name_prefix="tersor")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
