"""Queries of a shard, with the keys on either side of it, attend as they do in the whole document: bit for bit."""

import numpy as np
import pytest
from backends import direct
from keras import ops
from routines import as_numpy, assert_close, gradients_of

from tfmodels.backend import devices
from tfmodels.layers.attention.block_attention import SideKeys, block_attention
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.dropout import HashDropout

BATCH, HEADS, SIZE, SIDE, SHARED, SHARDS = 2, 2, 4, 3, 2, 3
GEOMETRY = WindowGeometry.covering(3, multiple_of=2)
LENGTH = 3 * GEOMETRY.block_length  # of a shard


def make_tensors():
    generator = np.random.default_rng(0)
    shapes = dict.fromkeys(("query", "key", "value"), (BATCH, HEADS, SHARDS * LENGTH, SIZE))
    shapes |= dict.fromkeys(("side_key", "side_value"), (BATCH, HEADS, SIDE, SIZE))
    shapes["window_bias"] = (HEADS, GEOMETRY.block_length, GEOMETRY.slice_length)
    shapes["side_bias"] = (BATCH, HEADS, SHARDS * LENGTH // SHARED, SIDE)
    made = {name: 1.5 * generator.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    return made, generator.random((BATCH, SHARDS * LENGTH)) > 0.2


def attend(tensors, mask, dropout, bias_rows=slice(None), **arguments):
    bias = tensors["side_bias"][:, :, bias_rows]
    side = SideKeys(tensors["side_key"], tensors["side_value"], np.ones((BATCH, SIDE), bool), bias, SHARED)
    return block_attention(
        *(tensors[name] for name in ("query", "key", "value")),
        mask,
        GEOMETRY,
        window_bias=tensors["window_bias"],
        side=side,
        dropout=dropout,
        **arguments,
    )


def in_shards(tensors, mask, dropout):
    """The whole document, one shard after another."""
    margin, outputs = GEOMETRY.margin, []
    ends = [(0, 0), (0, 0), (margin, margin), (0, 0)]
    padded = {name: ops.pad(tensors[name], ends) for name in ("key", "value")}
    padded_mask = np.pad(mask, ends[1:3])
    for shard in range(SHARDS):
        start, stop = shard * LENGTH, (shard + 1) * LENGTH
        part = {name: x[:, :, start : stop + 2 * margin] for name, x in padded.items()}
        part = {**tensors, **part, "query": tensors["query"][:, :, start:stop]}
        rows = slice(start // SHARED, stop // SHARED)
        place = ops.convert_to_tensor(np.int32(shard))
        outputs.append(attend(part, padded_mask[:, start : stop + 2 * margin], dropout, rows, shard=place))
    return ops.concatenate(outputs, axis=2)


@pytest.mark.parametrize(
    ("rate", "device_kind"),
    [(0.0, "cpu"), (0.4, "cpu"), (0.0, "tpu"), (0.4, "tpu"), (0.0, "tpu, a head at a time")],
)
def test_shards_attend_as_the_whole_document(rate, device_kind, monkeypatch):
    tensors, mask = make_tensors()
    # Steps of two blocks where the kind allows them.
    monkeypatch.setitem(devices._QUERIES_PER_STEP, "tpu", 2 * GEOMETRY.block_length)
    kind, _, few_heads = device_kind.partition(", ")
    if few_heads:
        monkeypatch.setitem(devices._SCORE_BYTES, kind, 1)
    with devices.compiling_for(kind):
        check_shards(tensors, mask, rate)


def check_shards(tensors, mask, rate):
    dropout = HashDropout(rate, ops.array([3, 7], "uint32")) if rate else None
    whole = as_numpy(direct(lambda given: attend(given, mask, dropout), tensors))
    assert (as_numpy(direct(lambda given: in_shards(given, mask, dropout), tensors)) == whole).all()
    wanted = gradients_of(lambda given: ops.sum(attend(given, mask, dropout) ** 2), tensors)
    found = gradients_of(lambda given: ops.sum(in_shards(given, mask, dropout) ** 2), tensors)
    for name, gradient in wanted.items():
        assert_close(found[name], gradient, 1e-5 * max(1.0, np.abs(gradient).max()))


def test_a_shard_without_its_margins_is_an_error():
    tensors, mask = make_tensors()
    with pytest.raises(ValueError, match=r"key must have the 36 keys of a shard between 4 on either side.*36 keys"):
        attend(tensors, mask, None, shard=ops.convert_to_tensor(np.int32(0)))
