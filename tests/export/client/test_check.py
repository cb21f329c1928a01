"""`python -m export check` says whether a SavedModel is what was exported."""

import json
import shutil

import pytest
from exported import exported
from fresh_process import fresh_process

from export.client.integrity import digests_below
from export.client.warmup import read_warm_ups, write_warm_ups


def check(folder, *options):
    return fresh_process().run("check", folder, *options)


def forget_hashes(folder):
    """As earlier releases wrote it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(exported("longt5-tglobal").folder / "1", tmp_path / "1")
    return tmp_path / "1"


def test_an_export_is_as_exported(copy):
    done = check(copy.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "TFText>FastSentencepieceTokenize" in done.stdout
    assert "summarize, 1 documents" in done.stdout
    assert done.stdout.endswith("as exported\n")
    assert done.stderr == ""


def test_another_answer_and_another_manifest_are_told(copy):
    warm_ups = list(read_warm_ups(copy))
    shutil.rmtree(copy / "assets.extra")
    answer = {**warm_ups[0].answer, "score": warm_ups[0].answer["score"] + 1}
    write_warm_ups(copy, "served", iter([warm_ups[0]._replace(answer=answer), *warm_ups[1:]]))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["signatures"]["serving_default"]["inputs"]["text"] = "int32 (None,)"
    del manifest["signatures"]["encode"]
    manifest["ops"].remove("TFText>FastSentencepieceTokenize")
    manifest["files"] = digests_below(copy)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    done = check(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "WRONG: signature encode is only in the SavedModel" in done.stdout
    assert "WRONG: inputs of serving_default must be {'text': 'int32 (None,)'}" in done.stdout
    assert "WRONG: score of serving_default (request 1) must be" in done.stdout
    assert "WRONG: ops must be those of the manifest. There is TFText>FastSentencepieceTokenize" in done.stdout
    assert "4 wrong" in done.stdout


def test_broken_weights_are_an_error(copy):
    (data,) = copy.glob("variables/variables.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    done = check(copy)
    assert done.returncode == 2
    assert "variables/variables.data-00000-of-00001 has another SHA-256" in done.stderr
    forget_hashes(copy)
    done = check(copy, "--unverified")
    assert done.returncode == 2
    assert "DIR must hold a whole SavedModel" in done.stderr


def test_an_export_without_hashes_is_loaded_when_it_is_asked_for_alone_and_with_a_warning(copy):
    forget_hashes(copy)
    done = check(copy)
    assert done.returncode == 2
    assert "Export it again, or load it as it is by --unverified" in done.stderr
    done = check(copy, "--unverified")
    assert done.returncode == 0, done.stderr
    assert f"warning: {copy} is loaded UNVERIFIED: it has no hashes" in done.stderr


def test_a_folder_without_a_manifest_is_an_error_that_says_so(copy):
    (copy / "manifest.json").write_text("{")
    done = check(copy)
    assert done.returncode == 2
    assert "DIR must hold the manifest.json of an export" in done.stderr
