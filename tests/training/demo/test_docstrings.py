"""Sources become pairs: exactly the object's own docstring is cut, and its first sentence is the summary."""

import textwrap

import pytest

from training.demo.docstrings import examples_from_source, first_sentence


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return the area.", "Return the area."),
        ("Return the area. Then more.", "Return the area."),
        ("Return the\n    area\tof it. More.", "Return the area of it."),
        ("No period at all", "No period at all"),
        ("First paragraph\n\nSecond one. More.", "First paragraph"),
        ("First paragraph\n   \nSecond one.", "First paragraph"),
        ("\n\n    After blank lines.\n    More.", "After blank lines."),
        ("Use e.g. a file, i.e. a name. More.", "Use e.g. a file, i.e. a name."),
        ("See (e.g. here) and so on. More.", "See (e.g. here) and so on."),
        ("Files, pipes, etc. are read. More.", "Files, pipes, etc. are read."),
        ("Files, pipes, etc. More follows.", "Files, pipes, etc."),
        ("Version 3.11 of os.path is used. More.", "Version 3.11 of os.path is used."),
        ("Wait for it... then go on.", "Wait for it..."),
        ("Tools for dates\n===============\nMore.", "Tools for dates"),
        ("=====\nTools for dates\n=====\nMore.", "Tools for dates"),
        ("Add two numbers\n>>> add(1, 2)\n3", "Add two numbers"),
        (">>> add(1, 2)\n3", ""),
        ("", ""),
    ],
)
def test_the_first_sentence_ends_at_a_period_or_a_break(docstring, sentence):
    assert first_sentence(docstring) == sentence


SOURCE = '''
"""The module's own docstring."""

import os

class Outer(object):
    """The outer class docstring."""  # a comment that stays

    def method(self):
        """The method's docstring,
        over two lines.
        """
        text = """
        an ordinary string
    at another margin
        """
        return text

    class Inner:
        "The inner docstring."; value = 1

        async def fetch(self): "One line docstring here."; return 2

if os.name == "nt":
    def conditional():
        """Under an if statement."""
        def nested():
            """Nested functions are left out."""
            return 1
        return nested
else:
    @property
    @staticmethod
    def decorated(): return 1

def no_docstring():
    return "not a docstring"

def only_docstring():
    """There is no code to summarise."""
'''


def _documents() -> dict[str, str]:
    return {example.name: example.document for example in examples_from_source(SOURCE, "package.module")}


def test_modules_classes_functions_and_methods_are_found_in_order_and_nested_functions_are_not():
    examples = examples_from_source(SOURCE, "package.module")
    assert [example.name for example in examples] == [
        "package.module",
        "Outer",
        "Outer.method",
        "Outer.Inner",
        "Outer.Inner.fetch",
        "conditional",
    ]
    assert {example.module for example in examples} == {"package.module"}
    assert examples[2].summary == "The method's docstring, over two lines."


def test_only_the_objects_own_docstring_is_cut():
    documents = _documents()
    module = SOURCE.replace('"""The module\'s own docstring."""\n', "").strip("\n")
    assert documents["package.module"] == module
    assert "The method's docstring" in documents["Outer"]
    assert "outer class docstring" not in documents["Outer"]
    assert "# a comment that stays" in documents["Outer"]


def test_what_shares_a_line_with_the_docstring_stays():
    documents = _documents()
    assert "; value = 1" in documents["Outer.Inner"]
    assert documents["Outer.Inner.fetch"] == "async def fetch(self): ; return 2"


def test_documents_start_at_the_left_margin_and_strings_keep_their_text():
    assert _documents()["Outer.method"] == textwrap.dedent(
        '''\
        def method(self):
            text = """
            an ordinary string
        at another margin
            """
            return text'''
    )


def test_decorators_belong_to_the_document():
    source = 'class A:\n    @property\n    def size(self):\n        """The size of it."""\n        return 1\n'
    [example] = examples_from_source(source, "m")
    assert example.document == "@property\ndef size(self):\n    return 1"


def test_cuts_are_exact_after_letters_of_many_bytes():
    source = 'def größe(): "Die Größe, 大きさ 📏."; return "ü📏", 1\n'
    [example] = examples_from_source(source, "m")
    assert example.document == 'def größe(): ; return "ü📏", 1'


def test_implicit_concatenation_and_parentheses_are_cut_whole():
    source = (
        'def f():\n    ("One part "\n     "and another.")\n    return 1\n\ndef g():\n    "a" "b c d"\n    return 2\n'
    )
    examples = examples_from_source(source, "m")
    assert [example.document for example in examples] == ["def f():\n    return 1", "def g():\n    return 2"]


def test_form_feeds_do_not_shift_the_lines():
    source = 'x = 1\n\x0c\ndef f():\n    """Say what it does."""\n    return 1\n'
    assert [example.document for example in examples_from_source(source, "m")] == ["def f():\n    return 1"]


def test_old_escapes_raise_no_warning():
    source = 'def f():\n    """Match \\d digits here."""\n    return "\\d"\n'
    assert len(examples_from_source(source, "m")) == 1


def test_sources_that_do_not_parse_raise_as_ast_does():
    with pytest.raises(SyntaxError):
        examples_from_source("print 'old'", "m")
