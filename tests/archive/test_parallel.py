from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from tersor.archive.parallel import in_order


def slow(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    return number


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(threads: int) -> None:
    assert list(in_order((partial(slow, number) for number in range(40)), threads)) == list(range(40))


def test_few_jobs_are_in_memory_at_a_time() -> None:
    taken = 0

    def jobs():
        nonlocal taken
        for number in range(100):
            taken += 1
            yield partial(slow, number)

    for done, _ in enumerate(in_order(jobs(), 2), 1):
        assert taken - done <= 4


@pytest.mark.parametrize("threads", [1, 3])
def test_error_of_a_job_is_raised_in_its_place(threads: int) -> None:
    def job(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    results = in_order((partial(job, number) for number in range(20)), threads)
    found = []
    with pytest.raises(ValueError, match="five"):
        found.extend(results)
    assert found == list(range(5))


def test_abandoned_results_leave_no_thread_behind() -> None:
    before = threading.active_count()
    results = in_order((partial(slow, number) for number in range(50)), 3)
    next(results)
    results.close()
    assert threading.active_count() == before
