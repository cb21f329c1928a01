"""Exports that were tampered with are refused by name, and nothing of them is loaded or run.

Each is a copy of one export. Its graph writes a file when it is loaded, where the tampering added the op that does.
"""

import json
import os
import shutil

import pytest
import tensorflow as tf
from exported import exported, toy
from tensorflow.core.protobuf import saved_model_pb2

from export.__main__ import main
from export.client.integrity import SIGNATURE, digests_below
from export.client.manifest_file import FILE_NAME as MANIFEST
from export.client.saved_model_client import SavedModel, load_saved_model
from export.client.verification import Trust, verify
from export.client.warmup import PATH as WARM_UP

WEIGHTS = "variables/variables.data-00000-of-00001"
CANARY = "written-by-the-graph"


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(exported("led").folder / "1", tmp_path / "served" / "1")
    return tmp_path / "served" / "1"


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_manifest(folder, change):
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def hash_again(folder):
    """What somebody does who can write to the folder and has no key."""
    edit_manifest(folder, lambda manifest: manifest.update(files=digests_below(folder)))


def edit_graph(folder, change):
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    change(saved_model.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())


def initializer(meta):
    """A function that every loader runs."""
    return next(one for one in meta.graph_def.library.function if "initializer" in one.signature.name)


def write_file_when_loaded(folder, branch_of=None):
    """`branch_of`: by an op that takes functions for branches, and is given the name of another op."""

    def change(meta):
        function = initializer(meta)
        values = {"path": str(folder.parent / CANARY), "content": "here", "choice": branch_of == "If" or 0}
        for name, value in values.items():
            node = function.node_def.add(name=f"canary_{name}", op="Const")
            proto = tf.make_tensor_proto(value)
            node.attr["dtype"].type = proto.dtype
            node.attr["value"].tensor.CopyFrom(proto)
        inputs = [f"canary_{name}:output:0" for name in ("choice", "path", "content")]
        node = function.node_def.add(name="canary", op=branch_of or "WriteFile", input=inputs[branch_of is None :])
        if branch_of is not None:
            node.attr["Tin"].list.type.extend([tf.string.as_datatype_enum] * 2)
            node.attr["Tout"].list.SetInParent()
            node.attr["_lower_using_switch_merge"].b = True
        if branch_of == "If":
            node.attr["Tcond"].type = tf.bool.as_datatype_enum
            for name in ("then_branch", "else_branch"):
                node.attr[name].func.name = "WriteFile"
        elif branch_of == "Case":
            node.attr["branches"].list.func.add(name="WriteFile")
        function.control_ret["canary"] = "canary"
        function.signature.control_output.append("canary")

    edit_graph(folder, change)
    hash_again(folder)


def restoring(meta):
    """The function that restores the weights."""
    return next(one for one in meta.graph_def.library.function if "traced_restore" in one.signature.name)


def restore_from_elsewhere(meta):
    """Another prefix of variables than the loader's, as of another model, in the loader's own function."""
    function = restoring(meta)
    node = function.node_def.add(name="elsewhere", op="Const")
    node.attr["dtype"].type = tf.string.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("gs://elsewhere/variables"))
    next(node for node in function.node_def if node.op == "RestoreV2").input[0] = "elsewhere:output:0"


def restore_once_more(meta):
    node = meta.graph_def.node.add(name="once_more", op="StatefulPartitionedCall", input=["elsewhere"])
    node.attr["f"].func.name = restoring(meta).signature.name


def restore_in_a_branch(meta):
    node = initializer(meta).node_def.add(name="once_more", op="While")
    node.attr["body"].func.name = restoring(meta).signature.name


def take_the_path_from_requests(meta):
    meta.signature_def["serving_default"].inputs["path"].name = meta.saver_def.filename_tensor_name


def have_a_path_of_ones_own(meta):
    name = meta.saver_def.filename_tensor_name.partition(":")[0]
    next(node for node in meta.graph_def.node if node.name == name).op = "Const"


def offer_to_restore(meta):
    meta.object_graph_def.concrete_functions[restoring(meta).signature.name].SetInParent()


def regraphed(change):
    """A graph that is changed, with hashes to match."""
    return lambda folder: (edit_graph(folder, change), hash_again(folder))


def two_graphs(folder):
    path = folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    saved_model.meta_graphs.add().CopyFrom(saved_model.meta_graphs[0])
    path.write_bytes(saved_model.SerializeToString())
    hash_again(folder)


