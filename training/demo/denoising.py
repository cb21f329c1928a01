"""Rows for a model's first stage: what is cut out of Python source is to be written again.

As in gap-sentence generation (Zhang et al. 2020, section 3.1; Guo et al. 2022, section 4.1) whole sentences are cut
out: comments, and the descriptions of parameters. The names of functions, written as words, teach copying.
"""

import ast
import inspect
import io
import re
import textwrap
import tokenize
import warnings
from collections.abc import Iterator

from training.demo.baselines import name_baseline
from training.demo.docstrings import first_sentence
from training.demo.examples import Example
from training.demo.sentences import plain_sentence

_COMMENT_CODE_LINES = 12
_HEAD_CHARACTERS = 500
_MOST_DESCRIPTIONS = 3
# Shorter names are too easy.
_MIN_NAME_SPACES = 3
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_GOOGLE = re.compile(r"^\s+\*{0,2}(\w+)(?:\s*\([^)]*\))?\s*:\s+(\S.*)$")
_SPHINX = re.compile(r"^\s*:param\s+(?:[\w.]+\s+)?(\w+)\s*:\s*(\S.*)$")
_NUMPY = re.compile(r"^(\w+)\s*:\s*\S.*$")


def denoising_rows(source: str, module: str) -> Iterator[Example]:
    """The rows of a Python file: comments, descriptions of parameters, names of functions.

    >>> source = "def add_all_the_numbers(xs):\\n    xs = list(xs)\\n    # Add one by one.\\n    return sum(xs)\\n"
    >>> rows = list(denoising_rows(source, "m"))
    >>> [(row.document, row.summary) for row in rows]
    [('#\\nreturn sum(xs)', 'Add one by one.'), ('name: def add_all_the_numbers(xs):', 'add all the numbers')]

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: source that does not parse.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    lines = source.split("\n")
    yield from _comments(source, lines, module)
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            yield from _names(node, lines, module)
            yield from _descriptions(node, lines, module)


def _comments(source: str, lines: list[str], module: str) -> Iterator[Example]:
    """Blocks of comments that have their lines to themselves, with the code that follows."""
    block: list[tuple[int, str]] = []
    try:
        tokens = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.string.strip()]
    except (tokenize.TokenError, IndentationError):
        return
    for token in [*tokens, None]:
        is_own_line = token is not None and token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip()
        if token is not None and is_own_line and (not block or token.start[0] == block[-1][0] + 1):
            block.append((token.start[0], token.string.lstrip("#:! ")))
            continue
        if block:
            summary = plain_sentence(first_sentence("\n".join(text for _, text in block)))
            last = block[-1][0]
            code = textwrap.dedent("\n".join(_paragraph(lines[last : last + _COMMENT_CODE_LINES]))).strip()
            if summary and len(code) > 10:
                yield Example(f"#\n{code[:_HEAD_CHARACTERS]}", summary, "", module)
        block = [(token.start[0], token.string.lstrip("#:! "))] if token is not None and is_own_line else []


def _paragraph(lines: list[str]) -> Iterator[str]:
    """Lines up to the next comment or blank line."""
    for number, line in enumerate(lines):
        if number and (not line.strip() or line.lstrip().startswith("#")):
            return
        yield line


def _names(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str], module: str) -> Iterator[Example]:
    words = name_baseline(Example("-", "-", node.name))
    if words.count(" ") >= _MIN_NAME_SPACES:
        yield Example(f"name: {_head(node, lines)}", words, node.name, module)


def _head(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    """The signature's lines."""
    return textwrap.dedent("\n".join(lines[node.lineno - 1 : max(node.lineno, node.body[0].lineno - 1)])).strip()[
        :_HEAD_CHARACTERS
    ]


def _descriptions(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str], module: str) -> Iterator[Example]:
    docstring = ast.get_docstring(node, clean=False)
    if docstring is None:
        return
    parameters = {each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    text = inspect.cleandoc(docstring).split("\n")
    found = 0
    for number, line in enumerate(text):
        match = _GOOGLE.match(line) or _SPHINX.match(line)
        numpy = None if match else _NUMPY.match(line)
        name = match or numpy
        if name is None or name.group(1) not in parameters:
            continue
        first = match.group(2) if match else ""
        indent = len(line) - len(line.lstrip())
        rest = []
        for following in text[number + 1 :]:
            if not following.strip() or len(following) - len(following.lstrip()) <= indent:
                break
            rest.append(following.strip())
        summary = plain_sentence(first_sentence("\n".join([first, *rest]).strip()))
        if summary:
            yield Example(f"{name.group(1)}: {_head(node, lines)}", summary, "", module)
            found += 1
        if found == _MOST_DESCRIPTIONS:
            return
