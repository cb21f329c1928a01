"""A process that tokenizes: `python -m training.data.worker`, fed by `workers.py` through pipes.

It imports neither Keras nor TensorFlow, which take seconds and hundreds of megabytes. So nothing is imported at this
file's head that would import `tfmodels` as usual. It is started by its own name and not by `multiprocessing`, which
would run the user's script once more in every process.
"""

import importlib.util
import os
import pickle
import signal
import sys
import traceback
from typing import Any


def leave_out_keras() -> None:
    """Enter `tfmodels` as a package whose head is not run: it imports Keras, to announce classes to it."""
    if "tfmodels" not in sys.modules:
        spec = importlib.util.find_spec("tfmodels")
        assert spec is not None
        sys.modules["tfmodels"] = importlib.util.module_from_spec(spec)


def main() -> None:
    """Answer each chunk of rows on the standard input with its columns, until the input ends."""
    # The main process ends this one; a signal to the whole group must not, or a stop would look like a crash.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # When the main process was killed, the next answer ends this one without a word.
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints must not stand among the answers.
    os.dup2(2, 1)
    leave_out_keras()
    try:
        from training.data.plain_tokenizer import tokenizer_from_recipe
        from training.data.workers import encode_chunk

        recipe, task = pickle.load(requests)
        tokenizer = tokenizer_from_recipe(recipe)
    except Exception:
        _answer(answers, ("error", traceback.format_exc()))
        return
    while True:
        try:
            chunk = pickle.load(requests)
        except EOFError:
            return
        if chunk is None:
            _answer(answers, ("modules", sorted(sys.modules)))
            continue
        try:
            answer: tuple[str, Any] = ("columns", encode_chunk(task, chunk, tokenizer))
        except Exception:
            answer = ("error", traceback.format_exc())
        del chunk
        _answer(answers, answer)


def _answer(stream: Any, answer: Any) -> None:
    pickle.dump(answer, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


if __name__ == "__main__":
    main()
