from __future__ import annotations

import threading
import time

import pytest

from tersor.calibrate.workers import OrderedWorkers


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_jobs_of_a_key_run_in_order(n_threads: int) -> None:
    seen: dict[str, list[int]] = {name: [] for name in "abc"}
    with OrderedWorkers(n_threads, 1000) as workers:
        for number in range(60):
            key = "abc"[number % 3]

            def job(key: str = key, number: int = number) -> None:
                time.sleep(0.001 * (number % 2))
                seen[key].append(number)

            workers.submit(key, job, 10)
        workers.finish()
        assert seen == {name: list(range(start, 60, 3)) for start, name in enumerate("abc")}


@pytest.mark.parametrize("n_threads", [1, 3])
def test_failure_reaches_the_caller_and_drops_what_waits(n_threads: int) -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("the sum is broken")

    def run() -> None:
        with OrderedWorkers(n_threads, 10) as workers:
            workers.submit("a", fail)
            workers.submit("a", lambda: done.append(1))
            workers.finish()

    before = threading.active_count()
    with pytest.raises(ValueError, match="the sum is broken"):
        run()
    assert not done
    assert threading.active_count() == before


def test_submit_waits_while_too_much_is_queued() -> None:
    release, entered = threading.Event(), threading.Event()
    with OrderedWorkers(2, 100) as workers:
        workers.submit("a", release.wait, 100)

        def submit_more() -> None:
            workers.submit("b", lambda: None, 1)
            entered.set()

        thread = threading.Thread(target=submit_more)
        thread.start()
        assert not entered.wait(0.05)
        release.set()
        assert entered.wait(5)
        thread.join()


def test_exception_of_the_caller_ends_the_threads() -> None:
    def run() -> None:
        with OrderedWorkers(4, 100) as workers:
            workers.submit("a", lambda: None)
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert threading.active_count() == before
