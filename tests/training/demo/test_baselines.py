"""The baselines read a name and nothing else."""

import pytest

from training.demo.baselines import constant_baseline, name_baseline
from training.demo.examples import Example


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("read_text", "read text"),
        ("JSONEncoder", "json encoder"),
        ("JSONEncoder.iterencode", "iterencode"),
        ("HTTPServer.handle_HTTPError2", "handle http error 2"),
        ("Path.__init__", "init"),
        ("_private", "private"),
        ("camelCaseName", "camel case name"),
        ("UPPER_CASE", "upper case"),
        ("A", "a"),
        ("json.encoder", "encoder"),
        ("größe_messen", "größe messen"),
        ("", ""),
    ],
)
def test_the_last_part_of_a_name_is_split_into_words(name, words):
    assert name_baseline(Example("text", "text", name)) == words


def test_the_constant_baseline_is_the_same_for_all():
    assert {constant_baseline(Example(text, text, text)) for text in ("a", "b")} == {"Return the"}
