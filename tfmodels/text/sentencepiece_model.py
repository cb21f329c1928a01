"""Facts of a SentencePiece model on which the graph depends."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sentencepiece

# Stands for a space in pieces.
SPACE_MARK = "\u2581"
# Serialized messages that follow each other are one: behind a model, this one's normalizer (3) adds no prefix (3).
NO_PREFIX = b"\x1a\x02\x18\x00"

_UNIGRAM = 1
# A character of private use, which no normalization changes or joins with others.
_BETWEEN = "\ue000"
# Protocol buffers' numbers of types and labels.
_INT32, _BOOL, _STRING, _MESSAGE, _OPTIONAL = 5, 8, 9, 11, 1
# Numbers, types and defaults as SentencePiece's `sentencepiece_model.proto` has them.
_FIELDS = {
    "TrainerSpec": (
        ("model_type", 3, _INT32, str(_UNIGRAM)),
        ("treat_whitespace_as_suffix", 24, _BOOL, "false"),
        ("byte_fallback", 35, _BOOL, "false"),
    ),
    "NormalizerSpec": (("name", 1, _STRING, ""), ("add_dummy_prefix", 3, _BOOL, "true")),
}


def check_graph_can(model_proto: bytes, processor: sentencepiece.SentencePieceProcessor) -> None:
    """Raise `ValueError` for a model to which tensorflow_text would give other ids than the sentencepiece package."""
    trainer, normalizer = _specs(model_proto)
    rules = {
        "model_type unigram": trainer.model_type == _UNIGRAM,
        "no byte_fallback": not trainer.byte_fallback,
        "no treat_whitespace_as_suffix": not trainer.treat_whitespace_as_suffix,
        "add_dummy_prefix": normalizer.add_dummy_prefix,
        "a normalization that turns tabs and line breaks into spaces": processor.encode("a\t\r\nb")
        == processor.encode("a   b"),
    }
    for rule, holds in rules.items():
        if not holds:
            raise ValueError(
                f"model_proto must have {rule} to be run in the graph, where its ids would be others than in Python. "
                f"Received: normalization {normalizer.name!r}, model_type {trainer.model_type}"
            )


def words_stand_alone(model_proto: bytes, processor: sentencepiece.SentencePieceProcessor) -> bool:
    """Whether the ids of a text up to white space depend on nothing behind it.

    T5's models are such, though not every model is: user-defined rules may replace characters across a space.
    """
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    normalized = "".join(processor.encode_as_pieces(" a  b\t\r\nc "))
    splits_at_spaces = normalized == "\u2581a\u2581b\u2581c" and not any(SPACE_MARK in piece[1:] for piece in pieces)
    return splits_at_spaces and _specs(model_proto)[1].name != "user_defined"


@functools.lru_cache(maxsize=1)
def normalized_characters(model_proto: bytes) -> dict[str, str]:
    """The characters that a model changes, each with the text that it becomes alone."""
    import sentencepiece

    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and chr(code) != _BETWEEN]
    processor = sentencepiece.SentencePieceProcessor(model_proto=model_proto + NO_PREFIX)
    normalized = processor.normalize(_BETWEEN + _BETWEEN.join(characters) + _BETWEEN).split(_BETWEEN)[1:-1]
    pairs = zip(characters, normalized, strict=True)
    return {character: text for character, text in pairs if text != character}


def _specs(model_proto: bytes) -> tuple[Any, Any]:
    model = _model_class().FromString(model_proto)
    return model.trainer_spec, model.normalizer_spec


@functools.cache
def _model_class() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    # In a pool of its own: several packages bring SentencePiece's messages along, and a pool takes them only once.
    file = descriptor_pb2.FileDescriptorProto(name="model.proto", package="model", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, default in fields:
            message.field.add(name=field, number=number, type=kind, label=_OPTIONAL, default_value=default)
    model = file.message_type.add(name="ModelProto")
    for number, name in ((2, "TrainerSpec"), (3, "NormalizerSpec")):
        model.field.add(
            name=name.replace("Spec", "_spec").lower(),
            number=number,
            type=_MESSAGE,
            type_name=f".model.{name}",
            label=_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("model.ModelProto"))
