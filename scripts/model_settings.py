"""Settings of trained networks, one JSON file a model beside the weights, read from the headers of the weights.

    python scripts/model_settings.py src/lcoms/weights

Run it after the weights have changed; a test compares files and headers.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

MODELS = ("cdvae", "surrogate")
LEFT_OUT = {"elements", "config"}  # of what is known about the training: long, or said already


def settings_of(path: Path) -> dict[str, Any]:
    """Kind, settings and training of a network, from the header of its safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["lcoms"])
    known = header.get("metadata", {})
    found = {key: value for key, value in header.items() if key != "metadata"}
    training = {key: value for key, value in known.items() if key not in LEFT_OUT}
    return found | {"training": training | {"n_elements": len(known["elements"])} if "elements" in known else training}


def main(folder: Path) -> None:
    """Write the files."""
    for name in MODELS:
        text = json.dumps(settings_of(folder / f"{name}.safetensors"), indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
