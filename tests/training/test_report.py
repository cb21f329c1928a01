"""Reports show what they are given, in any terminal, and plots appear whole or not at all."""

import io
import math

import pytest
from rich.console import Console

from training.examples import Example
from training.report import Sample, print_corpus, print_curve, print_rouge, print_samples, save_loss_plot
from training.splits import Split, corpus_summary

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _console(encoding: str = "utf-8", width: int = 80) -> Console:
    return Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding), width=width)


def _text(console: Console) -> str:
    console.file.flush()
    return console.file.buffer.getvalue().decode(console.encoding)


def _print_all(console: Console) -> None:
    examples = [Example("x" * length, "the summary", module=str(length)) for length in (5, 50, 60, 700, 90_000)]
    print_corpus(console, corpus_summary(Split(examples[:3], examples[3:4], examples[4:])))
    print_curve(console, {"loss": [8 - math.log(step + 1) for step in range(300)], "val_loss": [7.5, 5.0]})
    print_rouge(
        console, {"untrained": {"rougeL": 1.0}, "trained": {"rougeL": 23.456, "rouge1": 30}}, note="7 documents"
    )
    print_samples(console, [Sample("def größe():\n\treturn 1", "Die Größe.", "Return the size ✓", "m.größe")])


def test_every_part_of_the_report_holds_its_figures():
    console = _console()
    _print_all(console)
    text = _text(console)
    for expected in ("90,815", "90,000", "512 to 1,023", "first 8.000", "val_loss", "23.46 *", "1.00", "7 documents"):
        assert expected in text
    for expected in ("def größe():", "Die Größe.", "Return the size ✓", "m.größe"):
        assert expected in text


@pytest.mark.parametrize("width", [24, 40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_reports_are_plain_outside_terminals_in_any_encoding_and_width(encoding, width):
    console = _console(encoding, width)
    _print_all(console)
    text = _text(console)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= width
    if encoding == "ascii":
        assert text.isascii()


def test_documents_are_cut_and_say_how_much_is_left():
    console = _console()
    print_samples(console, [Sample("\n".join(f"line {n} " + "y" * 200 for n in range(20)), "a", "")], document_lines=3)
    text = _text(console)
    assert "line 2" in text
    assert "line 3" not in text
    assert "(17 more lines)" in text
    assert "(nothing)" in text


def test_markup_and_escapes_in_texts_are_shown_and_not_obeyed():
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    print_samples(console, [Sample("[bold]x[/nonsense]", "\x1b]0;title\x07", "\x1b[2J", "[red]name")])
    print_rouge(console, {"[bold]system[/x]": {"rougeL": 1.0}})
    text = console.file.getvalue()
    for expected in ("[bold]x[/nonsense]", "[red]name", "[bold]system[/x]"):
        assert expected in text
    assert "\x1b]0" not in text
    assert "\x1b[2J" not in text


def test_curves_bear_flat_series_gaps_and_single_points():
    console = _console()
    print_curve(console, {"flat": [2.0] * 5, "one": [1.0], "gap": [1.0, math.nan, math.inf, 0.5], "none": [math.nan]})
    text = _text(console)
    assert "flat" in text
    assert "lowest 0.500" in text
    assert "none" not in text


def test_an_empty_corpus_and_empty_scores_print_without_a_histogram():
    console = _console()
    print_corpus(console, corpus_summary(Split([], [], [])))
    print_rouge(console, {})
    print_curve(console, {})
    print_samples(console, [])
    assert "Document lengths" not in _text(console)


def test_the_loss_plot_is_a_png_and_leaves_nothing_beside_it(tmp_path):
    save_loss_plot({"loss": [3.0, 2.0, 1.0, 0.5], "val_loss": [2.5, 1.5], "empty": []}, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG_SIGNATURE)
    assert [path.name for path in tmp_path.iterdir()] == ["loss.png"]


def test_a_plot_that_cannot_be_drawn_leaves_the_former_one(tmp_path):
    path = tmp_path / "loss.png"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="history must hold at least one series with a value"):
        save_loss_plot({"loss": []}, path)
    with pytest.raises((ValueError, TypeError)):
        save_loss_plot({"loss": [object()]}, path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