def swell(path):
    """A file of a terabyte that takes no room."""
    os.truncate(path, 1 << 40)


def key_twice(folder):
    """The hashes that another reader finds, which takes the first of two keys, are those of other weights."""
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text('{"files": {"README.md": "%s"},' % ("0" * 64) + text[1:])


def a_pipe_for(path):
    path.unlink()
    os.mkfifo(path)


def look_alike(folder):
    """A name with digits that no server reads."""
    name = "variables/variables.data-\uff10\uff10\uff10\uff10\uff10-of-\uff10\uff10\uff10\uff10\uff11"
    shutil.copy(folder / WEIGHTS, folder / name)
    edit_manifest(folder, lambda manifest: manifest["files"].update({name: manifest["files"][WEIGHTS]}))


def add_op(folder, op, to_library):
    def change(meta):
        nodes = initializer(meta).node_def if to_library else meta.graph_def.node
        nodes.add(name="added", op=op)

    edit_graph(folder, change)
    hash_again(folder)
    edit_manifest(folder, lambda manifest: manifest["ops"].append(op))


def another_vocabulary(folder):
    """Two tokens take each other's place in the table of the tokenizer."""

    def change(meta):
        tables = [node for node in meta.graph_def.node if node.op == "Const" and node.attr["dtype"].type == 7]
        texts = max((node.attr["value"].tensor for node in tables), key=lambda tensor: len(tensor.string_val))
        texts.string_val[0], texts.string_val[1] = texts.string_val[1], texts.string_val[0]

    edit_graph(folder, change)


def take_another_graph(folder):
    shutil.copy(toy() / "3" / "saved_model.pb", folder)


def replace_by_link(folder, name):
    target = folder.parent / "elsewhere"
    (folder / name).rename(target)
    (folder / name).symlink_to(target)


