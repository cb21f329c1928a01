"""Small trained models that come with the package: a folder each, with a model card."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def pretrained_models() -> dict[str, Path]:
    """The folders of the models by name: `--model NAME` and `from_pretrained(FOLDER)` load them.

    >>> "longt5-python" in pretrained_models()
    True
    """
    return {path.parent.name: path.parent for path in sorted(_FOLDER.glob("*/config.json"))}
