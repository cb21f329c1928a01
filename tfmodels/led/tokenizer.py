"""The tokenizer of LED."""

import keras

from tfmodels.text.byte_level_bpe_tokenizer import ByteLevelBPETokenizer


@keras.saving.register_keras_serializable(package="tfmodels")
class LEDTokenizer(ByteLevelBPETokenizer):
    """Text to ids and back for LED: byte-level BPE, `<s> ... </s>`, ids of transformers' `LEDTokenizerFast`.

    Batches hold a `global_attention_mask`: the encoder's global tokens see, and are seen by, every token.

    Args:
        vocab: token to id. It holds `<s>`, `<pad>`, `</s>`, `<unk>`, `<mask>` and the symbols of the 256 bytes, of
            which it may lack some.
        merges: pairs of tokens, best first.
        add_prefix_space: begin each stretch of text between special tokens with a space, so that its first word has
            the ids of any other.
        marks_unknown_bytes: give `<unk>` for each byte without a symbol, as after a tokenizer.json with an `unk_token`.
            Otherwise such bytes are left out, as transformers does by default.

    Raises:
        ValueError: a vocabulary without a special token, or without the tokens of a merge.

    Example:
        >>> from tfmodels import LEDTokenizer
        >>> tokenizer = LEDTokenizer.train_from_iterator(["the long report", "the report"], vocab_size=270)
        >>> tokenizer.decode(tokenizer.encode("the report"))
        'the report'
    """

    marks_global_token = True
    decoder_start_role = "eos_token"
    transformers_class = "LEDTokenizer"
