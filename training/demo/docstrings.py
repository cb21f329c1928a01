"""From Python source to examples: an object's source without its docstring, and the docstring's first sentence.

The source is parsed, never imported.
"""

import ast
import inspect
import re
import warnings
from collections.abc import Iterator

from training.demo.examples import Example

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_ABBREVIATIONS = frozenset(
    {"e.g", "i.e", "eg", "ie", "cf", "vs", "etc", "resp", "approx", "viz", "no", "fig", "eq", "al"}
)
# These can also close a sentence, so they only carry on when what follows does not start one.
_MAY_CLOSE = frozenset({"etc", "al", "no"})
_UNDERLINE = re.compile(r"^([=\-~^*#+_\"`.])\1{2,}$")
_PERIOD = re.compile(r"\.(?=\s|$)")


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring, with its whitespace folded.

    It ends at the first period that white space or the end of the text follows, or at a blank line, a heading's
    underline or an interactive example. The periods of abbreviations such as "e.g." do not end it.

    >>> first_sentence("Read a file, e.g. a log.\\n    More text.")
    'Read a file, e.g. a log.'
    >>> first_sentence("Tools for dates\\n===============\\nMore text.")
    'Tools for dates'
    """
    paragraph: list[str] = []
    for line in inspect.cleandoc(docstring).split("\n"):
        words = line.strip()
        if words.startswith(">>>"):
            break
        if not words or _UNDERLINE.match(words):
            if paragraph:
                break
            continue
        paragraph.append(words)
    text = " ".join(" ".join(paragraph).split())
    for period in _PERIOD.finditer(text):
        if not _is_abbreviation(text, period.start()):
            return text[: period.end()]
    return text


def examples_from_source(source: str, module: str) -> list[Example]:
    """One example for the module and for each documented class, function and method in its source, in source order.

    Functions inside functions are left out, and so are objects whose whole body is their docstring. The document is
    the object's source, moved to the left margin, without that object's own docstring; the docstrings of the objects
    within it stay.

    Args:
        source: the text of a Python file, with line feeds as line ends.
        module: the module's dotted name, for `Example.module`.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: source that does not parse, as `ast.parse` says.

    >>> [example] = examples_from_source('def area(r):\\n    "The area of a disc."\\n    return 3 * r * r\\n', "shapes")
    >>> example.document
    'def area(r):\\n    return 3 * r * r'
    """
    with warnings.catch_warnings():
        # Old sources hold escapes such as "\d": they are what we read, not what we run.
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    # The columns of `ast` count UTF-8 bytes, so the cuts are made in bytes.
    lines = [line.encode("utf-8", "surrogatepass") for line in source.split("\n")]
    examples = []
    for node, name in _documented_objects(tree, module):
        docstring = ast.get_docstring(node, clean=False)
        if docstring is not None and len(node.body) > 1:
            document = _source_without_docstring(node, lines)
            examples.append(Example(document, first_sentence(docstring), name, module))
    return examples


def _documented_objects(tree: ast.Module, module: str) -> Iterator[tuple[Documented, str]]:
    yield tree, module
    pending: list[tuple[ast.AST, str]] = [(child, "") for child in reversed(tree.body)]
    while pending:
        node, prefix = pending.pop()
        if isinstance(node, _FUNCTIONS):
            yield node, prefix + node.name
            continue
        if isinstance(node, ast.ClassDef):
            yield node, prefix + node.name
            pending.extend((child, f"{prefix}{node.name}.") for child in reversed(node.body))
        elif not isinstance(node, ast.expr):
            # Definitions also stand under `if`, `try` and `with` at the module's or class's level.
            pending.extend((child, prefix) for child in reversed(list(ast.iter_child_nodes(node))))


def _source_without_docstring(node: Documented, lines: list[bytes]) -> str:
    docstring = node.body[0]
    if isinstance(node, ast.Module):
        start, end, indent = 0, len(lines), b""
    else:
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        start, end = first - 1, node.end_lineno or node.lineno
        indent = lines[start][: node.col_offset]
    doc_start, doc_end = docstring.lineno - 1, (docstring.end_lineno or docstring.lineno) - 1
    before = lines[doc_start][: docstring.col_offset]
    after = lines[doc_end][docstring.end_col_offset :]
    # A docstring that has its lines to itself goes with them; otherwise what shares its lines stays.
    rest = [before + after] if (before + after).strip() else []
    kept = lines[start:doc_start] + rest + lines[doc_end + 1 : end]
    margin = indent if not indent.strip() else b""
    text = b"\n".join(line.removeprefix(margin) for line in kept).decode("utf-8", "surrogatepass")
    return text.strip("\n").rstrip()


def _is_abbreviation(text: str, period: int) -> bool:
    following = text[period + 1 :].lstrip()
    if not following:
        return False
    word = text[:period].rsplit(" ", 1)[-1].strip("([{\"'`*").lower()
    if word in _MAY_CLOSE:
        return not following[0].isupper()
    return word in _ABBREVIATIONS
