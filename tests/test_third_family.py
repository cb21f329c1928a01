"""A further family comes in through the doors that LED and LongT5 use: a folder, and one line of the registry.

The family here is a toy in a temporary folder: blocks with dense attention, one head, a byte-level tokenizer.
"""

import importlib
import json
import sys
import textwrap

import keras
import numpy as np
import pytest

from tfmodels import auto

FILES = {
    "config.py": '''
        """Configuration of the toy."""

        import dataclasses
        from collections.abc import Mapping
        from typing import Any, ClassVar

        from tfmodels.modeling.config import ModelConfig
        from tfmodels.modeling.config_keys import resolved
        from tfmodels.utils.checks import check_divides, check_positive


        @dataclasses.dataclass(frozen=True, kw_only=True)
        class ToyConfig(ModelConfig):
            """Sizes of the toy."""

            model_type: ClassVar[str] = "toy"
            aliases: ClassVar[Mapping[str, str]] = {}

            vocab_size: int = 300
            d_model: int = 16
            layers: int = 1
            heads: int = 2
            tie_word_embeddings: bool = True
            classifier_dropout: float = 0.0
            max_global_tokens: int = 0
            pad_token_id: int = 1
            eos_token_id: int = 2
            decoder_start_token_id: int = 2

            def __post_init__(self) -> None:
                super().__post_init__()
                for name in ("vocab_size", "d_model", "layers", "heads"):
                    check_positive(name, getattr(self, name))
                check_divides("heads", self.heads, "d_model", self.d_model)

            @classmethod
            def resolved_keys(cls, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
                return resolved(values, cls.aliases)

            def min_parameters(self, with_decoder: bool) -> int:
                return self.vocab_size * self.d_model

            @property
            def encoder_sizes(self) -> tuple[int, int]:
                return self.layers, self.heads
    ''',
    "modules.py": '''
        """The toy's small layers."""

        import keras

        from tfmodels.layers.attention.cached_attention import CachedAttention
        from tfmodels.layers.feed_forward import FeedForward


        def token_embedding(config, policy, name):
            embedding = keras.layers.ReversibleEmbedding(config.vocab_size, config.d_model, dtype=policy, name=name)
            embedding.build((None, None))
            return embedding


        def attention(config, policy, name):
            return CachedAttention(config.heads, config.d_model // config.heads, dtype=policy, name=name)


        def feed_forward(config, policy):
            return FeedForward(2 * config.d_model, "relu", dtype=policy, name="feed_forward")


        def norm(policy, name):
            return keras.layers.LayerNormalization(dtype=policy, name=name)
    ''',
    "encoder.py": '''
        """The toy's encoder."""

        import keras
        from keras import ops

        from tfmodels.modeling.encoder import Encoder, EncoderBlock, EncoderContext
        from tfmodels.modeling.inputs import ENCODER_OPTIONS
        from tfmodels.toy.config import ToyConfig
        from tfmodels.toy.modules import attention, feed_forward, norm, token_embedding
        from tfmodels.toy.weights import weight_map

        ENCODER_INPUTS = ("input_ids", "attention_mask")


        class ToyEncoderBlock(EncoderBlock):
            def __init__(self, config, **kwargs):
                super().__init__(**kwargs)
                self.self_attention = attention(config, self.dtype_policy, "self_attention")
                self.self_attention_norm = norm(self.dtype_policy, "self_attention_norm")
                self.feed_forward = feed_forward(config, self.dtype_policy)

            def build(self, shape):
                for layer in (self.self_attention, self.self_attention_norm, self.feed_forward):
                    layer.build(shape)

            def call(self, hidden_states, context, head_mask=None, training=None):
                visible = ops.not_equal(context.attention_mask, 0)[:, None, None, :]
                normed = self.self_attention_norm(hidden_states)
                attended = self.self_attention(normed, attention_mask=visible, head_mask=head_mask, training=training)
                hidden_states = hidden_states + attended
                return hidden_states + self.feed_forward(hidden_states, training=training)

            def attention_probabilities(self, hidden_states, context, head_mask=None):
                visible = ops.not_equal(context.attention_mask, 0)[:, None, None, :]
                normed = self.self_attention_norm(hidden_states)
                return {"attentions": self.self_attention.probabilities(normed, None, visible, None, head_mask)}


        @keras.saving.register_keras_serializable("tfmodels")
        class ToyEncoder(Encoder):
            config_class = ToyConfig
            input_names = (*ENCODER_INPUTS, *ENCODER_OPTIONS)

            @classmethod
            def weight_map(cls, config):
                return weight_map(config, with_decoder=False)

            def create_layers(self, embed_tokens, policy):
                self.num_heads = self.config.heads
                self.embed_tokens = embed_tokens or token_embedding(self.config, policy, "embed_tokens")
                self.blocks = [
                    ToyEncoderBlock(self.config, dtype=policy, name=f"block_{n}") for n in range(self.config.layers)
                ]

            def layers_to_build(self):
                return self.blocks

            def embed(self, inputs, training):
                return self.embed_tokens(inputs.input_ids) if inputs.inputs_embeds is None else inputs.inputs_embeds

            def context(self, hidden_states, inputs):
                mask = inputs.attention_mask
                return EncoderContext(ops.ones(ops.shape(hidden_states)[:2], "int32") if mask is None else mask)

            def finalize(self, hidden_states, training):
                return hidden_states
    ''',
    "decoder.py": '''
        """The toy's decoder."""

        import keras

        from tfmodels.modeling.decoder import Decoder
        from tfmodels.modeling.decoder_block import BlockOutputs, DecoderBlock
        from tfmodels.toy.config import ToyConfig
        from tfmodels.toy.modules import attention, feed_forward, norm, token_embedding


        class ToyDecoderBlock(DecoderBlock):
            def __init__(self, config, **kwargs):
                super().__init__(**kwargs)
                self.self_attention = attention(config, self.dtype_policy, "self_attention")
                self.self_attention_norm = norm(self.dtype_policy, "self_attention_norm")
                self.cross_attention = attention(config, self.dtype_policy, "cross_attention")
                self.feed_forward = feed_forward(config, self.dtype_policy)

            def build(self, shape):
                for layer in (self.self_attention, self.self_attention_norm, self.cross_attention, self.feed_forward):
                    layer.build(shape)

            def call(
                self, hidden_states, context, layer, one_per_beam=False, output_attentions=False, training=None
            ):
                normed = self.self_attention_norm(hidden_states)
                own = self.self_attend(normed, context, layer, one_per_beam, output_attentions, training)
                hidden_states = hidden_states + own.attended
                cross = self.cross_attend(hidden_states, context, layer, output_attentions, training)
                hidden_states = hidden_states + cross.attended
                hidden_states = hidden_states + self.feed_forward(hidden_states, training=training)
                return BlockOutputs(hidden_states, own.keys_values, own.probabilities, cross.probabilities)


        @keras.saving.register_keras_serializable("tfmodels")
        class ToyDecoder(Decoder):
            config_class = ToyConfig

            def create_layers(self, embed_tokens, policy):
                self.num_heads = self.config.heads
                self.embed_tokens = embed_tokens or token_embedding(self.config, policy, "embed_tokens")
                self.blocks = [
                    ToyDecoderBlock(self.config, dtype=policy, name=f"block_{n}") for n in range(self.config.layers)
                ]

            def layers_to_build(self):
                return self.blocks

            def embed(self, input_ids, inputs_embeds, positions, training):
                return self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds

            def position_bias(self, query_positions, key_positions):
                return None

            def finalize(self, hidden_states, training):
                return hidden_states
    ''',
    "weights.py": '''
        """The tensors of the toy's checkpoints."""

        from tfmodels.checkpoints.mapping import DENSE, EMBEDDING, LAYER_NORM, WeightMap, WeightRule

        _PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


        def weight_map(config, with_decoder=True):
            sides = {"encoder": ("self_attention",), "decoder": ("self_attention", "cross_attention")}
            rules = [WeightRule("shared", "shared", EMBEDDING, copies=("lm_head",))]
            for side, attentions in sides.items():
                if side == "encoder" or with_decoder:
                    block = f"{side}.blocks.{{n}}"
                    rules += [
                        WeightRule(f"{side}.layers.{{n}}.{attention}.{name}", f"{block}.{attention}.{name}", DENSE)
                        for attention in attentions
                        for name in _PROJECTIONS
                    ]
                    norm = "self_attention_norm"
                    rules.append(WeightRule(f"{side}.layers.{{n}}.{norm}", f"{block}.{norm}", LAYER_NORM))
                    rules += [
                        WeightRule(f"{side}.layers.{{n}}.{name}", f"{block}.feed_forward.{name}", DENSE)
                        for name in ("wi", "wo")
                    ]
            return WeightMap(
                rules=rules,
                required_shapes={("shared.weight",): (config.vocab_size, config.d_model)},
                token_embedding_names=("shared.weight",),
                min_parameters=config.min_parameters(with_decoder),
                head_prefixes=("lm_head.",) if with_decoder else (),
                unused_prefixes=() if with_decoder else ("decoder.", "lm_head."),
            )
    ''',
    "models.py": '''
        """The toy's model."""

        import keras

        from tfmodels.modeling.family import Backbone
        from tfmodels.modeling.language_model import Seq2SeqLM
        from tfmodels.toy.config import ToyConfig
        from tfmodels.toy.decoder import ToyDecoder
        from tfmodels.toy.encoder import ENCODER_INPUTS, ToyEncoder
        from tfmodels.toy.modules import token_embedding
        from tfmodels.toy.weights import weight_map


        def _create(config, policy):
            shared = token_embedding(config, policy, "shared")
            encoder = ToyEncoder(config, embed_tokens=shared, dtype=policy, name="encoder")
            return shared, encoder, ToyDecoder(config, embed_tokens=shared, dtype=policy, name="decoder")


        BACKBONE = Backbone(encoder_inputs=ENCODER_INPUTS, create=_create, head_stddev=lambda config: 0.02)


        @keras.saving.register_keras_serializable("tfmodels")
        class ToyForConditionalGeneration(Seq2SeqLM):
            backbone = BACKBONE
            config_class = ToyConfig

            @classmethod
            def weight_map(cls, config):
                return weight_map(config)

            def head_stddev(self):
                return 0.02

            def logits(self, hidden_states, tied_kernel=None):
                return self._to_vocabulary(hidden_states, tied_kernel)
    ''',
    "tokenizer.py": '''
        """The toy's tokenizer."""

        import keras

        from tfmodels.text.byte_level_bpe_tokenizer import ByteLevelBPETokenizer


        @keras.saving.register_keras_serializable("tfmodels")
        class ToyTokenizer(ByteLevelBPETokenizer):
            """Byte-level BPE without global tokens."""

            marks_global_token = False
            decoder_start_role = "eos_token"
            transformers_class = "BartTokenizer"
    ''',
    "__init__.py": '''
        """A toy."""

        from tfmodels.modeling.family import Family
        from tfmodels.toy.config import ToyConfig
        from tfmodels.toy.encoder import ToyEncoder
        from tfmodels.toy.models import ToyForConditionalGeneration
        from tfmodels.toy.tokenizer import ToyTokenizer

        FAMILY = Family(
            model_type="toy",
            config=ToyConfig,
            tokenizer=ToyTokenizer,
            encoder=ToyEncoder,
            models={"language_model": ToyForConditionalGeneration},
            variants={"toy": {}},
            sizes={"tiny": {"d_model": 16}},
        )
    ''',
}
TEXTS = ["a window slides over the document", "each token sees its neighbours, and the global tokens"] * 4


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """The toy as a folder beside the other families, and as one entry of the registry."""
    folder = tmp_path_factory.mktemp("family")
    (folder / "toy").mkdir()
    for name, source in FILES.items():
        (folder / "toy" / name).write_text(textwrap.dedent(source).lstrip(), encoding="utf-8")
    import tfmodels

    tfmodels.__path__.append(str(folder))
    toy = importlib.import_module("tfmodels.toy").FAMILY
    auto.FAMILIES[toy.model_type] = toy
    yield toy
    del auto.FAMILIES[toy.model_type]
    tfmodels.__path__.remove(str(folder))
    for name in [name for name in sys.modules if name.startswith("tfmodels.toy")]:
        del sys.modules[name]
    registry = keras.saving.get_custom_objects()
    for name in [name for name in registry if name.startswith("tfmodels>Toy")]:
        del registry[name]


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    """A small model of the family that has learnt a little, as a checkpoint."""
    tokenizer = family.tokenizer.train_from_iterator(TEXTS, 300)
    keras.utils.set_random_seed(0)
    model = family.models["language_model"](family.config(vocab_size=tokenizer.vocab_size, **family.sizes["tiny"]))
    model.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=True)
    batch = tokenizer(TEXTS, text_target=TEXTS, max_length=32, max_target_length=16)
    losses = model.fit(batch, epochs=8, batch_size=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 1.1
    path = tmp_path_factory.mktemp("toy") / "model"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    """The model and tokenizer, found by the folder's `config.json` alone."""
    return auto.load_pretrained(folder)


def test_the_folder_says_which_family_it_is_of(folder, loaded, family):
    assert json.loads((folder / "config.json").read_text())["model_type"] == "toy"
    model, tokenizer = loaded
    assert type(model) is family.models["language_model"]
    assert type(tokenizer) is family.tokenizer
    assert "global_attention_mask" not in tokenizer(TEXTS[:1], max_length=8)


def test_beams_and_greedy_search_score_and_stream_it(loaded):
    model, tokenizer = loaded
    inputs = tokenizer(TEXTS[:2], max_length=32)
    greedy = np.asarray(model.generate(**inputs, max_new_tokens=6, jit_compile=True))
    steps = np.stack(list(model.generate_stream(**inputs, max_new_tokens=6)), axis=1)
    np.testing.assert_array_equal(steps, greedy[:, 1 : 1 + steps.shape[1]])
    best = model.generate(**inputs, max_new_tokens=6, num_beams=3, return_dict=True)
    scores = model.score(inputs, np.asarray(best["sequences"])[:, 1:], length_penalty=1.0)
    np.testing.assert_allclose(np.asarray(best["sequences_scores"]), np.asarray(scores), atol=1e-4)


def test_keras_files_and_the_encoder_alone_hold_the_same_weights(loaded, folder, family, tmp_path):
    model, tokenizer = loaded
    inputs = tokenizer(TEXTS[:2], max_length=32)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    wanted = np.asarray(model.encode(**inputs)["last_hidden_state"])
    np.testing.assert_allclose(np.asarray(again.encode(**inputs)["last_hidden_state"]), wanted, atol=1e-6)
    encoder = family.encoder.from_pretrained(folder)
    np.testing.assert_allclose(np.asarray(encoder(inputs)["last_hidden_state"]), wanted, atol=1e-6)


def test_the_savedmodel_answers_as_the_model_does(loaded, family, tmp_path):
    from export import export_saved_model
    from export.client.saved_model_client import SavedModel

    model, tokenizer = loaded
    settings = model.generation_config.replace(max_new_tokens=6)
    export_saved_model(model, tokenizer, tmp_path / "toy" / "1", lengths=(16, 32), generation_config=settings)
    answer = SavedModel(tmp_path / "toy")(text=TEXTS[:2])
    ids = np.asarray(model.generate(**tokenizer(TEXTS[:2], lengths=(16, 32)), generation_config=settings))
    assert answer["text"].tolist() == tokenizer.batch_decode(ids)
