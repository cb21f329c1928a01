"""The memory of a device falls with the number of devices that share a document."""

from benchmarks.processes import run_module


def test_four_devices_hold_a_third_and_less_each():
    found = run_module("benchmarks.sharded", ["led", "encode", "tiny", "2048", "1", "4"])
    assert found["4"] < found["1"] / 3
