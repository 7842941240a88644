"""Computes with sets of offsets as sorted lists of ranges `(first, next)`, next excluded, apart from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Range = tuple[int, int]
Ranges = list[Range]


def merge(ranges: Iterable[Range]) -> Ranges:
    """Return the union of ranges in any order, overlapping and empty ones included."""
    merged: Ranges = []
    for first, end in sorted(ranges):
        if end <= first:
            continue
        if merged and first <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((first, end))
    return merged


def intersect(left: Ranges, right: Ranges) -> Ranges:
    """Return what is in both sets."""
    found: Ranges = []
    i = j = 0
    while i < len(left) and j < len(right):
        first, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first < end:
            found.append((first, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return found


def subtract(left: Ranges, right: Ranges) -> Ranges:
    """Return what is in the left set only."""
    found: Ranges = []
    j = 0
    for first, end in left:
        at = first
        while j < len(right) and right[j][1] <= at:
            j += 1
        k = j
        while k < len(right) and right[k][0] < end:
            if at < right[k][0]:
                found.append((at, right[k][0]))
            at = right[k][1]
            k += 1
        if at < end:
            found.append((at, end))
    return found


def size(ranges: Ranges) -> int:
    """Count the offsets."""
    return sum(end - first for first, end in ranges)
