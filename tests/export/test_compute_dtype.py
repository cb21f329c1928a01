"""An export that computes in 16 bits answers as the model in 16 bits does, holds half, and leaves the model alone."""

import numpy as np
import pytest
from exported import CLASSIFIER, exported
from routines import as_numpy
from tiny import make_model, one_layer

from export import export_saved_model
from export.client.manifest_file import read_manifest
from export.client.saved_model_client import SavedModel
from export.compute_dtype import computing_in
from export.stored_weights import StoredWeights

TEXTS = ["def area(width, height): return width * height", "class Stack: pass"]


def test_a_copy_has_the_weights_in_16_bits_and_the_settings_of_the_model():
    model = make_model("longt5-local", **one_layer("longt5-local"))
    copy = computing_in(model, "bfloat16")
    assert copy.generation_config == model.generation_config
    for one, dtype in ((copy, "bfloat16"), (model, "float32")):
        matrices = [variable for variable in one.variables if variable.path.endswith(("kernel", "shared/embeddings"))]
        assert len(matrices) > 5
        assert {variable.dtype for variable in matrices} == {dtype}
    for mine, theirs in zip(copy.variables, model.variables, strict=True):
        np.testing.assert_allclose(as_numpy(mine.value).astype("float32"), as_numpy(theirs.value), rtol=2**-8)
    assert computing_in(model, None) is model
    with pytest.raises(ValueError, match="compute_dtype must be one of .* Received: compute_dtype='float16'"):
        computing_in(model, "float16")


def test_an_export_of_int8_weights_answers_as_the_model_with_them_in_16_bits(tmp_path):
    served = exported("led", CLASSIFIER)
    before = as_numpy(served.model(served.tokenizer(TEXTS, max_length=64))["logits"])
    copy = computing_in(served.model, "bfloat16")
    stored = StoredWeights(copy, "int8")
    with stored.read():
        assert {variable.value.dtype.name for variable in copy.trainable_variables} == {"bfloat16"}
        logits = as_numpy(copy(served.tokenizer(TEXTS, max_length=64))["logits"]).astype("float32")
    assert stored.bytes < 0.35 * StoredWeights(served.model).bytes
    # Stored as it is computed in: nothing to cast.
    assert not StoredWeights(copy, "bfloat16").small
    settings = {"lengths": (64,), "signatures": ("serving_default",), "warm_up": False, "compute_dtype": "bfloat16"}
    export_saved_model(served.model, served.tokenizer, tmp_path / "1", weights_dtype="int8", **settings)
    answer = SavedModel(tmp_path / "1")(text=TEXTS)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(answer["probabilities"], exponents / exponents.sum(axis=1, keepdims=True), atol=0.01)
    manifest = read_manifest(tmp_path / "1")
    weights = {"dtype": "int8", "bytes": stored.bytes, "compute_dtype": "bfloat16"}
    assert manifest["weights"] == weights
    assert manifest["minimum_server_version"] > "2.18"
    # The model itself is as it was.
    np.testing.assert_array_equal(as_numpy(served.model(served.tokenizer(TEXTS, max_length=64))["logits"]), before)
