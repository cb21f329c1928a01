"""One server of a tiny summariser and one of a toy with every head's signatures, for all tests here."""

import pytest
from certificates import write_certificates
from exported import exported, serving, toy


@pytest.fixture(scope="session")
def led():
    return exported("led")


@pytest.fixture(scope="session")
def led_server(led):
    with serving(led.folder) as running:
        yield running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """The files of certificates.py."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def toy_server(certificates):
    """The toy, plain and behind TLS."""
    with serving(toy(), certificates.folder) as running:
        yield running
