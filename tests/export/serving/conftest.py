"""One server of a tiny summariser for all tests here."""

import pytest
from exported import exported, serving


@pytest.fixture(scope="session")
def led():
    return exported("led")


@pytest.fixture(scope="session")
def led_server(led):
    with serving(led.folder) as running:
        yield running
