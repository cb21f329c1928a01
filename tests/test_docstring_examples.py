"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil

import accelerators
import export
import tfmodels
import training

MODULES = sorted(
    module.name
    for package in (tfmodels, training, export, accelerators)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")
)


def test_every_example_prints_what_it_says():
    failed = [name for name in MODULES if doctest.testmod(importlib.import_module(name)).failed]
    assert not failed
