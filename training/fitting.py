"""One run from its settings to a model with its figures: `fit`."""

import contextlib
import dataclasses
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from training.config import Config, flat, known
from training.preparing import Checked, ModelSize, Prepared, check, make_tokenizer, open_data, prepare_data
from training.run.backend import import_backend
from training.run.folder import FAILED, FINISHED, LENGTH, MODEL, STOPPED, RunFolder
from training.run.reporter import Reporter
from training.run.stop import Stop, Stopped, is_main_thread


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        model: folder of the best model with its tokenizer, which `from_pretrained` loads.
        figures: the scores on the test rows by system; empty without test rows.
        steps: steps made in all.
    """

    model: Path
    figures: dict[str, Any]
    steps: int


def fit(config: Config, restart: bool = False, console: Console | None = None) -> Result:
    """Train a model, or go on with a run that was stopped.

    Args:
        config: the settings; what is None is chosen by the model.
        restart: give an earlier run in the same folder another name, and begin anew.
        console: shows the progress.

    Raises:
        ValueError: wrong settings or data, or settings that differ from the run's that goes on.
        OSError: files that cannot be read or written.
        training.run.guard.Diverged: several steps in a row without a finite loss.
        training.run.checkpoints.SavingFailed: several checkpoints in a row that could not be written.
        training.run.stop.Stopped: a signal; the run is saved, and the same call goes on.
    """
    checked = check(config)
    folder = RunFolder(checked.config.output)
    console = console or Console()
    if restart and folder.is_started:
        with folder.locked():
            moved = folder.move_away()
        console.print(f"the earlier run is now {moved}", soft_wrap=True, markup=False, highlight=False)
        folder = RunFolder(checked.config.output)
    with ExitStack() as scopes:
        scopes.enter_context(folder.locked())
        if folder.is_started:
            folder.check_goes_on(checked.config)
        stop = Stop(checked.config.steps.grace_seconds, f"python -m training resume {shlex.quote(str(folder.path))}")
        if is_main_thread():
            scopes.enter_context(stop.watching())
        try:
            return _Fit(checked, folder, console, stop).run()
        except Stopped:
            _note(folder, STOPPED)
            raise
        except Exception as error:
            _note(folder, FAILED, error=str(error)[:2000])
            raise


def _note(folder: RunFolder, status: str, **facts: Any) -> None:
    """Write how a run ended; a finished run that does not go on stays finished."""
    if folder.is_started and folder.status != FINISHED:
        with contextlib.suppress(OSError):  # the disk may be what failed
            folder.write_status(status, **facts)


class _Fit:
    """One call of `fit`."""

    def __init__(self, checked: Checked, folder: RunFolder, console: Console, stop: Stop) -> None:
        self._checked = checked
        self._config = checked.config
        self._folder = folder
        self._stop = stop
        self._report = Reporter(console, folder.path, checked.config.logging)

    def run(self) -> Result:
        """Prepare, train, evaluate."""
        from training.run.guard import Diverged

        goes_on = self._folder.is_started
        if not goes_on:
            self._folder.start(self._config)
        try:
            self._report.settings(self._checked)
            import_backend()
            self._stop.poll()
            tokenizer = make_tokenizer(self._checked, self._folder.tokenizer, self._stop.poll)
            prepared = self._prepare(tokenizer)
            with self._stop.interruptible():
                run = self._make_run(tokenizer, prepared)
            if goes_on:  # not before: these settings have passed every check only now
                self._folder.start(self._config)
            try:
                self._train(run)
            except Diverged:
                self._folder.keep_model(run.checkpoints, run.state)
                raise
            step = self._folder.keep_model(run.checkpoints, run.state)
            state = run.state
            del run  # its weights and moments need not lie beside those of the best model
            return self._finish(state, tokenizer, prepared, step)
        finally:
            self._report.close()

    def _prepare(self, tokenizer: Any) -> Prepared:
        rejected = self._folder.path / "rejected.jsonl"
        data = open_data(self._checked, tokenizer, self._report.tokenizing, self._stop.poll, rejected)
        prepared = prepare_data(self._checked, data, ModelSize.of(self._checked, tokenizer))
        self._report.data(prepared)
        return prepared

    def _make_run(self, tokenizer: Any, prepared: Prepared) -> Any:
        """The model with its newest checkpoint, if there is one."""
        from training.run.build import create_model, load_model, prepare_model
        from training.run.checkpoints import Checkpoints, check_space
        from training.run.loop import STATE, VARIABLES, Run, warn_of_warmup
        from training.run.state import TrainerState, versions
        from training.run.variables import checkpoint_bytes, load_variables, training_variables

        checkpoints = Checkpoints(self._folder.checkpoints, self._config.steps.keep)
        step = checkpoints.newest_whole()
        folder = None if step is None else checkpoints.path(step)
        if folder is None:
            model = create_model(self._config, self._checked.source, tokenizer)
        else:
            model = load_model(folder / MODEL, self._config)
        prepare_model(model, self._config)
        state = TrainerState(plan_digest=prepared.plan.digest(), store_key=prepared.parts.train.key)
        if folder is not None:
            load_variables(folder / VARIABLES, training_variables(model))
            state = TrainerState.read(folder / STATE)
            check_same_data(state, prepared)
        else:
            check_space(self._folder.path, checkpoint_bytes(model), self._config.steps.keep + 2)
        set_total(state, self._config, prepared.total)
        if state.step == 0:
            warn_of_warmup(self._config, known(state.total))
        self._check_unfinished(state)
        state.settings, state.versions = flat(self._config), versions()
        return Run(
            config=self._config,
            model=model,
            tokenizer=tokenizer,
            task=prepared.task,
            train=prepared.parts.train,
            validation=prepared.parts.validation,
            plan=prepared.plan,
            state=state,
            checkpoints=checkpoints,
            report=self._report,
            poll=self._stop.poll,
            interruptible=self._stop.interruptible,
            output=self._folder.path,
        )

    def _check_unfinished(self, state: Any) -> None:
        if self._folder.was_finished and state.step >= known(state.total):
            raise ValueError(
                f"output must be a run with steps left. Received: output={self._folder.path}, finished after "
                f"{state.step:,} steps. More steps.epochs or steps.max_steps go on, --restart begins anew"
            )

    def _train(self, run: Any) -> None:
        from training.run.loop import Loop

        config, validation = self._config, run.validation
        held_out = self._held_out(run, config.evaluation.loss_rows) if len(validation) else None
        written = None
        if len(validation) and config.evaluation.rouge_rows:
            written = self._held_out(run, config.evaluation.rouge_rows)
        self._report.training(run)
        loop = Loop(run, held_out, written)
        try:
            loop.train()
        except BaseException as error:
            if not isinstance(error, Stopped) and not self._stop.has_interrupted:
                raise
            self._stop.answer()
            if loop.has_trained:
                run.save()
            self._stop.poll()
            raise

    def _held_out(self, run: Any, most: int) -> Any:
        from training.run.evaluation import HeldOut, sample_rows

        return HeldOut(
            run.model,
            run.task,
            run.validation,
            sample_rows(len(run.validation), most),
            self._config.lengths.sources,
            known(self._config.evaluation.batch_tokens),
            self._config.weights.jit,
            self._stop.poll,
        )

    def _finish(self, state: Any, tokenizer: Any, prepared: Prepared, step: int | None) -> Result:
        """Measure the model of a step, the best, on the test rows, and write card and report."""
        from training.evaluating import evaluate_rows
        from training.run.build import load_model

        figures: dict[str, Any] = {}
        test = prepared.parts.test
        if len(test):
            self._report.note("writing summaries of the test documents")
            model = load_model(self._folder.model, self._config)
            with self._stop.interruptible():
                scored = evaluate_rows(model, tokenizer, prepared.task, test, self._config, self._stop.poll)
            scored.write(self._folder.path / "predictions.jsonl")
            figures = scored.figures
            self._report.test(scored, self._config.evaluation.samples)
        else:
            self._report.note("no test rows: nothing was scored")
        if step is not None:
            self._write_card(step, figures, prepared)
        self._report.finish(self._checked, state, prepared, figures)
        self._folder.write_status(FINISHED, steps=state.step)
        return Result(self._folder.model, figures, state.step)

    def _write_card(self, step: int, figures: dict[str, Any], prepared: Prepared) -> None:
        """Put the scores of the model of a step into its card."""
        from training.run.card import scored_card
        from training.run.scores import scores_of

        card = self._folder.saved_card(step)
        if not card:  # the checkpoint of an earlier release
            return
        sizes = {part: len(store) for part, store in prepared.parts.stores.items()}
        scores = scores_of(self._folder, step, figures, self._config, self._checked.files, sizes)
        text = scored_card(card, self._folder.path.resolve().name, scores)
        if not self._folder.write_card(text, step):
            self._report.note(f"the model's card is by hand and stays; the scores are in {self._folder.card}")


def check_same_data(state: Any, prepared: Prepared) -> None:
    """Raise `ValueError` when a run that goes on would read other data, or read it in another order."""
    if state.store_key != prepared.parts.train.key:
        raise ValueError(
            "a run that goes on must read the same files with the same tokenizer. Received: others, as their contents "
            f"differ (key {prepared.parts.train.key[:12]} after {state.store_key[:12]}). --restart begins anew"
        )
    if state.plan_digest != prepared.plan.digest():
        raise ValueError(
            "a run that goes on must have the same order of batches. Received: another one, as by another release. "
            "--restart begins anew"
        )


def set_total(state: Any, config: Config, planned: int) -> None:
    """The steps of the whole run: as planned before, unless the settings about its length have changed."""
    now = flat(config)
    if state.total is None or any(state.settings.get(name) != now[name] for name in LENGTH):
        state.total, state.is_planned = planned, False
        state.evaluations_since_best = 0
