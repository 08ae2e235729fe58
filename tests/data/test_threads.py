"""Work done ahead by threads."""

import threading
import time

import pytest

from data.threads import ordered_map


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_results_come_in_the_order_of_the_items(workers):
    def slow(i):
        time.sleep(0.002 * (i % 3))
        return i * i

    assert list(ordered_map(slow, range(40), workers)) == [i * i for i in range(40)]
    assert list(ordered_map(slow, [], workers)) == []


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_an_error_comes_in_its_turn_and_leaves_no_thread(workers):
    def fails(i):
        if i == 5:
            raise ValueError("item 5")
        return i

    before, found = threading.active_count(), []
    with pytest.raises(ValueError, match="item 5"):
        for result in ordered_map(fails, range(100), workers):
            found.append(result)
    assert found == [0, 1, 2, 3, 4] and threading.active_count() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_no_more_than_a_few_items_are_taken_ahead(workers):
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = ordered_map(lambda i: i, items(), workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(taken) <= 3 + 4 * workers
    results.close()
    assert len(taken) <= 3 + 4 * workers


def test_who_leaves_early_does_not_wait_and_the_threads_end():
    """The garbage collector may be the one that leaves, in a thread that is just being started."""
    before, working = threading.active_count(), threading.Event()
    results = ordered_map(lambda i: working.wait(30) if i else i, range(10), 2)
    assert next(results) == 0
    started = time.perf_counter()
    results.close()
    assert time.perf_counter() - started < 10
    working.set()
    while threading.active_count() > before and time.perf_counter() - started < 20:
        time.sleep(0.01)
    assert threading.active_count() == before