def add_file(folder, name, content="x"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


# What somebody does without rewriting the manifest, or in vain: found without a signature.
TAMPERED = {
    "a bit of the weights": (lambda at: flip(at / WEIGHTS), f"{WEIGHTS} has another SHA-256"),
    "a bit of the index": (lambda at: flip(at / "variables/variables.index"), "variables.index has another SHA-256"),
    "another vocabulary": (another_vocabulary, "saved_model.pb has another SHA-256"),
    "another graph": (take_another_graph, "saved_model.pb has another SHA-256"),
    "another warm-up": (lambda at: flip(at / WARM_UP), f"{WARM_UP} has another SHA-256"),
    "another card": (lambda at: flip(at / "README.md"), "README.md has another SHA-256"),
    "another bill": (lambda at: flip(at / "model.cdx.json"), "model.cdx.json has another SHA-256"),
    "a graph that writes a file": (write_file_when_loaded, "saved_model.pb holds the op WriteFile"),
    "a branch that is an op": (
        lambda at: write_file_when_loaded(at, "If"),
        "saved_model.pb calls the function WriteFile",
    ),
    "branches that are ops": (
        lambda at: write_file_when_loaded(at, "Case"),
        "saved_model.pb calls the function WriteFile",
    ),
    "weights from elsewhere": (regraphed(restore_from_elsewhere), "from a path that is not its first argument"),
    "weights once more": (regraphed(restore_once_more), "restores in the node once_more, which is not the loader's"),
    "weights in a branch": (regraphed(restore_in_a_branch), "restores in the function .*initializer.*not the loader's"),
    "weights by request": (
        regraphed(take_the_path_from_requests),
        "path of the variables from requests to serving",
    ),
    "weights for callers": (regraphed(offer_to_restore), "offers the function .*traced_restore.*, which restores"),
    "a path in the graph": (
        regraphed(have_a_path_of_ones_own),
        "a path of its own for the variables, in saver",
    ),
    "an asset as of TensorFlow 1": (
        regraphed(lambda meta: meta.collection_def["saved_model_assets"].any_list.SetInParent()),
        "holds the collection 'saved_model_assets'",
    ),
    "two graphs": (two_graphs, "saved_model.pb holds 2 graphs"),
    "Python in the graph": (lambda at: add_op(at, "EagerPyFunc", False), "saved_model.pb holds the op EagerPyFunc"),
    "a file read in a function": (lambda at: add_op(at, "ReadFile", True), "saved_model.pb holds the op ReadFile"),
    "a function for an op": (
        lambda at: (edit_graph(at, lambda m: setattr(initializer(m).signature, "name", "AddV2")), hash_again(at)),
        "a function by the name of the op AddV2",
    ),
    "an asset outside": (
        lambda at: (edit_graph(at, lambda m: m.asset_file_def.add(filename="../../secret")), hash_again(at)),
        "names the asset '../../secret'",
    ),
    "a cut graph": (
        lambda at: (cut(at / "saved_model.pb"), hash_again(at)),
        "saved_model.pb is not the file of a whole",
    ),
    "an empty graph": (
        lambda at: ((at / "saved_model.pb").write_bytes(b""), hash_again(at)),
        "saved_model.pb is not the file of a whole SavedModel .it holds no graph",
    ),
    "a link for the weights": (lambda at: replace_by_link(at, WEIGHTS), f"{WEIGHTS} is a symbolic link"),
    "a link for a folder": (lambda at: replace_by_link(at, "variables"), "variables is a symbolic link"),
    "a link for the manifest": (lambda at: replace_by_link(at, MANIFEST), "manifest.json .*it is a link"),
    "a pipe": (lambda at: os.mkfifo(at / "assets" / "pipe"), "assets/pipe is a special file"),
    "another form of the graph": (
        lambda at: add_file(at, "saved_model.cpb"),
        "saved_model.cpb is no file of an export",
    ),
    "the graph as text": (lambda at: add_file(at, "saved_model.pbtxt"), "saved_model.pbtxt is no file of an export"),
    "another fingerprint": (lambda at: add_file(at, "fingerprint.pb"), "fingerprint.pb is no file of an export"),
    "a name in capitals": (lambda at: add_file(at, "Manifest.json", "{}"), "Manifest.json is no file of an export"),
    "a name that looks alike": (look_alike, "variables.data-.* is no file of an export"),
    "a name that writes a line": (
        lambda at: add_file(at, "x\n\x1b[2K1: as signed"),
        r"x\\n\\x1b\[2K1: as signed is no file of an export",
    ),
    "a pipe for the graph": (
        lambda at: a_pipe_for(at / "saved_model.pb"),
        "saved_model.pb is a special|must hold a",
    ),
    "a pipe for the manifest": (lambda at: a_pipe_for(at / MANIFEST), "manifest.json .*it is a special file"),
    "a manifest of a terabyte": (lambda at: swell(at / MANIFEST), "manifest.json .*1,099,511,627,776 bytes"),
    "a key that stands twice": (key_twice, "manifest.json .*a key stands twice"),
    "a file in a new folder": (lambda at: add_file(at, "plugins/op.so"), "plugins is a folder"),
    "weights that nobody listed": (
        lambda at: add_file(at, "variables/variables.data-00001-of-00002"),
        "variables.data-00001-of-00002 is not in the manifest",
    ),
    "no weights": (lambda at: (at / WEIGHTS).unlink(), f"{WEIGHTS} is missing"),
    "an older version under a new number": (lambda at: at.rename(at.with_name("2")), "the folder must be named 1"),
    "a link by a new number": (lambda at: at.with_name("2").symlink_to(at), "the folder must be named 1"),
    "a path out of the folder": (
        lambda at: edit_manifest(at, lambda manifest: manifest["files"].update({"../../secret": "0" * 64})),
        "'../../secret' in the manifest is no name",
    ),
    "hashes of a wrong type": (
        lambda at: edit_manifest(at, lambda manifest: manifest.update(files=["saved_model.pb"])),
        "DIR must hold the manifest.json of an export",
    ),
    "a hash of a wrong type": (
        lambda at: edit_manifest(at, lambda manifest: manifest["files"].update({"README.md": 7})),
        "files holds the SHA-256 of each file",
    ),
    "a manifest without end": (lambda at: (at / MANIFEST).write_text("[" * 100_000), "must hold the manifest.json"),
    "no hashes": (
        lambda at: edit_manifest(at, lambda manifest: manifest.pop("files")),
        "Export it again, or load it as it is by --unverified",
    ),
}
# What somebody can do who rewrites the manifest: found by a signature alone.
REHASHED = {
    "other weights": lambda at: flip(at / WEIGHTS),
    "another vocabulary": another_vocabulary,
    "another warm-up": lambda at: flip(at / WARM_UP),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_export_is_refused_by_name_before_anything_of_it_is_loaded(name, copy):
    tamper, message = TAMPERED[name]
    tamper(copy)
    folder = max(child for child in copy.parent.iterdir() if child.is_dir() and child.name.isdigit())
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        SavedModel(folder)
    assert not (copy.parent / CANARY).exists()


@pytest.mark.parametrize("branch_of", [None, "If", "Case"])
def test_an_op_that_writes_would_have_written(branch_of, copy):
    write_file_when_loaded(copy, branch_of)
    load_saved_model(exported("led").folder / "1")  # with the ops of its text
    # In a session, as servers do: Python's own loader does not take a branch that is an op.
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        tf.compat.v1.saved_model.load(session, ["serve"], str(copy))
    assert (copy.parent / CANARY).read_text() == "here"


def test_an_export_is_as_written_and_its_graph_holds_no_op_that_saves(copy):
    verify(copy)
    graph = saved_model_pb2.SavedModel.FromString((copy / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    ops = {
        node.op for holder in (graph, *graph.library.function) for node in getattr(holder, "node_def", ()) or graph.node
    }
    assert "RestoreV2" in ops
    assert not {op for op in ops if "Save" in op or "Checkpoint" in op or "File" in op}
    bill = json.loads((copy / "model.cdx.json").read_text())
    manifest = json.loads((copy / MANIFEST).read_text())
    assert {"model.cdx.json", *(part["name"] for part in bill["components"])} == set(manifest["files"])


def test_ops_of_ones_own_are_allowed_by_name(copy):
    add_op(copy, "ReadFile", to_library=True)
    verify(copy, Trust(allow_ops=("ReadFile",)))


@pytest.fixture
def signed(copy, keys):
    from export.client.sign import sign

    sign(copy, keys / "key.pem")
    verify(copy, Trust(public_key=keys / "key.pub"))
    return copy


@pytest.mark.parametrize("name", REHASHED)
def test_hashes_that_were_rewritten_need_a_signature_to_be_found(name, signed, keys):
    REHASHED[name](signed)
    hash_again(signed)
    verify(signed)
    with pytest.raises(ValueError, match=f"{SIGNATURE} is not a signature of these files by that key"):
        SavedModel(signed, Trust(public_key=keys / "key.pub"))


def test_a_signature_of_another_key_none_and_one_that_is_broken_are_refused(signed, keys):
    for change, message in (
        (lambda: None, "is not a signature of these files by that key"),
        (lambda: flip(signed / SIGNATURE), "is not a signature of these files by that key"),
        ((signed / SIGNATURE).unlink, "is missing: it is not signed"),
    ):
        change()
        with pytest.raises(ValueError, match=f"{SIGNATURE} {message}"):
            verify(signed, Trust(public_key=keys / "other.pub"))


def test_a_file_that_is_no_such_key_is_named_and_no_fault_of_the_export(copy, keys, tmp_path, capsys, monkeypatch):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    other = ed25519.Ed25519PrivateKey.generate()
    locked = serialization.load_pem_private_key((keys / "key.pem").read_bytes(), None)
    wrong = {
        "other.pem": other.private_bytes(pem, pkcs8, serialization.NoEncryption()),
        "other.pub": other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo),
        "locked.pem": locked.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret")),
        "junk": b"junk",
        "nothing": b"",
    }
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        for command, option in (("sign", "--private-key"), ("verify", "--public-key")):
            assert main([command, str(copy), option, str(tmp_path / name)]) == 2
            told = capsys.readouterr()
            assert told.err.startswith(f"error: {option} must be a key of the curve P-256")
            assert f"{tmp_path / name} (" in told.err
            assert not told.out
    # The folder that one is in has no name.
    monkeypatch.chdir(copy)
    assert main(["sign", ".", "--private-key", str(keys / "key.pem")]) == 0
    assert main(["verify", ".", "--public-key", str(keys / "key.pub")]) == 0


def test_the_programs_sign_and_verify_without_a_network(copy, keys, capsys):
    assert main(["sign", str(copy.parent), "--private-key", str(keys / "key.pem")]) == 0
    capsys.readouterr()
    assert main(["verify", str(copy.parent), "--all", "--public-key", str(keys / "key.pub")]) == 0
    assert capsys.readouterr().out == f"{copy}: as signed\n"
    assert main(["verify", str(copy), "--public-key", str(keys / "other.pub")]) == 1
    assert capsys.readouterr().out.startswith("WRONG: DIR must hold an export as it was written.")
    assert main(["verify", str(copy)]) == 0
    assert "NO SIGNATURE was asked for" in capsys.readouterr().out
