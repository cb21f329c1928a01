"""Plots stand on the true steps, show single points, and appear whole or not at all."""

import math

import pytest
from matplotlib.figure import Figure

from training.reporting.plots import save_loss_plot


@pytest.fixture
def axes(monkeypatch):
    """The axes of the saved figures."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **more: (saved.extend(self.axes), save(self, *args, **more))
    )
    return saved


def test_series_of_different_length_stand_on_their_steps(tmp_path, axes):
    training = [(step, 5.0 - step / 100) for step in range(1, 101)]
    validation = [(50, 4.0), (70, math.nan), (100, 3.9)]
    save_loss_plot({"training": training, "validation": validation, "none": []}, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    lines = axes[0].lines
    assert [line.get_label() for line in lines] == ["training", "validation"]
    assert list(lines[1].get_xdata()) == [50, 70, 100]
    low, high = axes[0].get_xlim()
    assert low <= 1
    assert 100 <= high < 110
    assert [line.get_marker() for line in lines] == ["None", "o"]


def test_one_point_is_seen_in_the_middle(tmp_path, axes):
    save_loss_plot({"training": [(7, 2.5)]}, tmp_path / "loss.png")
    assert axes[0].lines[0].get_marker() == "o"
    assert axes[0].get_xlim() == (6, 8)
    low, high = axes[0].get_ylim()
    assert low < 2.5 < high


def test_a_plot_that_cannot_be_drawn_leaves_the_former_one(tmp_path):
    path = tmp_path / "loss.png"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="series must hold at least one with a .step, value. pair"):
        save_loss_plot({"training": []}, path)
    with pytest.raises((ValueError, TypeError)):
        save_loss_plot({"training": [(1, object())]}, path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
