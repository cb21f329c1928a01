"""transformers' search runs on our graphs in optimum, token for token as the model's own; eight seconds a model."""

import numpy as np
import pytest
from routines import randomise
from tiny import make_inputs, make_model, one_layer

from export import export_onnx

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
optimum = pytest.importorskip("optimum.onnxruntime", reason="optimum is not installed")

ALL = ("encode", "decode", "decode_with_past", "decode_merged")
# Heads whose sizes do not add up to the model's, of which optimum's guess of a head's size is wrong.
ODD_HEADS = {"longt5-tglobal": {"d_kv": 12}}


@pytest.mark.thorough
@pytest.mark.filterwarnings("default")  # optimum's own
@pytest.mark.parametrize("kind", ["led", "longt5-tglobal"])
def test_optimum_writes_what_the_model_writes(kind, tmp_path):
    import torch

    model = make_model(kind, **{**one_layer(kind), **ODD_HEADS.get(kind, {})})
    randomise(model)
    inputs = make_inputs(kind, 29, lengths=(29, 20, 9))
    has_global = "global_attention_mask" in inputs
    if has_global:
        inputs["global_attention_mask"] = (np.arange(29) == 0).astype("int32") * np.ones((3, 1), "int32")
    export_onnx(model, tmp_path / "onnx", graphs=ALL, lengths=[9], first_is_global=has_global)
    known = {name: torch.tensor(inputs[name], dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    for settings in ({}, {"use_merged": False}):
        running = optimum.ORTModelForSeq2SeqLM.from_pretrained(tmp_path / "onnx", **settings)
        assert running.decoder.is_merged is (settings == {})
        for beams in (1, 3):
            search = {"max_new_tokens": 8, "num_beams": beams, "do_sample": False}
            np.testing.assert_array_equal(
                running.generate(**known, **search), np.asarray(model.generate(**inputs, **search))
            )
