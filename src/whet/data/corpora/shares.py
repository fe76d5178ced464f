"""How many rows of each source a mix holds: proportional to its size up to a cap, flattened by a temperature, or as told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from whet.errors import DataError, Problem


def parse_shares(texts: Sequence[str]) -> dict[str, float]:
    """The shares in texts such as `alpaca=0.4`.

    Raises:
        DataError: one is of another form.
    """
    shares = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            shares[name] = float(number)
        except ValueError:
            raise DataError(
                Problem(f"--share {text}", "it is no name and number", "Write it as in --share alpaca=0.4")
            ) from None
    return shares


@dataclass(frozen=True, slots=True)
class Mixing:
    """How sources are mixed.

    `cap`: a source counts as no larger than this. `temperature`: sizes to the power of 1/temperature; 1 is proportional, large
    is equal. `shares`: the share of each source, instead of both. `rows`: how many in all; None: as many as there can be
    without a row twice. `seed`: of what is drawn, and of the order.
    """

    cap: int | None = None
    temperature: float = 1.0
    shares: Mapping[str, float] = field(default_factory=dict)
    rows: int | None = None
    seed: int = 7

    def describe(self) -> str:
        """How sources are mixed, as the end of a sentence.

        Example:
            >>> Mixing(cap=3000, temperature=2).describe()
            'in proportion to sizes to the power of 1/2, of at most 3,000, with the seed 7'
        """
        if self.shares:
            how = f"in fixed shares ({', '.join(f'{name} {share:g}' for name, share in self.shares.items())})"
        else:
            power = "" if self.temperature == 1 else f" to the power of 1/{self.temperature:g}"
            how = f"in proportion to sizes{power}" + (f", of at most {self.cap:,}" if self.cap else "")
        return f"{how}, with the seed {self.seed}"


def rows_of_each(sizes: Mapping[str, int], mixing: Mixing) -> dict[str, int]:
    """How many rows of each source are drawn, their sum exact.

    Args:
        sizes: how many examples each source has.
        mixing: what is asked for.

    Raises:
        DataError: a source has no examples, or fewer than its share; or shares and sources are not the same.
    Source: examples-proportional mixing with an artificial limit, and temperature: Raffel et al. 2020 (T5), section 3.5.2.

    Example:
        >>> rows_of_each({"a": 9000, "b": 100}, Mixing(cap=3000))
        {'a': 3000, 'b': 100}
        >>> rows_of_each({"a": 9000, "b": 1000}, Mixing(temperature=2, rows=400))
        {'a': 300, 'b': 100}
        >>> rows_of_each({"a": 9000, "b": 100}, Mixing(shares={"a": 0.5, "b": 0.5}))
        {'a': 100, 'b': 100}
    """
    _check(sizes, mixing)
    capped = {name: min(size, mixing.cap or size) for name, size in sizes.items()}
    weights = mixing.shares or {name: size ** (1 / mixing.temperature) for name, size in capped.items()}
    total = sum(weights.values())
    shares = {name: weights[name] / total for name in sizes}
    wanted = _most(capped, shares) if mixing.rows is None else mixing.rows
    drawn = _rounded(shares, wanted)
    if too_few := [name for name, rows in drawn.items() if rows > sizes[name]]:
        do = f"Ask for {_most(sizes, shares):,} rows at most: no row is repeated, epochs do that"
        raise DataError(
            *(Problem(name, f"its share is {drawn[name]:,} rows, and it has {sizes[name]:,} examples", do) for name in too_few)
        )
    return drawn


def _check(sizes: Mapping[str, int], mixing: Mixing) -> None:
    """Raises one DataError with all that cannot be done."""
    problems = [Problem(name, "it has no examples", "Leave it out") for name, size in sizes.items() if not size]
    if mixing.shares:
        where, known = "--share", ", ".join(sizes)
        problems += [
            Problem(where, f"there is no source {name}", f"They are {known}") for name in mixing.shares if name not in sizes
        ]
        problems += [
            Problem(where, f"{name} has none", "Give each source its share") for name in sizes if name not in mixing.shares
        ]
        if not all(0 < share < math.inf for share in mixing.shares.values()):
            problems.append(Problem(where, "a share is not above 0", "Leave a source out that should have none"))
        if mixing.cap or mixing.temperature != 1.0:
            problems.append(Problem(where, "cap and temperature make shares, and here they are given", "Give one or the other"))
    if not 0 < mixing.temperature < math.inf or (mixing.cap or 1) < 1 or (mixing.rows or 1) < 1:
        problems.append(Problem("mix", "cap, rows and temperature are above 0", "Give another number"))
    if problems:
        raise DataError(*problems)


def _most(limits: Mapping[str, int], shares: Mapping[str, float]) -> int:
    """How many rows there can be in these shares with no more of each than its limit."""
    return max(1, math.floor(min(limits[name] / share for name, share in shares.items()) + 1e-6))


def _rounded(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers in these shares that sum to `total`: the largest remainders are rounded up."""
    exact = {name: share * total for name, share in shares.items()}
    floors = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    by_remainder = sorted(shares, key=lambda name: floors[name] - exact[name])
    for name in by_remainder[: total - sum(floors.values())]:
        floors[name] += 1
    return floors
