"""The tokenizer of LongT5."""

from collections.abc import Mapping
from typing import Self, cast

import keras

from tfmodels.text.sentencepiece_tokenizer import MODEL, SentencePieceTokenizer
from tfmodels.text.settings import TOKENIZER
from tfmodels.text.t5_json_tokenizer import SentencePieceJsonTokenizer


@keras.saving.register_keras_serializable(package="tfmodels")
class LongT5Tokenizer(SentencePieceTokenizer):
    """Text to ids and back for LongT5: SentencePiece, `... </s>`, ids of transformers' `T5Tokenizer`.

    SentencePiece normalizes (NFKC) and folds white space into single spaces, so `decode` does not give back newlines
    or indentation. A folder with tokenizer.json alone gives the ids of `T5TokenizerFast`, and not in the graph.

    Args:
        model_proto: the serialized SentencePiece model, the content of `spiece.model`.

    Raises:
        ValueError: anything but a SentencePiece model with pad, eos and unknown pieces.

    Example:
        >>> from tfmodels import LongT5Tokenizer
        >>> tokenizer = LongT5Tokenizer.train_from_iterator(["the long report", "the report"], vocab_size=120)
        >>> tokenizer.decode(tokenizer.encode("the report"))
        'the report'
    """

    substitute_file_name = TOKENIZER
    decoder_start_role = "pad_token"
    transformers_class = "T5Tokenizer"

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        if MODEL not in files and TOKENIZER in files:
            return cast(Self, LongT5JsonTokenizer.from_files(files))
        return super().from_files(files)


class LongT5JsonTokenizer(SentencePieceJsonTokenizer, LongT5Tokenizer):
    """LongT5's tokenizer from tokenizer.json, ids of transformers' `T5TokenizerFast`."""

    transformers_class = "T5TokenizerFast"
