"""Fewer cases of parametrized tests, in which every value of every parameter still occurs."""

from collections import Counter


def covering(items):
    """Of the collected cases at least one of each test, and in each file every value of every parameter; in order.

    Kinds and heads, which most tests of a file share, take turns; sizes that one test has for itself all stay.
    """
    files = {}
    for item in items:
        files.setdefault(item.path, {}).setdefault(item.originalname, []).append(item)
    chosen = {id(item) for tests in files.values() for item in _covering_file(tests.values())}
    return [item for item in items if id(item) in chosen]


def _covering_file(tests):
    used, chosen = Counter(), []
    for cases in tests:
        missing = {value for item in cases for value in _values(item)} - set(used)
        while True:
            # Values that few chosen cases hold come first, so that no value meets the same partner again and again.
            best = max(cases, key=lambda item: (len(missing & _values(item)), -sum(used[v] for v in _values(item))))
            chosen.append(best)
            missing -= _values(best)
            used.update(_values(best))
            if not missing:
                break
    return chosen


def _values(item):
    """(parameter, text of its value) of one case."""
    # Not `callspec.indices`, which counts the cases.
    return {(name, repr(value)) for name, value in item.callspec.params.items()} if hasattr(item, "callspec") else set()
