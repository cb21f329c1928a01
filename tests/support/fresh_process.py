"""One process with neither keras nor tfmodels, as on a server, that answers all questions of the tests.

    answer = fresh_process().ask(folder, text=["a document"])
    done = fresh_process().run("check", folder)

Each question is a line of JSON to the process, and each answer one from it. To start it and to import TensorFlow takes
five seconds, once.
"""

import atexit
import contextlib
import functools
import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace


class FreshProcess:
    """A running process; `fresh_process()` gives the one of all tests."""

    def __init__(self):
        command = [sys.executable, str(Path(__file__).resolve())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        atexit.register(self._process.kill)

    def ask(self, folder, **inputs):
        """The answers of a SavedModel's `serving_default`, as lists by output."""
        return self._answer({"folder": str(folder), "inputs": {name: list(x) for name, x in inputs.items()}})

    def run(self, *arguments, stdin=""):
        """What `python -m export` does: `returncode`, `stdout` and `stderr`."""
        return SimpleNamespace(**self._answer({"arguments": [*map(str, arguments)], "stdin": stdin}))

    def _answer(self, request):
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["answer"]


@functools.cache
def fresh_process():
    return FreshProcess()


@functools.cache
def _loaded(folder):
    from export.client.saved_model_client import SavedModel

    return SavedModel(folder)


def _answer_to(request):
    from export.__main__ import main

    if "folder" in request:
        answer = _loaded(request["folder"])(**request["inputs"])
        return {name: values.tolist() for name, values in answer.items()}
    sys.stdin = io.TextIOWrapper(io.BytesIO(request["stdin"].encode()))
    printed, messages = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(messages):
        status = main(request["arguments"])
    return {"returncode": status, "stdout": printed.getvalue(), "stderr": messages.getvalue()}


def _serve():
    from export.client.saved_model_client import import_server_libraries

    requests, answers = sys.stdin, sys.stdout
    import_server_libraries()
    for line in requests:
        try:
            answer = {"answer": _answer_to(json.loads(line))}
        except Exception as error:
            answer = {"error": repr(error)}
        for name in ("keras", "tfmodels"):
            if sys.modules[name] is not None:
                answer = {"error": f"the process imported {name}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    _serve()
