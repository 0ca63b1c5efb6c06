"""The search for the fewest layers in float: what it finds, and how often it has to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from ortolan.recover import EVALUATIONS, affordable, sets

LAYERS = [f"layer{index}" for index in range(60)]


def searched(ranked: Sequence[str], passes: Callable[[set[str]], bool]) -> tuple[list[str], int]:
    """The last set that passed, and how many were tried."""
    steps, asked, best = sets(ranked), 0, list[str]()
    wanted = next(steps, None)
    while wanted is not None:
        asked += 1
        good = passes(set(wanted))
        assert not good or not best or len(wanted) < len(best), "each that passes is smaller than the last"
        best = list(wanted) if good else best
        try:
            wanted = steps.send(good)
        except StopIteration:
            break
    return best, asked


@given(st.integers(0, 59))
def test_one_sabotaged_layer_is_found_wherever_it_ranks(place: int) -> None:
    best, asked = searched(LAYERS, lambda left: LAYERS[place] in left)
    assert best == [LAYERS[place]]
    assert asked <= 14 + place.bit_length(), "doublings, halvings, and one question for all the others"


@given(st.integers(1, 60))
def test_sixty_layers_need_at_most_fifteen_evaluations_to_the_shortest_beginning(needed: int) -> None:
    """The first, with all layers quantised, included: what comes after it only makes the set smaller."""
    steps, asked, best = sets(LAYERS), 1, 0
    wanted = next(steps)
    while not best or best > needed:
        asked += 1
        good = len(wanted) >= needed
        best = len(wanted) if good else best
        if best != needed:
            wanted = steps.send(good)
    assert asked <= EVALUATIONS


def test_the_first_of_the_ranking_takes_one() -> None:
    assert searched(LAYERS, lambda left: "layer0" in left) == (["layer0"], 1)


@given(st.sets(st.sampled_from(LAYERS[:8]), min_size=1))
def test_what_is_not_needed_goes_back_to_integers(needed: set[str]) -> None:
    best, _ = searched(LAYERS[:8], lambda left: needed <= left)
    assert set(best) == needed


@given(st.integers(0, 20))
def test_where_nothing_helps_there_is_nothing(count: int) -> None:
    best, asked = searched(LAYERS[:count], lambda _: False)
    assert not best
    assert asked <= 6


def test_as_many_layers_as_the_targets_share_allows() -> None:
    assert affordable([0.2, 0.2, 0.2, 0.4], 0.5) == 2
    assert affordable([0.6, 0.4], 0.5) == 0
    assert affordable([0.25, 0.25], 0.5) == 2
    assert affordable([], 0.5) == 0
