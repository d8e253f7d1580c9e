"""Train the shipped person detector `person-nano` (YOLO26n, one class).

`python models/recipes/person_nano.py --init person-nano` goes on from the shipped weights: for a CPU.
`python models/recipes/person_nano.py --device 0 --epochs 300 --imgsz 416 --batch 64` starts anew: for a GPU.

Resume a stopped run with `--resume`; another `--epochs` then bends the rest of the schedule to end there.
On the CPU the network runs in channels-last bf16 (3x faster than NCHW fp32 where the processor has bf16).
`person_nano_data.py` makes the data. At the end the weights are written as `person-nano.safetensors`.
"""

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_AUTOINSTALL", "False")

import torch
import ultralytics.engine.trainer as ultralytics_trainer
from ultralytics import YOLO
from ultralytics.models.yolo.detect import DetectionTrainer

from jmpose_cli.known_weights import choose_detector
from jmpose_cli.people.detect import load_shipped, save_detector

NETWORK = Path(__file__).with_name("person-nano.yaml")


class ChannelsLastTrainer(DetectionTrainer):
    """The ultralytics trainer, with pictures and weights in channels-last order on the CPU too."""

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Scale pictures to 0..1 and lay them out channels-last."""
        batch = super().preprocess_batch(batch)
        batch["img"] = batch["img"].contiguous(memory_format=torch.channels_last)
        return batch

    def _setup_train(self) -> None:
        super()._setup_train()
        self.model.to(memory_format=torch.channels_last)


def main() -> None:
    """Train, keeping `weights/last.pt` after every epoch, then write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("runs/person-nano/data/data.yaml"))
    parser.add_argument("--out", type=Path, default=Path("runs/person-nano/train"))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--export-imgsz", type=int, default=416, help="input size written into the weights' JSON")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--init", help="a detector of ours to start from: a shipped name or a .safetensors file")
    parser.add_argument("--lr", type=float, default=0.0015)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    if args.device == "cpu":
        # ultralytics refuses bf16 off CUDA; torch does not.
        ultralytics_trainer.autocast = lambda *_, **__: torch.autocast("cpu", torch.bfloat16)
    train(args)
    export(args.out, imgsz=args.export_imgsz)


def train(args: argparse.Namespace) -> None:
    """Run ultralytics' training, from the start or from the last checkpoint."""
    if args.resume:
        last = args.out / "weights/last.pt"
        checkpoint = torch.load(last, weights_only=False)  # our own file of a moment ago
        checkpoint["train_args"] |= {"epochs": args.epochs, "close_mosaic": max(args.epochs // 5, 1)}
        torch.save(checkpoint, last)
        YOLO(last).train(resume=True, trainer=ChannelsLastTrainer)
        return
    network = NETWORK
    if args.init:
        network = args.out / "start.pt"
        network.parent.mkdir(parents=True, exist_ok=True)
        model, _ = load_shipped(choose_detector(args.init, on_gpu=False).path)
        torch.save({"model": model, "train_args": {}}, network)
    YOLO(network).train(
        trainer=ChannelsLastTrainer,
        data=str(args.data),
        project=str(args.out.parent.resolve()),
        name=args.out.name,
        exist_ok=True,
        epochs=args.epochs,
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
        pretrained=bool(args.init),  # False would forget the weights of start.pt
        val=False,
        plots=False,
        seed=0,
    )


def export(out: Path, *, imgsz: int) -> None:
    """Write the last moving average as `person-nano.safetensors` and `.json` beside the run."""
    checkpoint = torch.load(out / "weights/last.pt", weights_only=False)
    model = (checkpoint.get("ema") or checkpoint["model"]).float()
    model.names = {0: "person"}
    save_detector(model, out / "person-nano.safetensors", imgsz=imgsz)


if __name__ == "__main__":
    main()
