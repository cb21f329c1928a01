"""Rows of the first stage hold what was cut out, and not their own answer."""

from training.demo.denoising import denoising_rows

SOURCE = '''
def count_all_the_words(text, least=1):
    """Count words.

    Args:
        text (str): the text whose words are counted.
        least: words of fewer letters are
            left out of the count.
    """
    # Split the text at white space
    # and keep the long words.
    words = [word for word in text.split() if len(word) >= least]
    return len(words)  # the number of words that are left


def numpy_style_of_words(text):
    """Count words.

    Parameters
    ----------
    text : str
        The text whose words are counted.
    other : str
        No parameter of this function at all.
    """
    return text
'''


def rows() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in denoising_rows(SOURCE, "words"):
        found.setdefault(row.summary, []).append(row.document)
    return found


def test_comments_on_lines_of_their_own_are_cut_out_with_the_code_behind_them():
    (document,) = rows()["Split the text at white space and keep the long words."]
    assert document.startswith("#\nwords = [")
    assert "Split" not in document


def test_descriptions_of_parameters_are_cut_out_with_the_signature():
    signature = "def count_all_the_words(text, least=1):"
    assert f"text: {signature}" in rows()["The text whose words are counted."]
    assert rows()["Words of fewer letters are left out of the count."] == [f"least: {signature}"]


def test_only_parameters_of_the_function_are_described():
    assert len(rows()["The text whose words are counted."]) == 2
    assert not [summary for summary in rows() if "at all" in summary]


def test_names_of_four_words_are_written_as_words():
    assert rows()["count all the words"] == ["name: def count_all_the_words(text, least=1):"]
    assert "numpy style of words" in rows()
