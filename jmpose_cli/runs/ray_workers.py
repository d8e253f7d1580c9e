"""Workers on a Ray cluster: the one file that imports ray.

Each worker is an actor that runs the same loop as a local one. Folders of inputs and results must be the same on all
machines (shared storage); the next worker resumes after what a lost machine had committed.
"""

import os
import queue
import threading
from typing import Any

from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.extras import require
from jmpose_cli.runs.messages import Died, FromWorker, Inbox, SetUp, ToWorker
from jmpose_cli.runs.worker_pool import Report, Worker, WorkerPool

LOCAL = "local"
_TAKE_S = 1.0
_CALLS_AT_A_TIME = 4  # messages are given while others are waited for


class _Host:
    """Lives on the cluster, as an actor: a worker with its inbox and what it has said."""

    def __init__(self) -> None:
        from jmpose_cli.runs.worker import serve

        self._inbox: Inbox = queue.Queue()
        self._said: queue.Queue[FromWorker] = queue.Queue()
        self._thread = threading.Thread(target=serve, args=(self._inbox, self._said.put), daemon=True)
        self._thread.start()

    def put(self, message: ToWorker) -> None:
        self._inbox.put(message)

    def take(self, timeout_s: float) -> list[FromWorker]:
        """Return what was said, waiting for the first of it."""
        try:
            said = [self._said.get(timeout=timeout_s)]
        except queue.Empty:
            if not self._thread.is_alive():
                raise RuntimeError("the worker's thread has ended") from None
            return []
        while not self._said.empty():
            said.append(self._said.get())
        return said


class _RayWorker:
    """A worker on the cluster.

    Args:
        ray: The module, connected.
        actor: A `_Host`.
        report: Takes what the worker says; called from another thread.
    """

    def __init__(self, ray: Any, actor: Any, report: Report) -> None:
        self._ray, self._actor, self._report = ray, actor, report
        self._is_closed = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, message: ToWorker) -> None:
        """See `Worker`."""
        self._actor.put.remote(message)

    def kill(self) -> None:
        """See `Worker`."""
        self._ray.kill(self._actor)

    def close(self) -> None:
        """See `Worker`."""
        self._is_closed.set()
        self.kill()

    def _listen(self) -> None:
        """Fetch what the actor says until it is gone."""
        try:
            while not self._is_closed.is_set():
                for message in self._ray.get(self._actor.take.remote(_TAKE_S)):
                    self._report(message)
        except Exception as error:  # Ray raises one for each way in which an actor or its machine can be lost
            reason = str(error).strip().splitlines()
            self._report(Died(f"Ray says: {reason[0] if reason else type(error).__name__}"))


class RayWorkers(WorkerPool):
    """Workers on a Ray cluster.

    Args:
        config: The settings; the device "auto" takes one GPU a worker where the cluster has any.
        address: Of the cluster, as `ray.init` takes it, or "local" for one on this machine only.
        size: Number of workers; None takes one a GPU, or one a machine on clusters without.

    Raises:
        JmposeError: Ray is not installed, or the cluster cannot be reached or has not enough GPUs.
    """

    retries = 3
    is_local = False

    def __init__(self, config: InferConfig, address: str, *, size: int | None) -> None:
        self._ray = _connected(address)
        resources: dict[str, float] = self._ray.cluster_resources()
        nodes = max(1, sum(node["Alive"] for node in self._ray.nodes()))
        gpus = int(resources.get("GPU", 0)) if config.device != "cpu" else 0
        if config.device.startswith("cuda") and not gpus:
            raise JmposeError(
                f"--device {config.device}: the Ray cluster {address} has no GPU", hint="use --device cpu"
            )
        super().__init__(size or gpus or nodes)
        if gpus and self.size > gpus:
            raise JmposeError(f"--workers {self.size}: the cluster has {gpus} GPUs", hint="one worker takes one")
        if config.device.startswith("cuda"):
            config = config.model_copy(update={"device": "cuda"})  # Ray shows a worker its own GPU only
        self._set_up = SetUp(config, workers_here=-(-self.size // nodes))
        cores = max(1.0, resources.get("CPU", 1.0) // self.size) if not gpus else 1.0
        options = {"num_cpus": cores, "num_gpus": int(gpus > 0), "max_concurrency": _CALLS_AT_A_TIME}
        self._host = self._ray.remote(_Host).options(**options)

    def _launch(self, number: int, report: Report) -> Worker:
        worker = _RayWorker(self._ray, self._host.remote(), report)
        worker.send(self._set_up)
        return worker

    def close(self) -> None:
        """End all workers, and leave the cluster."""
        super().close()
        self._ray.shutdown()


def _connected(address: str) -> Any:
    """Import ray and connect."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = require("ray", extra="ray", by="--ray")
    try:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address == LOCAL:
            options |= {"include_dashboard": False}
        ray.init(address=address, **options)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise JmposeError(
            f"--ray {address}: no cluster can be reached there ({reason})",
            hint="give host:port of the head, ray://host:10001, auto inside a cluster, or local",
        ) from error
    return ray
