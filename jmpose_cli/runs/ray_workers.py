"""Workers on a Ray cluster: the one file that imports ray.

Each worker is an actor that runs the same loop as a local one. Folders of inputs and results must be the same on all
machines (shared storage); what a lost machine had committed is gone on with by the next one.
"""

import os
import queue
import threading
import time
from typing import Any

from jmpose_cli.config import InferConfig
from jmpose_cli.errors import JmposeError
from jmpose_cli.runs.messages import Died, FromWorker, Inbox, SetUp, ToWorker

LOCAL = "local"
_TAKE_S = 1.0
_CALLS_AT_A_TIME = 4  # messages are given while others are waited for
_RETRIES = 3


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
        """Give what was said, waiting for the first of it."""
        try:
            said = [self._said.get(timeout=timeout_s)]
        except queue.Empty:
            if not self._thread.is_alive():
                raise RuntimeError("the worker's thread has ended") from None
            return []
        while not self._said.empty():
            said.append(self._said.get())
        return said


class RayCrew:
    """Workers on a Ray cluster; see `crew.Crew`.

    Args:
        config: The settings; the device "auto" takes one GPU a worker where the cluster has any.
        address: Of the cluster, as `ray.init` takes it, or "local" for one on this machine only.
        size: Number of workers; None takes one a GPU, or one a machine on clusters without.

    Raises:
        JmposeError: Ray is not installed, or the cluster cannot be reached or has not enough GPUs.
    """

    retries = _RETRIES
    is_here = False

    def __init__(self, config: InferConfig, address: str, *, size: int | None) -> None:
        self._config = config
        self._ray = _connected(address)
        resources: dict[str, float] = self._ray.cluster_resources()
        nodes = max(1, sum(node["Alive"] for node in self._ray.nodes()))
        gpus = int(resources.get("GPU", 0)) if config.device != "cpu" else 0
        if config.device.startswith("cuda") and not gpus:
            raise JmposeError(
                f"--device {config.device}: the Ray cluster {address} has no GPU", hint="use --device cpu"
            )
        self.size = size or gpus or nodes
        if gpus and self.size > gpus:
            raise JmposeError(f"--workers {self.size}: the cluster has {gpus} GPUs", hint="one worker takes one")
        self._workers_here = -(-self.size // nodes)
        cores = max(1.0, resources.get("CPU", 1.0) // self.size) if not gpus else 1.0
        options = {"num_cpus": cores, "num_gpus": int(gpus > 0), "max_concurrency": _CALLS_AT_A_TIME}
        self._host = self._ray.remote(_Host).options(**options)
        self._actors: dict[int, tuple[int, Any]] = {}  # seat: number, actor
        self._said: queue.Queue[tuple[int, FromWorker]] = queue.Queue()
        self._started = 0
        self._is_closed = threading.Event()

    def start(self, seat: int) -> None:
        """See `Crew`."""
        self._started += 1
        actor = self._host.remote()
        self._actors[seat] = (self._started, actor)
        config = self._config
        if config.device.startswith("cuda"):
            config = config.model_copy(update={"device": "cuda"})  # Ray shows a worker its own GPU only
        actor.put.remote(SetUp(config, self._workers_here))
        threading.Thread(target=self._listen, args=(self._started, actor), daemon=True).start()

    def send(self, seat: int, message: ToWorker) -> None:
        """See `Crew`."""
        self._actors[seat][1].put.remote(message)

    def listen(self, timeout_s: float) -> tuple[int, FromWorker] | None:
        """See `Crew`."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                number, message = self._said.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return None
            for seat, (current, _) in self._actors.items():
                if current == number:  # words of a worker that was replaced do not count
                    return seat, message

    def kill(self, seat: int) -> None:
        """See `Crew`."""
        self._ray.kill(self._actors[seat][1])

    def close(self) -> None:
        """See `Crew`."""
        self._is_closed.set()
        for _, actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._ray.shutdown()

    def _listen(self, number: int, actor: Any) -> None:
        """Fetch what an actor says until it is gone."""
        try:
            while not self._is_closed.is_set():
                for message in self._ray.get(actor.take.remote(_TAKE_S)):
                    self._said.put((number, message))
        except Exception as error:  # Ray raises one for each way in which an actor or its machine can be lost
            reason = str(error).strip().splitlines()
            self._said.put((number, Died(f"Ray says: {reason[0] if reason else type(error).__name__}")))


def _connected(address: str) -> Any:
    """Import ray and connect."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise JmposeError("--ray: Ray is not installed", hint="pip install 'jmpose[ray]'") from error
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
