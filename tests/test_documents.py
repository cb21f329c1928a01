"""What README and docs say: snippets run, commands parse, paths and links exist, lines and pictures are small.

On 2 cores the snippets take 45 seconds together, most of it compiling.
"""

import argparse
import importlib
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import jsonargparse
import pytest
from documents import ABSTRACTS, ARTICLES, SHRINK, make_checkpoints

import tfmodels

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS}
MIXED = [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "export" / "serving" / "README.md"]
TOP_FOLDERS = ("tfmodels", "training", "export", "benchmarks", "accelerators", "tests", "docs", "examples")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


WITH_SNIPPETS = [name for name, text in TEXTS.items() if blocks(text, "python")]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    make_checkpoints(folder)
    return folder


def shrunk(snippet):
    """The snippet with lengths of 1,024 tokens and more divided; names of checkpoints hold a length as well."""
    return re.sub(r"(?<![\w-])\d{4,5}\b", lambda found: str(int(found[0]) // SHRINK), snippet)


@pytest.mark.filterwarnings("ignore:Gradients do not exist", "ignore:.*holds other numbers of positions")
@pytest.mark.parametrize("name", WITH_SNIPPETS)
def test_every_snippet_runs_in_order(name, workplace, tmp_path, monkeypatch):
    for checkpoints in ("allenai", "google"):
        (tmp_path / checkpoints).symlink_to(workplace / checkpoints)
    monkeypatch.chdir(tmp_path)
    names = {"articles": ARTICLES, "abstracts": ABSTRACTS}
    for snippet in blocks(TEXTS[name], "python"):
        exec(compile(shrunk(snippet), name, "exec"), names)
    if name == "README.md":
        assert len(names["summaries"]) == len(ARTICLES)
        assert names["regressor"].output_shape == (None, 1)
        assert (tmp_path / "served" / "led" / "1" / "saved_model.pb").is_file()
    if name == "generation.md":
        assert names["log_probabilities"].shape == (2,)
        assert names["next_logits"].shape[:2] == (2, 1)
    if name == "tokenizers.md":
        assert names["questions"]["offsets"].shape == (2, 1024 // SHRINK, 2)
        assert names["layer_ids"].shape == (2, 1024 // SHRINK)


def test_the_readme_has_five_short_snippets():
    snippets = blocks(TEXTS["README.md"], "python")
    assert len(snippets) == 5
    assert max(snippet.count("\n") for snippet in snippets) <= 10
    assert TEXTS["README.md"].count("\n") <= 120


def commands():
    """Each command line of the documents, as the words after the name of its program."""
    for name, text in TEXTS.items():
        for block in blocks(text, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words:
                    yield name, words


COMMANDS = [*commands()]
OWN = {
    "tfmodels-train": "training",
    "tfmodels-export": "export",
}


def own_program(words):
    """The module and arguments of a command that runs one of ours, else None."""
    if words[0] in OWN:
        return OWN[words[0]], words[1:]
    if words[0] in ("python", ".venv/bin/python") and words[1] == "-m":
        return words[2], words[3:]
    return None


class _Parsed(Exception):
    pass


def test_every_command_line_parses(monkeypatch, tmp_path):
    """With the programs' own parsers, up to where they would begin to work; a YAML block has its file's name on top."""
    monkeypatch.chdir(tmp_path)
    for text in TEXTS.values():
        for block in blocks(text, "yaml"):
            Path(block.splitlines()[0].removeprefix("# ")).write_text(block)

    def stop(parse):
        def parse_and_stop(parser, *arguments, **further):
            parse(parser, *arguments, **further)
            raise _Parsed

        return parse_and_stop

    for method in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(argparse.ArgumentParser, method, stop(getattr(argparse.ArgumentParser, method)))
    monkeypatch.setattr(jsonargparse.ArgumentParser, "parse_args", stop(jsonargparse.ArgumentParser.parse_args))
    ran = set()
    for name, words in COMMANDS:
        module, arguments = own_program(words) or (None, [])
        if module in (None, "pytest", "benchmarks.imports"):  # the last takes no arguments
            continue
        monkeypatch.setattr("sys.argv", [module, *arguments])
        program = importlib.import_module(module if "." in module else f"{module}.__main__")
        try:
            program.main()
        except _Parsed:
            ran.add(module)
        except SystemExit as error:
            raise AssertionError(f"{name}: {shlex.join(words)}") from error
    assert ran >= {"training", "export", "benchmarks"}


def test_every_target_of_make_exists():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for name, text in TEXTS.items():
        for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", text, re.MULTILINE):
            assert target in targets, (name, target)


@pytest.mark.parametrize("path", MIXED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_and_link_exists(path):
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        target, _, section = link.partition("#")
        if target.startswith("https://"):
            continue
        linked = (path.parent / target) if target else path
        assert linked.exists(), link
        if section:
            titles = re.findall(r"^#+ (.*)", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert section in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], link
    named = re.findall(rf"`((?:{'|'.join(TOP_FOLDERS)})/[\w./-]*)`", text)
    for name in named:
        assert (ROOT / name).exists() or (ROOT / f"{name}.py").exists(), name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_lines_are_short(path):
    long = [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 150]
    assert not long


def test_pictures_are_small():
    for path in (ROOT / "docs").rglob("*.png"):
        assert path.stat().st_size < 60_000, path


def test_the_plot_shows_what_the_table_says():
    figures = json.loads((ROOT / "docs" / "performance" / "encode.json").read_text(encoding="utf-8"))
    for family, sides in figures["families"].items():
        job = family.replace(" base", "").replace(",", "")
        for tokens, seconds in sides["ours"].items():
            row = rf"\| {job} encode, {int(tokens):,}(?: tokens)? \| ([\d.]+) / ([\d.]+) \|"
            found = re.search(row, TEXTS["performance.md"])
            assert [float(number) for number in found.groups()] == [sides["theirs"][tokens], seconds]


def test_every_public_name_of_the_readme_is_there():
    modules = {path.stem for path in (ROOT / "tfmodels").iterdir()}
    for text in TEXTS.values():
        for name in re.findall(r"`?tfmodels\.([A-Za-z]\w+)", text):
            if name not in modules:
                assert name in tfmodels.__all__, name


def test_shell_scripts_are_sound():
    for path in sorted({*ROOT.glob("examples/*.sh"), *ROOT.glob("tests/*.sh"), *ROOT.glob("export/serving/*.sh")}):
        assert os.access(path, os.X_OK), path
        subprocess.run(["bash", "-n", path], check=True)
