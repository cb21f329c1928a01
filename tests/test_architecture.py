"""Arrows between the folders point one way, and files and functions stay short. The table: docs/architecture.md."""

import re

import architecture
import keras
from architecture import defined_names, families, modules, private_attributes, third_parties

# Methods of named tuples, which have no other name.
NAMED_TUPLE = {"_asdict", "_fields", "_replace"}
# `os._exit`, the documented way to end a process whose main thread is busy.
OS_EXIT = {"_exit"}


def modules_outside(*folders):
    return [name for name in modules() if not name.startswith(tuple(f"{folder}." for folder in folders))]


def test_imports_point_down():
    found = {name: architecture.forbidden_imports(name) for name in modules()}
    assert not {name: others for name, others in found.items() if others}


def test_no_files_import_each_other_in_a_circle():
    assert not architecture.circles()


def test_one_file_stands_beside_the_public_face():
    assert architecture.loose_files() == ["tfmodels.auto"]


def test_files_and_functions_stay_short():
    assert not architecture.long_files()
    assert not architecture.long_functions()


def test_kerass_internals_are_used_in_the_backend_alone():
    outside = modules_outside("tfmodels.backend", "benchmarks")
    assert not [name for name in outside if "keras.src" in modules()[name].read_text(encoding="utf-8")]
    ours = {defined for name in outside for defined in defined_names(name)} | NAMED_TUPLE | OS_EXIT
    foreign = {name: private_attributes(name) - ours for name in outside}
    assert not {name: attributes for name, attributes in foreign.items() if attributes}


def test_no_file_reads_or_writes_an_attribute_that_keras_keeps_for_itself():
    layer, optimizer = keras.layers.Dense(1), keras.optimizers.SGD()
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer=optimizer, loss="mse")
    keras_names = {name for part in (layer, model, optimizer) for name in dir(part) if re.match(r"_[a-z]", name)}
    # A file without Keras may call an attribute of its own as it likes.
    with_keras = [name for name in modules_outside("tfmodels.backend", "benchmarks") if "keras" in third_parties(name)]
    taken = {name: private_attributes(name) & keras_names for name in with_keras}
    assert not {name: attributes for name, attributes in taken.items() if attributes}


def test_no_class_overrides_an_internal_method_of_keras_by_its_own_name():
    keras_names = {*dir(keras.Model), *dir(keras.layers.Layer)}
    taken = {name: architecture.private_methods(name) & keras_names for name in modules_outside("tfmodels.backend")}
    assert not {name: methods for name, methods in taken.items() if methods}


def test_a_familys_name_stands_in_its_folder_the_registry_and_the_public_face_alone():
    assert len(families()) >= 2
    prefixes = [modules()[f"tfmodels.{family}"].read_text(encoding="utf-8") for family in families()]
    classes = [re.search(r"config=(\w+)Config", text)[1] for text in prefixes]
    pattern = re.compile(rf"\b({'|'.join(families())})\b|\b({'|'.join(classes)})(\b|[A-Z][a-z])")
    # An attention layer is named after the paper that it is from; the tools and the demonstration choose models.
    tools = ("accelerators", "benchmarks", "training.demo")
    own = ("tfmodels.layers.attention", *tools, *(f"tfmodels.{family}" for family in families()))
    others = [name for name in modules_outside(*own) if name not in (*own, "tfmodels", "tfmodels.auto")]
    found = {name: {text for text in architecture.code_names(name) if pattern.search(text)} for name in others}
    assert not {name: texts for name, texts in found.items() if texts}
