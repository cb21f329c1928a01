"""Summaries of source code without a model, which a trained model should beat."""

from training.demo.examples import Example

CONSTANT_SUMMARY = "Return the"


def name_baseline(example: Example) -> str:
    """The last part of the object's name, split into words: snake case, camel case and double underscores.

    >>> name_baseline(Example("...", "...", name="http.server.HTTPServer.handle_error2"))
    'handle error 2'
    >>> name_baseline(Example("...", "...", name="JSONDecoder.__init__"))
    'init'
    """
    name = example.name.rsplit(".", 1)[-1]
    spaced = [" " + letter if _starts_word(name, position) else letter for position, letter in enumerate(name)]
    return " ".join("".join(spaced).replace("_", " ").lower().split())


def constant_baseline(example: Example) -> str:
    """The same two words for every example: the most frequent beginning of docstrings.

    >>> constant_baseline(Example("...", "..."))
    'Return the'
    """
    return CONSTANT_SUMMARY


def _starts_word(name: str, position: int) -> bool:
    before, letter, after = name[position - 1 : position], name[position], name[position + 1 : position + 2]
    # The last capital of a run belongs to the next word: "HTTPServer" is "HTTP" and "Server".
    is_capital = letter.isupper() and (before.islower() or (before.isupper() and after.islower()))
    return is_capital or letter.isdigit() != before.isdigit()
