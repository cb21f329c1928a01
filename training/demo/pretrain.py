"""Train the small models of `tfmodels/pretrained` anew: `python -m training.demo.pretrain --model longt5-python`.

Four parts, each left out where it is done, so that the same command goes on where it was stopped: the corpus of the
installed Python (see `corpus`), a vocabulary with a model's first weights, the stages of training, and the folder with
weights in bfloat16.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from training.config import Config, Data, Evaluation, Lengths, Optim, Steps
from training.demo.corpus import make_corpus, versions
from training.program import INTERRUPTED

SEED = 0


@dataclass(frozen=True)
class Recipe:
    """How a model comes about.

    Attributes:
        preset: the small model, by the name of its sizes.
        vocabulary: (rows, size) -> a tokenizer.
        vocab_size: its size.
        target: tokens of a sentence.
        steps: steps of each stage.
        generation: settings of generation, chosen on validation rows.
    """

    preset: str
    vocabulary: Callable[[Iterable[tuple[str, str]], int], Any]
    vocab_size: int
    target: int
    steps: tuple[int, ...]
    generation: dict[str, Any]


def recipes() -> dict[str, Recipe]:
    """The models by name."""
    from training.demo.vocabulary import train_led_tokenizer, train_longt5_tokenizer

    longt5 = Recipe("longt5-tglobal-small", train_longt5_tokenizer, 5120, 32, LONGT5_STEPS, GENERATION)
    led = Recipe("led-small", train_led_tokenizer, 7168, 40, LED_STEPS, GENERATION | {"max_new_tokens": 40})
    return {"longt5-python": longt5, "led-python": led}


LONGT5_STEPS = (6000, 1200, 200)
# A signal stopped the first stage of the packaged model at this step.
LED_STEPS = (5752, 1200, 200)
GENERATION = {"num_beams": 4, "no_repeat_ngram_size": 2, "repetition_penalty": 1.6, "max_new_tokens": 32}


def stages(recipe: Recipe, corpus: Path, start: Path, output: Path) -> list[Config]:
    """The settings of the training runs, in order: each starts from the model of the one before."""
    denoising, sentences, documents = recipe.steps
    both = (str(corpus / "train.jsonl"), str(corpus / "pretrain.jsonl"))
    plans: list[tuple[str, tuple[str, ...], Lengths, Optim, int]] = [
        ("1-denoising", both, Lengths((64, 128), 32, 16384), _optim(2e-2, "constant", 200), denoising),
        ("2-sentences", both[:1], Lengths((64, 128, 256), recipe.target, 4096), _optim(1e-2, "linear", 50), sentences),
        ("3-documents", both[:1], Lengths((256, 1024), recipe.target, 8192), _optim(3e-3, "linear", 20), documents),
    ]
    configs: list[Config] = []
    for name, files, lengths, optim, steps in plans:
        configs.append(
            Config(
                model=str(start if not configs else configs[-1].output / "model"),
                output=output / name,
                seed=SEED,
                data=Data(files, str(corpus / "validation.jsonl"), str(corpus / "test.jsonl")),
                lengths=lengths,
                optim=optim,
                steps=Steps(max_steps=steps, evaluate_every=400, checkpoint_minutes=5.0),
                evaluation=Evaluation(loss_rows=400, rouge_rows=0, test_rows=100),
            )
        )
    return configs


def _optim(learning_rate: float, schedule: Any, warmup: int) -> Optim:
    return Optim("adafactor", learning_rate, schedule, warmup, weight_decay=0.0, accumulate=1)


def create_start(recipe: Recipe, corpus: Path, folder: Path) -> None:
    """Write a tokenizer, and a model with its first weights."""
    import keras

    from tfmodels.utils.files import written_whole
    from training.demo.first_vectors import share_vectors
    from training.presets import PRESETS

    rows = [row for name in ("train", "pretrain") for row in _rows(corpus / f"{name}.jsonl")]
    keras.utils.set_random_seed(SEED)
    tokenizer = recipe.vocabulary(_shuffled(rows), recipe.vocab_size)
    model = PRESETS[recipe.preset].create_model(tokenizer, tie_word_embeddings=True)
    share_vectors(model, tokenizer, SEED)
    with written_whole(folder) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


def _rows(path: Path) -> list[tuple[str, str]]:
    with open(path, encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    return [(row["document"], row["summary"]) for row in rows]


def _shuffled(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    random.Random(SEED).shuffle(rows)
    return rows


def package(recipe: Recipe, trained: Path, folder: Path) -> None:
    """Write the weights in bfloat16 with the tokenizer and the settings of generation."""
    from tfmodels.auto import classes_of

    model_class, tokenizer_class = classes_of(trained)
    model = model_class.from_pretrained(trained)
    model.generation_config = model.generation_config.replace(**recipe.generation)
    model.save_pretrained(folder, dtype="bfloat16")
    tokenizer_class.from_pretrained(trained).save_pretrained(folder)


def pretrain(name: str, output: Path, console: Console, steps: Sequence[int] | None = None) -> Path:
    """Make a model; return its folder.

    Args:
        name: one of `recipes`.
        output: a folder for corpus, runs and model.
        console: shows the progress.
        steps: steps of each stage in place of the recipe's.

    Raises:
        training.run.stop.Stopped: a signal; the same call goes on.
    """
    from training.fitting import fit

    recipe = recipes()[name]
    recipe = recipe if steps is None else replace(recipe, steps=tuple(steps))
    corpus, start = output / "corpus", output / name / "start"
    if not (corpus / "versions.txt").is_file():
        console.print("reading the installed Python")
        make_corpus(corpus)
        (corpus / "versions.txt").write_text(versions(), encoding="utf-8")
    if not start.is_dir():
        console.print("training the vocabulary")
        create_start(recipe, corpus, start)
    configs = stages(recipe, corpus, start, output / name)
    for config in configs:
        if not (config.output / "model").is_dir():
            fit(config, console=console)
    folder = output / name / "packaged"
    package(recipe, configs[-1].output / "model", folder)
    console.print(f"model: {folder}", soft_wrap=True, highlight=False)
    return folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one model."""
    from training.run.stop import Stopped

    parser = argparse.ArgumentParser("python -m training.demo.pretrain", description=__doc__)
    parser.add_argument("--model", choices=["led-python", "longt5-python"], required=True)
    parser.add_argument("--output", type=Path, default=Path("out/pretrained"), help="a folder for corpus and runs")
    parser.add_argument("--steps", type=int, nargs=3, help="steps of each stage (default: as the packaged model)")
    options = parser.parse_args(arguments)
    try:
        pretrain(options.model, options.output, Console(), options.steps)
    except Stopped as stopped:
        print("stopped; the same command goes on")
        return stopped.status
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
