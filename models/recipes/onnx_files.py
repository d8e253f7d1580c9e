"""Write the ONNX graphs of the shipped models beside their weights: to be run whenever weights are new.

    python models/recipes/onnx_files.py            # of all of them
    python models/recipes/onnx_files.py small      # or of some

The graphs take their weights from the safetensors, so they are small; they know its checksum and are not used with
another. `jmpose models check` compares their results with those of torch. Needs `pip install -e '.[onnx]'`.
"""

import argparse

from jmpose_cli.known_weights import REID_NANO
from jmpose_cli.onnx_graphs import description_of
from jmpose_cli.people.detect_export import write_detector_graph
from jmpose_cli.people.reid_export import write_appearance_graph
from jmpose_cli.pose.onnx_export import write_pose_graphs
from jmpose_cli.zoo.catalogue import Shipped
from jmpose_cli.zoo.store import known_models, location


def main() -> None:
    """Write the graphs of the models that are named, or of all."""
    shipped = {name: entry for name, entry in known_models().items() if isinstance(entry.place, Shipped)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*shipped, REID_NANO.stem, []], help="shipped models")
    for name in parser.parse_args().names or [*shipped, REID_NANO.stem]:
        weights = location(shipped[name]) if name in shipped else REID_NANO
        description = description_of(weights)
        if name not in shipped:
            write_appearance_graph(weights)
        elif shipped[name].kind == "pose":
            write_pose_graphs(weights, description)
        else:
            write_detector_graph(weights)
        graphs = sorted(description.parent.glob(f"{name}*.onnx"))
        print(f"{description}: " + ", ".join(f"{path.name} {path.stat().st_size:,} bytes" for path in graphs))


if __name__ == "__main__":
    main()
