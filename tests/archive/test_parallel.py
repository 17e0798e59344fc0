from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from tersor.archive.parallel import in_order, together


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


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_together_shares_out_each_work(threads: int) -> None:
    numbers = {work: list(range(100)) for work in "abc"}
    done: list[tuple[str, int]] = []
    callers: set[int] = set()

    def work(name: str) -> None:
        callers.add(threading.get_ident())
        while numbers[name]:
            done.append((name, numbers[name].pop()))
            time.sleep(0.0002)

    together((partial(work, name) for name in "abc"), threads)
    assert sorted(done) == [(name, number) for name in "abc" for number in range(100)]
    assert threading.get_ident() in callers
    assert len(callers) <= threads


def test_together_begins_with_the_works_that_are_known() -> None:
    begun = threading.Event()

    def works():
        yield begun.set
        assert begun.wait(10)  # another thread has begun before the second work is drawn
        yield lambda: None

    together(works(), 2)


def test_together_raises_what_any_thread_raises_when_all_have_ended() -> None:
    turn = threading.Barrier(2)
    ended: list[int] = []

    def work() -> None:
        if turn.wait() == 0:
            raise ValueError("one of them")
        time.sleep(0.02)
        ended.append(1)

    with pytest.raises(ValueError, match="one of them"):
        together([work], 2)
    assert ended == [1]


def test_together_raises_when_a_work_cannot_be_drawn() -> None:
    done: list[int] = []

    def works():
        yield partial(done.append, 1)
        raise ValueError("no second work")

    with pytest.raises(ValueError, match="no second work"):
        together(works(), 3)
    assert len(done) <= 2
