"""Load exports with TensorFlow and tensorflow-text alone, and hold them to recorded answers.

    PYTHON runtime.py FOLDER

FOLDER has exports, each with the requests and answers of `record.py` beside it. Runs with any TensorFlow that has
tensorflow-text, without keras and tfmodels; prints a line of JSON for each export.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  # the tokenizers' ops

# Other releases add in another order.
TOLERANCE = 1e-4


def tensor(described):
    """The array of a described tensor; texts are bytes, as Latin-1."""
    values = np.array(described["values"], dtype=object if described["dtype"] == "string" else described["dtype"])
    if described["dtype"] == "string":
        values = np.vectorize(lambda text: text.encode("latin-1"), otypes=[object])(values)
    return values.reshape(described["shape"])


def compared(found, wanted, name):
    """The largest difference of numbers, and what is wrong, if anything."""
    if found.shape != wanted.shape:
        return 0.0, [f"{name} has the shape {found.shape}, not {wanted.shape}"]
    if wanted.dtype.kind != "f":
        return 0.0, [] if np.array_equal(found, wanted) else [f"{name} differs"]
    largest = float(np.abs(found - wanted).max(initial=0.0))
    return largest, [] if largest <= TOLERANCE else [f"{name} differs by {largest:.1e}"]


def checked(folder):
    """What one export answers, beside what was recorded."""
    loaded = tf.saved_model.load(str(folder / "1"))
    largest, wrong, count = 0.0, [], 0
    for request in json.loads((folder / "requests.json").read_text(encoding="utf-8")):
        inputs = {name: tf.constant(tensor(value)) for name, value in request["inputs"].items()}
        answer = loaded.signatures[request["signature"]](**inputs)
        if set(answer) != set(request["answer"]):
            wrong.append(f"{request['signature']} gives {sorted(answer)}")
            continue
        count += 1
        for name, described in request["answer"].items():
            by, problems = compared(answer[name].numpy(), tensor(described), f"{request['signature']}.{name}")
            largest, wrong = max(largest, by), wrong + problems
    return {"requests": count, "largest": largest, "wrong": wrong}


def main():
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        try:
            found = checked(folder)
        except Exception as error:  # whatever a runtime raises is what is looked for
            found = {"requests": 0, "largest": 0.0, "wrong": [f"{type(error).__name__}: {str(error).splitlines()[0]}"]}
        print(json.dumps({"export": folder.name, "tensorflow": tf.__version__, **found}), flush=True)


if __name__ == "__main__":
    main()
