"""transformers' side of a job, on PyTorch, with its default attention and torch's default threads."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput

from benchmarks.decoding import check_made
from benchmarks.models import NEW_TOKENS, class_name, config_fields
from benchmarks.routine import Arrays, Routine
from benchmarks.task import Task

LEARNING_RATE = 1e-4


def make_routine(task: Task) -> Routine:
    """The job, ready to run."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    device = torch.device("cuda" if task.device == "gpu" else "cpu")
    model = _make_model(task).to(device)

    def prepare(arrays: Arrays) -> dict[str, torch.Tensor]:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {name: x.to(device, model.dtype if x.is_floating_point() else torch.long) for name, x in tensors.items()}

    def done(job: Callable[[Any], Any]) -> Callable[[Any], None]:
        def run(given: dict[str, torch.Tensor]) -> None:
            job(given)
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run

    def peak() -> int | None:
        return torch.cuda.max_memory_allocated() if device.type == "cuda" else None

    if task.job != "decode":
        return Routine(prepare, done({"encode": _encode, "train": _train}[task.job](model, task)), peak)
    tokens = NEW_TOKENS[task.size]
    return Routine(prepare, done(_decode(model.eval(), task, tokens)), peak, done(_decode(model, task, 1)))


def _make_model(task: Task) -> Any:
    fields = config_fields(task.family, task.size, task.length, task.half_window)
    config = getattr(transformers, class_name(task.family, "Config"))(**fields)
    model = getattr(transformers, class_name(task.family, "ForConditionalGeneration"))(config)
    if task.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    # Training computes in bfloat16 but keeps float32 weights, as ours does under mixed_bfloat16.
    return model.to(getattr(torch, task.dtype)) if task.job != "train" else model


def _encode(model: Any, task: Task) -> Callable[[Any], Any]:
    encoder = model.eval().get_encoder()
    encoder = torch.compile(encoder) if task.torch_compile else encoder
    return torch.no_grad()(lambda given: encoder(**given))


def _train(model: Any, task: Task) -> Callable[[Any], Any]:
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=LEARNING_RATE)
    forward = torch.compile(model) if task.torch_compile else model
    device = next(model.parameters()).device.type

    def step(given: dict[str, torch.Tensor]) -> None:
        optimizer.zero_grad()
        mixed = contextlib.nullcontext() if task.dtype == "float32" else torch.autocast(device, dtype=torch.bfloat16)
        with mixed:
            loss = forward(use_cache=False, **given).loss
        loss.backward()
        optimizer.step()

    return step


def _decode(model: Any, task: Task, tokens: int) -> Callable[[Any], Any]:
    search = {"num_beams": task.beams, "do_sample": False, "max_new_tokens": tokens, "min_new_tokens": tokens}

    def run(given: dict[str, torch.Tensor]) -> None:
        # New each time: the search repeats what is in it for its beams.
        outputs = BaseModelOutput(last_hidden_state=given["states"])
        found = model.generate(encoder_outputs=outputs, attention_mask=given["attention_mask"], **search)
        check_made(found.cpu().numpy(), tokens, model.config.eos_token_id)

    return torch.no_grad()(run)
