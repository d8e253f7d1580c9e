"""The files that derive from a clip's truth, rebuilt without a network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jmpose.files import WholeFile
from jmpose_cli.background import in_background
from jmpose_cli.clips.corrections import notes_on_state
from jmpose_cli.clips.derived import FrameDrawing, derived_writers
from jmpose_cli.clips.layout import OVERLAY_FILE, RUN_FILE, TRUTH_FILE, derived_files, stale_files
from jmpose_cli.clips.run_record import RunRecord, file_facts, keypoints_record, read_run, write_record
from jmpose_cli.clips.video import open_clip
from jmpose_cli.config import OutputConfig
from jmpose_cli.console import Reporter
from jmpose_cli.errors import JmposeError
from jmpose_cli.formats.truth import Truth, read_truth
from jmpose_cli.values import Bytes, FramePoses
from jmpose_cli.video.content import INPUT_FACTS, facts_of
from jmpose_cli.video.source import FrameSource
from jmpose_cli.video.writer import OverlayWriter

_AHEAD = 6  # frames that may wait to be encoded


Step = Callable[[], None]


def render_clips(folders: Sequence[Path], changes: Mapping[str, Any], *, video: Path | None, reporter: Reporter) -> int:
    """Render clips, each by its own settings with some of them changed; one that fails does not stop the others.

    Args:
        folders: Of the clips.
        changes: Output settings by name; None leaves one as it was.
        video: Where the video of the only clip lies now.
        reporter: Shows what happens.

    Returns:
        0, or 1 when one failed.

    Raises:
        JmposeError: `video` is given for several clips, or a setting is not allowed.
    """
    if video is not None and len(folders) > 1:
        raise JmposeError(f"--video {video}: of {len(folders)} clips", hint="name the folder of one clip")
    failed = False
    for folder in folders:
        try:
            record = read_run(folder)
            output = with_output(record, changes)
            frames = record.values.get("frames")
            for note in notes_on_state(folder):
                reporter.note(note)
            with reporter.progress(folder.name, frames if isinstance(frames, int) else None) as progress:
                notes = render(folder, output, video=video, step=lambda: progress.advance(0))
            reporter.header({folder.name: f"{', '.join(derived_files(output)) or 'nothing derives from the truth'}"})
        except JmposeError as error:
            if reporter.verbose:
                raise
            reporter.failure(str(folder), error)
            failed = True
            continue
        for note in notes:
            reporter.note(f"{folder.name}: {note}")
    return int(failed)


def render(folder: Path, output: OutputConfig, *, video: Path | None = None, step: Step | None = None) -> list[str]:
    """Write all that derives from the truth of a clip, as the settings say, and note in `run.json` what was written.

    The files are those that `jmpose infer` would have written of the same truth, to the byte. What earlier settings
    have left is removed.

    Args:
        folder: Of the clip.
        output: The settings.
        video: Where the video lies now; None takes the place that `run.json` names.
        step: Called after each frame; an exception that it raises ends the rendering.

    Returns:
        Sentences for the user.

    Raises:
        JmposeError: The truth or `run.json` cannot be read, the video is not there or another one, or a file cannot be
            written. Each file is then the old or the new one, and those that do not fit the truth are known by
            `RunRecord.is_current`.
    """
    record = read_run(folder)
    truth = read_truth(folder)
    notes = _write(folder, truth, record, output, video, step)
    for name in stale_files(output):
        (folder / name).unlink(missing_ok=True)
        WholeFile(folder / name).discard()
    facts = {name: file_facts(folder / name) for name in (TRUTH_FILE, *derived_files(output))}
    config = record.config.of_results() | {"output": _of_results(output, record)}
    moved = {} if video is None else {"input": str(video.absolute()), INPUT_FACTS: facts_of(video)}
    keypoints = keypoints_record(truth.keypoints, output.keypoint_set)
    write_record(record, {"keypoints": keypoints, "config": config, "files": facts, **moved})
    return notes


def refresh(folder: Path, *, video: Path | None = None, step: Step | None = None) -> list[str]:
    """Rebuild, by the settings in `run.json`, what does not fit the truth any more.

    Where the video is gone or has changed, the overlay stays as it is, and a sentence says so.

    Args:
        folder: Of the clip; without `run.json`, as `write_clip` leaves it, there is nothing to rebuild.
        video: Where the video lies now.
        step: Called after each frame.

    Returns:
        Sentences for the user.

    Raises:
        JmposeError: As `render`.
    """
    if not (folder / RUN_FILE).is_file():
        return []
    record = read_run(folder)
    output = record.config.output
    if all(record.is_current(name) for name in derived_files(output)):
        return []
    lacking = _lacking(record, video) if output.overlay else ""
    if not lacking:
        return render(folder, output, video=video, step=step)
    truth = read_truth(folder)
    files_only = output.model_copy(update={"overlay": False})
    notes = _write(folder, truth, record, files_only, None, step)
    facts = {name: file_facts(folder / name) for name in (TRUTH_FILE, *derived_files(files_only))}
    write_record(record, {"files": facts})
    return [*notes, f"{OVERLAY_FILE} is as it was before: {lacking}; `jmpose render --video FILE` makes it anew"]


def with_output(record: RunRecord, changes: Mapping[str, Any]) -> OutputConfig:
    """Return the output settings of a run with some changed; values of None stay as they are.

    Raises:
        JmposeError: A value is not allowed.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return OutputConfig.model_validate(record.config.output.model_dump() | given)
    except ValidationError as error:
        first = error.errors()[0]
        raise JmposeError(
            f"output.{'.'.join(map(str, first['loc']))} = {first['input']!r:.80}: {first['msg']}"
        ) from error


