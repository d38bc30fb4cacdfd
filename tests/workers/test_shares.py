"""Who does what: every part of every batch is made once, in an order that all agree on."""

from __future__ import annotations

import pytest

from curvcli.curvature.tasks import Cut, Segment
from curvcli.engine.workers.shares import Share, divided, sharing


@pytest.mark.parametrize("batches", [0, 1, 2, 3, 5, 8])
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_every_batch_has_somebody(workers: int, batches: int) -> None:
    shares = [Share(number, workers, batches) for number in range(workers)]
    for batch in range(batches):
        company = sharing(batch, workers, batches)
        assert [share.worker for share in shares if batch in share.numbers] == list(company)
        for rank, number in enumerate(company):
            assert (shares[number].rank, shares[number].company) == (rank, len(company))
    assert all(number < batches for share in shares for number in share.numbers)


@pytest.mark.parametrize("company", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 1, 4, 9])
def test_parts_cover_a_batch(company: int, start: int) -> None:
    """Whatever segments it has; those that sums depend on are cut as one process would."""
    cut = Cut((Segment(1, 1), Segment(5, 2), Segment(7, 100, entries=10)))
    parts = divided(cut, company, start)
    assert [place for begin, end in parts for place in range(begin, end)] == list(range(start, cut.count))
    if start == 0:
        assert parts[:4] == [(0, 1), (1, 3), (3, 5), (5, 6)]
        assert len(parts) == 4 + company


def test_nothing_is_one_empty_part() -> None:
    assert divided(Cut.even(0), 2, 0) == [(0, 0)]
