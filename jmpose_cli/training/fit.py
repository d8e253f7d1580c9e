"""The loop: epochs of steps, a validation after each, checkpoints in between."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence

import orjson
import torch
from torch import Tensor

from jmpose.errors import WeightsError
from jmpose.network import JMPose
from jmpose.weights import save_model
from jmpose_cli.data.mixture import Batch, Draw
from jmpose_cli.errors import JmposeError
from jmpose_cli.files import explain_os_errors, write_whole
from jmpose_cli.training.board import Board
from jmpose_cli.training.devices import gather_objects, mean_over_devices
from jmpose_cli.training.display import Display
from jmpose_cli.training.loader import batches
from jmpose_cli.training.optimise import clip_gradients, io_share, rate_share, set_rate
from jmpose_cli.training.prepare import Run
from jmpose_cli.training.report import StepReport
from jmpose_cli.training.validate import PCK, Located, Score, ValidationSet, locate, score_set

BEST, LAST, SCORES = "best.safetensors", "last.safetensors", "validation.jsonl"


class Stopped(Exception):  # noqa: N818
    """The user asked to stop; everything is saved."""


def fit(run: Run, display: Display, board: Board) -> list[Score]:
    """Train to the end; return the last scores.

    Raises:
        JmposeError: A broken picture, a loss that is no number, too little memory, or weights that cannot be written.
        Stopped: A signal came; the checkpoint is that of the last step.
    """
    scores: list[Score] = []
    while not run.is_done:
        _train_epoch(run, display, board)
        if run.is_last_epoch or (run.position.epoch + 1) % run.config.save.validate_every == 0:
            scores = validate(run, display, board)
            _keep(run, scores, display)
        run.position.epoch, run.position.batch = run.position.epoch + 1, 0
        _save(run, display)
    _write_weights(run, LAST)
    return scores


def _train_epoch(run: Run, display: Display, board: Board) -> None:
    """Train what is left of an epoch."""
    stop = run.stop
    run.trainee.train()
    draws, accumulate = run.draws(), run.config.optim.accumulate
    loaded = batches(run.data.train, draws, workers=run.config.data.workers, pin=run.fabric.device.type == "cuda")
    saved_at = time.monotonic()
    steps, position = len(draws) // accumulate, run.position
    by_time = run.seconds_left is not None
    epochs, total = (None, None) if by_time else (run.config.optim.epochs, run.total_steps)
    with display.epoch(position.epoch, epochs, position.step, total, steps) as progress:
        for _ in range(steps):
            report = train_step(run, loaded)
            progress.advance(report)
            board.step(run.position.step, report)
            if stop.asked:
                _save(run, display)
                raise Stopped
            if time.monotonic() - saved_at > 60 * run.config.save.every_minutes:
                _save(run, display)
                saved_at = time.monotonic()
            if by_time and run.is_last_epoch:
                break
    # The end of the steps: a run that is killed while it is validated does not train this epoch again.
    if draws:
        _save(run, display)


def train_step(run: Run, loaded: Iterator[Batch]) -> StepReport:
    """Take one optimiser step from the next batches.

    Raises:
        JmposeError: The loss is no number, or memory does not suffice; the weights are as before the step.
    """
    began, waited, accumulate = time.monotonic(), 0.0, run.config.optim.accumulate
    losses: dict[str, float] = {}
    seen: list[Tensor] = []
    run.trainee.set_io_share(io_share(run.position.step, run.config.optim))
    for number in range(accumulate):
        asked = time.monotonic()
        batch = next(loaded).to(run.fabric.device)
        waited += time.monotonic() - asked
        seen.append(batch.samples)
        terms = _forward_backward(run, batch, is_last=number + 1 == accumulate)
        for name, value in terms.items():
            losses[name] = losses.get(name, 0.0) + float(mean_over_devices(value)) / accumulate
    if not math.isfinite(losses["total"]):
        raise _not_finite(run, losses, seen)
    gradient = float(clip_gradients(run.trainee, run.config.optim.clip_norm))
    if not math.isfinite(gradient):
        raise _not_finite(run, {"the gradient": gradient}, seen)
    share = rate_share(
        run.position.step, run.config.optim, steps_an_epoch=run.steps_an_epoch, total_steps=run.total_steps
    )
    set_rate(run.optimizer, share)
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.average.update_parameters(run.model)
    run.position.step += 1
    run.position.batch += accumulate
    seconds = time.monotonic() - began
    if run.seconds_left is not None:  # all devices go by one clock: they must stop at the same step
        run.position.seconds += float(mean_over_devices(torch.tensor(seconds, device=run.fabric.device)))
    return StepReport(
        losses=losses,
        rate=max(group["lr"] for group in run.optimizer.param_groups),
        gradient=gradient,
        windows=run.whole_batch * accumulate,
        seconds=seconds,
        waited_s=waited,
        left_s=run.seconds_left,
    )


def _forward_backward(run: Run, batch: Batch, *, is_last: bool) -> Mapping[str, Tensor]:
    """Add up the gradients of one batch; devices exchange them with the last one of a step."""
    try:
        with run.fabric.no_backward_sync(run.step, enabled=not is_last):
            terms: dict[str, Tensor] = run.step(
                batch.crops, batch.exists, batch.xy, batch.weight, batch.present, batch.swap, batch.taught
            )
            run.fabric.backward(terms["total"] / run.config.optim.accumulate)
    except torch.OutOfMemoryError as error:
        raise JmposeError(
            f"the device has too little memory for batches of {run.config.optim.batch}: {str(error).splitlines()[0]}",
            hint="lower optim.batch and raise optim.accumulate as much, or set precision=bf16-mixed",
        ) from error
    return terms


def _not_finite(run: Run, losses: Mapping[str, float], seen: Sequence[Tensor]) -> JmposeError:
    bad = ", ".join(f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value))
    names = [run.data.train.name_of(int(sample)) for sample in torch.cat(list(seen)).tolist()[:5]]
    kept = run.checkpoints.files()
    said = f"the last good checkpoint is {kept[-1]}" if kept else "no checkpoint was written yet"
    return JmposeError(
        f"step {run.position.step} (epoch {run.position.epoch}): {bad}; samples: {'; '.join(names)}; {said}",
        hint="look at these samples, then use --resume; to lower optim.lr takes a new run",
    )


def validate(run: Run, display: Display, board: Board) -> list[Score]:
    """Score the moving average on every validation set; all devices take part."""
    scores = _score_all(run, display, board)
    display.scores(run.position.epoch, scores)
    board.scores(run.position.step, scores)
    return scores


def try_validation(run: Run, display: Display) -> None:
    """Score one batch of every validation set, to see that it can be done.

    Its figures are not given: to average precision everybody else of the set would be a person who was not found.
    """
    _score_all(run, display, Board(None, step=0), max_batches=1)


def _score_all(run: Run, display: Display, board: Board, *, max_batches: int | None = None) -> list[Score]:
    model: JMPose = run.average.module  # type: ignore[assignment]
    scores: list[Score] = []
    for chosen in run.data.validation:
        draws = _validation_draws(run, chosen)[:max_batches]
        loaded = batches(chosen.windows, draws, workers=run.config.data.workers, pin=False)
        parts: list[Located] = []
        with display.validation(chosen.label, len(draws)) as progress, run.fabric.autocast():
            for number, batch in enumerate(loaded):
                located, final, initial = locate(model, batch.to(run.fabric.device))
                parts.append(located)
                if number == 0:
                    board.pictures(run.position.step, chosen.label, batch, final, initial)
                progress.advance()
        everyone = [part for one in gather_objects(parts) for part in one]
        scores += score_set(chosen, everyone, model.config.preprocess.keypoints.joints)
    return scores


def _validation_draws(run: Run, chosen: ValidationSet) -> list[list[Draw]]:
    """This device's share of a validation set; the draws of a sample are the same in every epoch."""
    size, height = run.config.optim.batch, run.model.config.preprocess.input_height
    mine = range(run.fabric.global_rank, len(chosen.windows), run.fabric.world_size)
    return [[Draw(0, i, i, height) for i in mine[first : first + size]] for first in range(0, len(mine), size)]


