"""After the comparisons with transformers: a table of model, case and largest difference."""

import re

import pytest
import transformers
from transformers_peer import TABLE


@pytest.fixture(scope="package", autouse=True)
def _quiet():
    transformers.logging.set_verbosity_error()


def in_order(row):
    """By model, then by case with its numbers as numbers."""
    return row[0], [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", f" {row[1]}")]


def pytest_terminal_summary(terminalreporter):
    if not TABLE:
        return
    terminalreporter.section(f"largest differences from transformers {transformers.__version__}, float32")
    rows = {}
    for (model, case), difference in TABLE.items():
        name, _, output = case.partition(": ")
        rows.setdefault((model, name), []).append(f"{output} {difference:.0e}".strip())
    for model, case in sorted(rows, key=in_order):
        terminalreporter.write_line(f"{model:<32}{case:<36}{', '.join(rows[model, case])}")
    terminalreporter.write_line("gradients: relative to the largest entry of each weight's; all others absolute")
