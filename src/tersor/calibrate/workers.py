"""Jobs side by side, without changing what comes out."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import torch

Job = Callable[[], None]


class OrderedWorkers:
    """Threads that run jobs; those of one key run in the order in which they were submitted, one at a time.

    So sums, one key each, add up in the same order for any number of threads, and are the same to the last bit.
    n_threads = 1: jobs run inside `submit`. max_bytes: what waiting jobs may hold; `submit` waits while it is more.
    An exception in a job is raised by the next `submit` or `finish`; jobs that wait then are dropped.
    """

    def __init__(self, n_threads: int, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._queues: list[queue.SimpleQueue[tuple[Job, int] | None]] = []
        self._places: dict[str, int] = {}
        self._state = threading.Condition()
        self._waiting_bytes = 0
        self._n_waiting = 0
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        if n_threads > 1:
            self._queues = [queue.SimpleQueue() for _ in range(n_threads)]
            self._threads = [
                threading.Thread(target=self._work, args=(q,), daemon=True) for q in self._queues
            ]
            for thread in self._threads:
                thread.start()

    def submit(self, key: str, job: Job, n_bytes: int = 0) -> None:
        """Run `job` after all earlier jobs of `key`."""
        if not self._queues:
            job()
            return
        with self._state:
            self._state.wait_for(lambda: self._waiting_bytes < self._max_bytes or self._failure is not None)
            self._raise_failure()
            self._waiting_bytes += n_bytes
            self._n_waiting += 1
        place = self._places.setdefault(key, len(self._places) % len(self._queues))
        self._queues[place].put((job, n_bytes))

    def finish(self) -> None:
        """Wait until every job is done."""
        with self._state:
            self._state.wait_for(lambda: self._n_waiting == 0)
            self._raise_failure()

    def __enter__(self) -> OrderedWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with self._state:
                self._failure = self._failure or error  # so that waiting jobs are dropped
        for waiting in self._queues:
            waiting.put(None)
        for thread in self._threads:
            thread.join()
        if error is None:
            self._raise_failure()

    def _work(self, jobs: queue.SimpleQueue[tuple[Job, int] | None]) -> None:
        torch.set_num_threads(1)
        while (item := jobs.get()) is not None:
            job, n_bytes = item
            try:
                if self._failure is None:
                    job()
            except BaseException as exc:  # noqa: BLE001 - handed to the thread that waits
                self._failure = self._failure or exc
            finally:
                del job, item  # what the job holds is freed before the next one is waited for
                with self._state:
                    self._waiting_bytes -= n_bytes
                    self._n_waiting -= 1
                    self._state.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


@contextmanager
def ordered_workers(n_threads: int, max_bytes: int) -> Iterator[OrderedWorkers]:
    """Workers for the length of a `with`."""
    with OrderedWorkers(n_threads, max_bytes) as workers:
        yield workers
