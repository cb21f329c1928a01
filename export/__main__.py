"""`python -m export`: write a SavedModel from a fine-tuned folder, ask it, check it, sign it, run many through it.

python -m export --model out/model --output served/summaries --lengths 512,2048
python -m export ask served/summaries "text"
python -m export ask --server localhost:8500 --name summaries "text"
python -m export check served/summaries
python -m export sign served/summaries --private-key key.pem
python -m export verify served/summaries --public-key key.pub
python -m export bulk served/summaries --input documents.jsonl --output summaries.jsonl
python -m export onnx --model out/model --output out/onnx
python -m export pack served/summaries --output model.tar.gz
"""

import importlib
import sys

from export.client.untrusted import printable

_OF_CLIENTS = ("ask", "check", "bulk", "pack", "sign", "verify")
_LAYOUT = "\n\t"
_MODULES = {
    "write": "export.write",
    "onnx": "export.write_onnx",
    **{name: f"export.client.{name}" for name in _OF_CLIENTS},
}


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Each command by itself: `ask` and `check` must run without keras and tfmodels.
    command, rest = (
        (arguments[0], arguments[1:]) if arguments[:1] and arguments[0] in _MODULES else ("write", arguments)
    )
    try:
        return importlib.import_module(_MODULES[command]).main(rest)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        # Servers, files and their names have a say in it.
        print(f"error: {printable(str(error), kept=_LAYOUT)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
