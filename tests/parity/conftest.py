"""After the comparisons with transformers: a table of model, case and largest difference."""

import re

import pytest
import transformers
from transformers_peer import TABLE, make_pair

VARIANTS = {
    "led, two windows": ("led", {}),
    "led, one window, relu": ("led", {"attention_window": 12, "activation_function": "relu"}),
    "led, untied, silu": ("led", {"tie_word_embeddings": False, "activation_function": "silu"}),
    "longt5-local": ("longt5-local", {}),
    "longt5-local, untied, gated": (
        "longt5-local",
        {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu", "num_decoder_layers": 1},
    ),
    "longt5-tglobal": ("longt5-tglobal", {}),
    "longt5-tglobal, untied, gated": (
        "longt5-tglobal",
        {"tie_word_embeddings": False, "feed_forward_proj": "gated-gelu", "global_block_size": 8},
    ),
}


@pytest.fixture(scope="package", autouse=True)
def _quiet():
    transformers.logging.set_verbosity_error()


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request, tmp_path_factory):
    kind, changes = VARIANTS[request.param]
    return request.param, kind, *make_pair(kind, tmp_path_factory.mktemp("pair"), **changes)


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
