"""English spacing, as some checkpoints' tokenizers want it."""

# In this order: later rules see what earlier ones left.
_JOINED = (".", "?", "!", ",", " ' ", "n't", "'m", "'s", "'ve", "'re")


def clean_up_spaces(text: str) -> str:
    """The text without spaces before `.?!,`, around a lone apostrophe and before English contractions.

    >>> clean_up_spaces("do n't , it 's here .")
    "don't, it's here."
    """
    for ending in _JOINED:
        text = text.replace(ending, ending.strip()) if ending[0] == " " else text.replace(" " + ending, ending)
    return text
