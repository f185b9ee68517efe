"""Does the memory use of `lcoms app` grow? Memory of the server process after a few predictions and after many.

    python benchmarks/app_memory.py -n 40 [--n-relax 4] [--out results/app_memory.json]

Binary compounds, all different, are predicted with --effort fast and relaxed in the server process, so that memory
retained by energy models is measured, too.
"""

# ruff: noqa: T201 - a benchmark prints

import argparse
import json
import time
from pathlib import Path

from memory import formulas, memory

FIRST = 5  # runs after which the models are loaded and their kernels compiled


def main() -> None:
    """Predict, measure, print."""
    import torch

    from lcoms.app import Settings, make_app
    from lcoms.prediction.pipeline import Predictor
    from lcoms.prediction.presets import Options, spec_for

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=40, help="predictions")
    parser.add_argument("--n-relax", type=int, default=4, help="candidates that are relaxed, of each")
    parser.add_argument("--out", type=Path, help="JSON file of the memory after each prediction")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    options = Options(effort="fast", n_relax=asked.n_relax, relax=True)
    app = make_app(Settings(Predictor.load(spec=spec_for(options), processes=1), options))
    client, resident = app.test_client(), []
    for number, formula in enumerate(formulas(asked.n), start=1):
        client.post("/predict", data={"formula": formula})
        while not (told := client.get(f"/runs/{number}/progress").get_json())["ended"]:
            time.sleep(0.2)
        size = len(client.get(f"/runs/{number}").data) / 1e6
        resident.append({"formula": formula, "MB": round(memory("self")), "complaint": told["complaint"]})
        print(f"{number} {formula}: {resident[-1]['MB']} MB, page of {size:.1f} MB {told['complaint']}", flush=True)
        if asked.out is not None:
            asked.out.write_text(json.dumps(resident, indent=1) + "\n")
    early, last = (resident[at]["MB"] for at in (min(FIRST, asked.n) - 1, -1))
    print(f"{early} MB after {FIRST} predictions, {last} MB after {asked.n}, {last - early:+} MB")


if __name__ == "__main__":
    main()
