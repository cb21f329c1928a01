"""`python -m export check` says whether a SavedModel is what was exported."""

import json
import shutil

import pytest
from exported import exported, toy
from fresh_process import fresh_process

from export.client.check import check as failures_of
from export.client.integrity import digests_below
from export.client.untrusted import printable
from export.client.warmup import PATH, WarmUp, read_warm_ups, write_warm_ups


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


@pytest.fixture
def toy_copy(tmp_path):
    shutil.copytree(toy() / "3", tmp_path / "3")
    return tmp_path / "3"


def hash_again(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": digests_below(folder)}))


def test_warm_up_requests_that_no_server_would_answer_are_told_one_by_one(toy_copy):
    good = WarmUp("classify", {"text": [b"a"]}, {"label": [b"short"]})
    bad = [
        good._replace(signature="tr\x1banslate"),
        good._replace(request={"texts": [b"a"]}),
        good._replace(request={"text": [1]}),
        good._replace(request={"text": [[b"a"]]}),
        good._replace(answer={"other": [1]}),
        WarmUp("summarize", {"text": [b"a"], "max_new_tokens": [1], "num_return_sequences": [-1]}, {}),
    ]
    write_warm_ups(toy_copy, "toy", iter([good, *bad, good]))
    hash_again(toy_copy)
    found = failures_of(toy_copy)
    wanted = [
        r"tr\x1banslate (request 2) must be for a signature",
        "classify (request 3) must have the inputs text. It has texts",
        "classify (request 4) must have inputs of the signature's types",
        "label of classify (request 5) must be",
        "other of classify (request 6) must be",
        "summarize (request 7) must be answered",
    ]
    for start, failure in zip(wanted, found, strict=True):
        assert printable(failure).startswith(start)


def test_more_warm_up_requests_than_a_server_takes_and_no_requests_at_all_are_told(toy_copy, monkeypatch):
    monkeypatch.setattr("export.client.warmup.MOST", 2)
    good = WarmUp("classify", {"text": [b"a"]}, {})
    write_warm_ups(toy_copy, "toy", iter([good] * 3))
    hash_again(toy_copy)
    assert failures_of(toy_copy) == [f"{PATH} must hold at most 2 requests, as many as a server takes. It holds more"]
    (toy_copy / PATH).write_bytes((toy_copy / PATH).read_bytes()[:-5])
    hash_again(toy_copy)
    (failure,) = failures_of(toy_copy)
    assert failure.startswith(f"{PATH} must hold requests. Received: ")


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
