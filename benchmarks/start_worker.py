"""From an empty process to the second run of one program: prints what each stage takes as one JSON line.

python -m benchmarks.start_worker led train 64 --size tiny --model out/led-tiny
python -m benchmarks.start_worker led make 64 --size tiny --model out/led-tiny
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.models import FAMILIES, NEW_TOKENS, SIZES, class_name, config_fields, make_inputs
from benchmarks.stages import Stages
from benchmarks.task import BACKENDS, positive
from export.client.strict_json import dumped

TRAIN, GENERATE, MAKE = "train", "generate", "make"
JOBS = (TRAIN, GENERATE)
TO_FIRST_RUN = ("import", "build", "load", "trace", "compile", "first run")
_LEARNING_RATE = 1e-4


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run the stages of a process.

    Returns:
        "stages", each with "seconds", "cpu_seconds" and "peak_gb"; "operations" of the program as it was traced, those
        of its functions among them; "peak_gb" of the process; "programs", what a folder of compiled programs is for,
        or None.
    """
    stages = Stages()
    stages.run("import", lambda: _import(options.backend))
    programs = _keep_programs(options)
    model = stages.run("build", lambda: _build(options))
    stages.run("load", lambda: _load(model, options.model))
    run = (_on_jax if options.backend == "jax" else _on_tensorflow)(model, options, stages)
    stages.run("second run", run)
    return {
        "stages": stages.figures,
        "operations": options.operations,
        "peak_gb": max(figures["peak_gb"] for figures in stages.figures.values()),
        "programs": None if programs is None else str(programs),
    }


def _import(backend: str) -> None:
    import keras  # noqa: F401

    import tfmodels

    if backend == "jax":
        import jax  # noqa: F401
    else:
        import tensorflow  # noqa: F401
    tfmodels.LEDForConditionalGeneration, tfmodels.LongT5ForConditionalGeneration  # noqa: B018


def _keep_programs(options: argparse.Namespace) -> Path | None:
    if options.programs is None:
        return None
    from tfmodels.backend.kept_programs import keep_programs

    return keep_programs(options.programs)


def _model_class(options: argparse.Namespace) -> Any:
    import tfmodels

    return getattr(tfmodels, class_name(options.family, "ForConditionalGeneration"))


def _build(options: argparse.Namespace) -> Any:
    from tfmodels.backend.initializers import filled_from_file

    with filled_from_file():
        return _model_class(options)(_model_class(options).config_class.from_json(options.model / "config.json"))


def _load(model: Any, folder: Path) -> None:
    from tfmodels.checkpoints.loading import load_checkpoint

    load_checkpoint(model.weights_root(), model.weight_map(model.config).rules, folder, str(folder))


def _make(options: argparse.Namespace) -> None:
    """Write a model with random weights."""
    import keras

    _import(options.backend)
    keras.utils.set_random_seed(0)
    fields = config_fields(options.family, options.size, options.length)
    _model_class(options)(_model_class(options).config_class(**fields)).save_pretrained(options.model)


def _arrays(options: argparse.Namespace) -> dict[str, Any]:
    import keras

    arrays = make_inputs(options.family, options.size, options.length, labels=options.job == TRAIN)
    return {name: keras.ops.convert_to_tensor(array) for name, array in arrays.items()}


def _search(model: Any, options: argparse.Namespace) -> Callable[[dict[str, Any]], Any]:
    tokens = NEW_TOKENS[options.size]
    return lambda inputs: model.generate(**inputs, max_new_tokens=tokens, min_length=tokens + 1)


def _prepared_to_train(model: Any) -> None:
    import tfmodels

    model.compile(optimizer=tfmodels.AdamW(_LEARNING_RATE), jit_compile=True)
    model.optimizer.build(model.trainable_variables)


def _on_tensorflow(model: Any, options: argparse.Namespace, stages: Stages) -> Callable[[], Any]:
    """Trace, compile and run; XLA compiles within the first run, which the second one's time is taken from."""
    import tensorflow as tf

    inputs = _arrays(options)
    if options.job == TRAIN:
        _prepared_to_train(model)
    function = model.train_step if options.job == TRAIN else _search(model, options)
    program = tf.function(function, jit_compile=True, autograph=False)
    data: Any = (inputs,) if options.job == TRAIN else inputs
    concrete = stages.run("trace", lambda: program.get_concrete_function(data))
    graph = concrete.graph.as_graph_def()
    options.operations = len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

    def run() -> None:
        for value in tf.nest.flatten(program(data)):
            value.numpy()

    stages.run("compile", run)
    stages.run("first run", run)
    stages.subtract("compile", "first run")
    return run


def _on_jax(model: Any, options: argparse.Namespace, stages: Stages) -> Callable[[], Any]:
    """Trace, lower, compile and run."""
    import jax

    data: Any = _arrays(options)
    if options.job == TRAIN:
        _prepared_to_train(model)
        variables = [model.trainable_variables, model.non_trainable_variables]
        variables += [model.optimizer.variables, model.metrics_variables]
        state: Any = tuple([variable.value for variable in some] for some in variables)
        function, data = model.train_step, (data,)
    else:
        from tfmodels.backend.autocast import scope_of_values

        state, search = [variable.value for variable in model.variables], _search(model, options)

        def function(values: Any, inputs: Any) -> Any:
            with scope_of_values(model.variables, values):
                return search(inputs)

    program = jax.jit(function, donate_argnums=0 if options.job == TRAIN else ())
    traced = stages.run("trace", lambda: program.trace(state, data))
    options.operations = _equations(traced.jaxpr.jaxpr)
    compiled = stages.run("compile", lambda: traced.lower().compile())
    results: list[Any] = [state]

    def run() -> None:
        done = jax.block_until_ready(compiled(results[0], data))
        if options.job == TRAIN:
            results[0] = done[1]

    stages.run("first run", run)
    return run


def _equations(jaxpr: Any) -> int:
    """The equations of a program, those of the programs within each of them among them."""
    import jax

    inner = 0
    for equation in jaxpr.eqns:
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
            found = getattr(value, "jaxpr", value)
            inner += _equations(found) if hasattr(found, "eqns") else 0
    return len(jaxpr.eqns) + inner


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a worker's command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.start_worker", allow_abbrev=False)
    parser.add_argument("family", choices=tuple(FAMILIES))
    parser.add_argument("job", choices=(*JOBS, MAKE))
    parser.add_argument("length", type=positive)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--backend", choices=BACKENDS, default="tensorflow")
    parser.add_argument("--model", type=Path, required=True, help="the folder of a checkpoint")
    parser.add_argument("--programs", type=Path, help="the folder of compiled programs (default: none)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one worker."""
    options = parse(arguments)
    os.environ["KERAS_BACKEND"] = options.backend
    if options.backend != "jax":
        # TensorFlow imports a JAX that happens to be there, which would count as its own.
        sys.modules["jax"] = None  # type: ignore[assignment]
    if options.job == MAKE:
        _make(options)
        print(dumped({}), flush=True)
        return
    print(dumped(measure(options)), flush=True)


if __name__ == "__main__":
    main()
