"""An archive holds a version as it is, once it has proved what it is."""

import shutil
import tarfile

import pytest
from exported import toy

from export.__main__ import main
from export.client.pack import pack
from export.client.verification import verify


def test_an_archive_holds_the_name_and_the_version_and_answers_to_its_hashes(tmp_path):
    assert main(["pack", str(toy()), "--output", str(tmp_path / "model.tar.gz")]) == 0
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
        assert all(entry.isfile() for entry in archive)
    verify(tmp_path / "unpacked" / "toy" / "3")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_same_version_gives_the_same_bytes(tmp_path):
    shutil.copytree(toy(), tmp_path / "toy")
    pack(toy() / "3", tmp_path / "one.tar.gz")
    pack(tmp_path / "toy" / "3", tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


def test_a_version_that_is_not_as_written_is_not_packed(tmp_path):
    shutil.copytree(toy(), tmp_path / "toy")
    (tmp_path / "toy" / "3" / "further").write_text("text")
    with pytest.raises(ValueError, match="further"):
        pack(tmp_path / "toy" / "3", tmp_path / "model.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def test_an_archive_is_not_written_over(tmp_path, capsys):
    (tmp_path / "model.tar.gz").write_text("mine")
    assert main(["pack", str(toy()), "--output", str(tmp_path / "model.tar.gz")]) == 2
    assert main(["pack", str(toy()), "--output", str(tmp_path / "model.zip")]) == 2
    assert (tmp_path / "model.tar.gz").read_text() == "mine"
    told = capsys.readouterr().err
    assert "output must not exist" in told
    assert "output must end with .tar.gz" in told
