"""`jmpose infer`: inputs, workers, one run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jmpose_cli import __version__
from jmpose_cli.annotate.networks import check_settings
from jmpose_cli.config import InferConfig
from jmpose_cli.console import download_bar
from jmpose_cli.errors import JmposeError
from jmpose_cli.extras import check_installed
from jmpose_cli.known_weights import Access
from jmpose_cli.runs.coordinator import Coordinator, ResumeOptions
from jmpose_cli.runs.inputs import find_clips
from jmpose_cli.runs.local_workers import LocalWorkers
from jmpose_cli.runs.plan import of_shard, parse_shard
from jmpose_cli.runs.report import RunReport
from jmpose_cli.runs.storage import Storage
from jmpose_cli.runs.worker_pool import WorkerPool
from jmpose_cli.signals import StopRequest


@dataclass(frozen=True)
class Placement:
    """Which part of the work is done, and on what.

    Attributes:
        shard: `i/n`: only every nth video, for job arrays.
        devices: Comma-separated torch devices, one worker each; None takes the one of the settings.
        ray: Address of a Ray cluster, or "local"; None takes this machine without Ray.
    """

    shard: str | None = None
    devices: str | None = None
    ray: str | None = None


def infer_videos(
    inputs: Sequence[str],
    *,
    out: Path,
    config: InferConfig,
    resume: ResumeOptions,
    placement: Placement,
    report: RunReport,
) -> int:
    """Process each video into `out/<its name>/`; a video that fails does not stop the others.

    Returns:
        0 when all are done, 1 when some failed, 130 or 143 when a signal stopped the run.

    Raises:
        JmposeError: Nothing can be done: bad settings, missing inputs, weights or device, `out` not writable.
    """
    if placement.ray is not None:
        check_installed("ray", extra="ray", by="--ray")
    with Storage(silence_s=config.run.fetch_timeout_s) as storage:
        clips = find_clips(inputs, out=out, storage=storage, notify=report.note, most_entries=config.run.max_listed)
    with download_bar(shown=not report.quiet) as progress:
        access = Access(offline=config.run.offline, notify=report.note, progress=progress)
        check_settings(config, videos=len(clips), access=access)
    shard = parse_shard(placement.shard)
    workers = _worker_pool(config, placement)
    version = f"{__version__}, {len(clips)} input{'s' * (len(clips) != 1)}"
    asked = {clip.name for clip in clips}
    clips = of_shard(clips, shard)
    report.header({"jmpose": version + (f", of which {len(clips)} are part {placement.shard}" if shard else "")})
    stop = StopRequest(patience=2)
    with stop.listening():
        coordinator = Coordinator(
            clips, asked=asked, out=out, config=config, resume=resume, workers=workers, report=report, stop=stop
        )
        return coordinator.run()


def _worker_pool(config: InferConfig, placement: Placement) -> WorkerPool:
    devices = placement.devices.split(",") if placement.devices else [config.device]
    if "" in devices or len(set(devices)) < len(devices):
        raise JmposeError(f"--devices {placement.devices}: not a list", hint="write each once: --devices cuda:0,cuda:1")
    workers = config.run.workers
    if placement.ray is not None:
        from jmpose_cli.runs.ray_workers import RayWorkers

        return RayWorkers(config, placement.ray, size=workers)
    if workers == 0 and len(devices) > 1:
        raise JmposeError(f"--workers 0 with {len(devices)} devices", hint="one device only works without processes")
    count = len(devices) if workers is None else max(workers, 1)
    if count < len(devices):
        raise JmposeError(
            f"--workers {count} with {len(devices)} devices", hint="give at least one worker a device, or no --workers"
        )
    return LocalWorkers(config, [devices[i % len(devices)] for i in range(count)], in_process=workers == 0)
