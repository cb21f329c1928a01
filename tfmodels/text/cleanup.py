"""English spacing, a setting of some checkpoints' tokenizers."""

# In this order: later rules see what earlier ones left.
REPLACEMENTS = (
    *((f" {mark}", mark) for mark in (".", "?", "!", ",")),
    (" ' ", "'"),
    *((f" {ending}", ending) for ending in ("n't", "'m", "'s", "'ve", "'re")),
)


def clean_up_spaces(text: str) -> str:
    """The text without spaces before `.?!,`, around a lone apostrophe and before English contractions.

    >>> clean_up_spaces("do n't , it 's here .")
    "don't, it's here."
    """
    for old, new in REPLACEMENTS:
        text = text.replace(old, new)
    return text
