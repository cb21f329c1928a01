"""Lower case in TensorFlow ops, as the tokenizers library has it: each character for itself."""

import functools

import tensorflow as tf

from tfmodels.text.unicode_classes import as_ranges

# A character of private use that separates characters, each lowered alone.
_BETWEEN = "\ue000"


@functools.cache
def lower_characters() -> dict[str, str]:
    """The characters beyond ASCII that the tokenizers library changes, with their lower case."""
    from tokenizers import normalizers

    characters = [chr(code) for code in range(0x80, 0x110000) if not 0xD800 <= code < 0xE000 and chr(code) != _BETWEEN]
    lowered = normalizers.Lowercase().normalize_str(_BETWEEN.join(characters)).split(_BETWEEN)
    return {character: text for character, text in zip(characters, lowered, strict=True) if text != character}


class LowerCase(tf.Module):
    """Texts in lower case. ICU's rules across characters, such as the sigma that ends a word, are left out."""

    def __init__(self) -> None:
        super().__init__()
        changed = lower_characters()
        self._pattern = rf"(?s).*[{as_ranges(sorted(map(ord, changed)))}].*"
        with tf.init_scope():
            names, texts = tf.constant(list(changed)), tf.constant(list(changed.values()))
            self._texts = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(names, texts), "")

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Texts (B,) in lower case."""
        # Of ASCII alone, and most texts hold no other capitals.
        texts = tf.strings.lower(texts)
        has_others = tf.strings.regex_full_match(texts, self._pattern)
        return tf.cond(tf.reduce_any(has_others), lambda: self._by_character(texts), lambda: texts)

    def _by_character(self, texts: tf.Tensor) -> tf.Tensor:
        characters = tf.strings.unicode_split(texts, "UTF-8")
        changed = self._texts.lookup(characters.values)
        changed = tf.where(changed == "", characters.values, changed)
        return tf.strings.reduce_join(characters.with_values(changed), axis=1)
