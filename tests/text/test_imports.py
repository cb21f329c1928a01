"""Tokenizers load their libraries on first use."""

import subprocess
import sys


def test_importing_the_tokenizers_loads_no_tokenizer_library_and_no_tensorflow():
    # The package's own `__init__` imports models; a bare package in its place shows the tokenizers alone.
    program = (
        "import importlib.util, sys, types\n"
        "package = types.ModuleType('tfmodels')\n"
        "package.__path__ = list(importlib.util.find_spec('tfmodels').submodule_search_locations)\n"
        "sys.modules['tfmodels'] = package\n"
        "import tfmodels.text.byte_level_bpe_tokenizer, tfmodels.text.t5_json_tokenizer\n"
        "heavy = ('tokenizers', 'sentencepiece', 'tensorflow', 'tensorflow_text', 'keras')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
