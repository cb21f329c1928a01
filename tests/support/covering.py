"""Fewer cases of parametrized tests, in which every value of every parameter still occurs."""

from collections import Counter


def covering(items):
    """Of the collected cases of each test those that together hold every value of every parameter, in their order."""
    cases = {}
    for item in items:
        cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    chosen = {id(item) for group in cases.values() for item in _covering_group(group)}
    return [item for item in items if id(item) in chosen]


def _covering_group(group):
    missing = {value for item in group for value in _values(item)}
    used, chosen = Counter(), []
    while True:
        # Values that few chosen cases hold come first, so that no value meets the same partner again and again.
        best = max(group, key=lambda item: (len(missing & _values(item)), -sum(used[value] for value in _values(item))))
        if chosen and not missing & _values(best):
            return chosen
        chosen.append(best)
        missing -= _values(best)
        used.update(_values(best))


def _values(item):
    """(parameter, index of its value) of one case."""
    return set(item.callspec.indices.items()) if hasattr(item, "callspec") else set()