def _keep(run: Run, scores: Sequence[Score], display: Display) -> None:
    """Note the scores, and keep the weights when they are the best so far."""
    counted = [score for score in scores if (score.metric == PCK) == (run.config.save.best_by == "pck")]
    figures = [score.final if run.config.temporal else score.initial for score in counted]
    known = [figure for figure in figures if figure is not None]
    mean = sum(known) / len(known) if known else None
    if run.fabric.is_global_zero:
        _note_scores(run, scores)
    if mean is not None and (run.position.best is None or mean > run.position.best):
        run.position.best = mean
        _write_weights(run, BEST)
        display.note(f"best so far: {mean:.2f}, kept as {run.folder / BEST}")


def _note_scores(run: Run, scores: Sequence[Score]) -> None:
    """Write a line a validation; a line that a killed run left for this epoch or later ones is replaced."""
    path, epoch = run.folder / SCORES, run.position.epoch
    line = {"epoch": epoch, "step": run.position.step, "scores": [vars(score) for score in scores]}
    with explain_os_errors(path):
        before = path.read_bytes().splitlines() if path.exists() else []
    kept = [text for text in before if orjson.loads(text)["epoch"] < epoch]
    write_whole(path, b"".join(text + b"\n" for text in (*kept, orjson.dumps(line))))


def _save(run: Run, display: Display) -> None:
    """Write a checkpoint; where the disk is full, a note says so and the one before is kept."""
    if not run.fabric.is_global_zero:
        return
    try:
        run.checkpoints.save(run.position, run.stateful)
    except JmposeError as error:
        display.note(f"no checkpoint at step {run.position.step}: {error.message}; the one before is untouched")


def _write_weights(run: Run, name: str) -> None:
    """Write the moving average in the form that `jmpose infer` and `jmpose eval` load."""
    if not run.fabric.is_global_zero:
        return
    model: JMPose = run.average.module  # type: ignore[assignment]
    try:
        save_model(model, run.folder / name, half=run.config.save.half)
    except WeightsError as error:
        raise JmposeError(error.message, hint=f"{error.hint}; then use --resume") from error
