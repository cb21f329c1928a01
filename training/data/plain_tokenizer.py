"""A tokenizer as plain values, from which a process without Keras can build it again."""

from typing import Any

_TEXT = "tfmodels.text."
_PLAIN = (str, bool, int, tuple, type(None))


def tokenizer_recipe(tokenizer: Any) -> tuple[Any, ...]:
    """The algorithm, a family's facts and the files of a tokenizer, for `tokenizer_from_recipe`.

    A family's class is registered with Keras, so its module imports it; the algorithms in `tfmodels.text` do not.
    A tokenizer that is not built on one of them travels as a pickle.
    """
    base = next((base for base in type(tokenizer).__mro__ if base.__module__.startswith(_TEXT)), None)
    if base is None:
        return ("pickle", tokenizer)
    facts = {}
    for name in dir(type(tokenizer)):
        value = getattr(type(tokenizer), name)
        if not name.startswith("__") and isinstance(value, _PLAIN) and value != getattr(base, name, _PLAIN):
            facts[name] = value
    return ("files", base.__module__, base.__qualname__, facts, tokenizer.to_files())


def tokenizer_from_recipe(recipe: tuple[Any, ...]) -> Any:
    """The tokenizer of a recipe: the same ids, without a class that Keras knows.

    >>> from tfmodels import LEDTokenizer
    >>> tokenizer = LEDTokenizer.train_from_iterator(["a long document"], vocab_size=300)
    >>> tokenizer_from_recipe(tokenizer_recipe(tokenizer)).encode("a long") == tokenizer.encode("a long")
    True
    """
    import importlib

    if recipe[0] == "pickle":
        return recipe[1]
    _, module, name, facts, files = recipe
    base = getattr(importlib.import_module(module), name)
    family: Any = type(name, (base,), facts)
    return family.from_files(files)