def _of_results(output: OutputConfig, record: RunRecord) -> dict[str, Any]:
    """Return output settings as `run.json` holds them."""
    values: dict[str, Any] = record.config.model_copy(update={"output": output}).of_results()["output"]
    return values


def _write(
    folder: Path,
    truth: Truth,
    record: RunRecord,
    output: OutputConfig,
    video: Path | None,
    step: Step | None,
) -> list[str]:
    """Write the files; return what the formats could not hold."""
    with ExitStack() as stack:
        smoothed = truth.raw_xy is not None
        files = derived_writers(folder, truth.video, truth.keypoints, output, info=truth.info, smoothed=smoothed)
        writers = [stack.enter_context(writer) for writer in files]
        overlay: OverlayWriter | None = None
        frames: Iterator[tuple[Bytes | None, FramePoses]] = ((None, poses) for poses in truth.poses())
        if output.overlay:
            path = record.video(video, otherwise=", or leave the overlay out: --no-overlay")
            source = stack.enter_context(open_clip(path, record.config.decode))
            _check_size(source, truth)
            drawn = _drawn(source, truth, output)
            frames = stack.enter_context(in_background(drawn, ahead=_AHEAD, name="draw"))
            overlay = stack.enter_context(
                OverlayWriter(
                    folder / OVERLAY_FILE, info=source.info, audio_from=path if source.info.has_audio else None
                )
            )
        for picture, poses in frames:
            for writer in writers:
                writer.write(poses)
            if overlay is not None and picture is not None:
                overlay.write(picture, poses.time_s)
            if step is not None:
                step()
    return [*(overlay.notes if overlay else ()), *(note for writer in writers for note in writer.notes)]


def _drawn(source: FrameSource, truth: Truth, output: OutputConfig) -> Iterator[tuple[Bytes, FramePoses]]:
    """Yield each frame of the truth, drawn on.

    Raises:
        JmposeError: The video has other frames.
    """
    draw = FrameDrawing(truth.keypoints, output, pixel_width=source.info.pixel_width)
    pictures = (
        (index, frame) for batch in source for index, frame in zip(batch.index.tolist(), batch.frames, strict=True)
    )
    for poses in truth.poses():
        index, frame = next(pictures, (None, None))
        if index != poses.index or frame is None:
            raise JmposeError(
                f"{truth.path}: speaks of frame {poses.index}, which the video does not have in its place",
                hint="name the video that the poses are of with --video",
            )
        yield draw(frame, poses), poses


def _lacking(record: RunRecord, video: Path | None) -> str:
    """Say why the video cannot be shown; empty where it can."""
    try:
        record.video(video)
    except JmposeError as error:
        return error.message
    return ""


def _check_size(source: FrameSource, truth: Truth) -> None:
    size, said = (source.info.width, source.info.height), (truth.video.width, truth.video.height)
    if size != said:
        raise JmposeError(
            f"the video has frames of {size[0]}x{size[1]}, the poses are of one with {said[0]}x{said[1]}",
            hint="name the video that the poses are of with --video",
        )
