"""SentencePiece with T5's tokens for the graph, and refusals of models to which the graph would give other ids."""

import dataclasses
import warnings
from collections.abc import Collection, Mapping

from tfmodels.text.added_tokens import AddedToken
from tfmodels.text.sentencepiece_graph import Guard, SentencePieceGraph, SentencePieceModel
from tfmodels.text.sentencepiece_model import SPACE_MARK, check_graph_can, normalized_characters, words_stand_alone
from tfmodels.text.settings import CONFIG
from tfmodels.text.spec import TokenizerSpec
from tfmodels.text.unicode_classes import as_ranges


@dataclasses.dataclass(frozen=True)
class Unprefixed:
    """The guard of a tokenizer that is not legacy, the number of its ids, and the prefix space; see `Guard`."""

    guard: str
    length: int
    adds_prefix_space: bool


def build_graph(
    spec: TokenizerSpec,
    model_proto: bytes,
    tokens: Mapping[int, AddedToken],
    unknown_tokens: Collection[str],
    unprefixed: Unprefixed | None,
) -> SentencePieceGraph:
    """Build the tokenizer in TensorFlow ops.

    Args:
        spec: the Python tokenizer's facts.
        model_proto: its serialized SentencePiece model.
        tokens: the added tokens that it looks for in a text, by id.
        unknown_tokens: added tokens whose characters no piece has.
        unprefixed: the reading of stretches without a prefix; `None` for a legacy tokenizer.

    Raises:
        ValueError: a tokenizer to which the graph would give other ids.
    """
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model_proto)
    check_graph_can(model_proto, processor)
    apart = words_stand_alone(model_proto, processor)
    _check_unknown_tokens(model_proto, unknown_tokens, is_split=not tokens)
    scores = [processor.get_score(index) for index in range(processor.get_piece_size())]
    model = SentencePieceModel(model_proto, scores, processor.unk_id())
    if unprefixed is not None and not apart:
        raise ValueError(
            f"legacy in {CONFIG} must be true for a model whose pieces or normalization reach across spaces to run in "
            f"the graph. Received: legacy=False"
        )
    guard = None if unprefixed is None else _guard(model_proto, unprefixed)
    return SentencePieceGraph(spec, tokens, model, apart, guard)


def _guard(model_proto: bytes, unprefixed: Unprefixed) -> Guard:
    changed = normalized_characters(model_proto)
    vanishing = {" ", SPACE_MARK, *(character for character, text in changed.items() if not text.strip(SPACE_MARK))}
    spaced = {name: text for name, text in changed.items() if text.startswith(SPACE_MARK) and name not in vanishing}
    return Guard(
        unprefixed.guard,
        unprefixed.length,
        unprefixed.adds_prefix_space,
        as_ranges(sorted(map(ord, vanishing))),
        {name: text.lstrip(SPACE_MARK) for name, text in spaced.items()},
    )


def _check_unknown_tokens(model_proto: bytes, names: Collection[str], is_split: bool) -> None:
    if names and is_split:
        raise ValueError(
            f"added tokens must have pieces of the model for a tokenizer with split_special_tokens to run in the "
            f"graph. Received: {list(names)}"
        )
    results = {text for text in normalized_characters(model_proto).values() if text} if names else set()
    unsure = [name for name in names if any(text in name for text in results)]
    if unsure:
        warnings.warn(
            f"other characters that the model takes for {unsure} are unknown in the graph, and are these tokens "
            f"outside it: the model itself has no piece for them",
            stacklevel=4,
        )
