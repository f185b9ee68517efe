"""The methods by name: each takes a task, a seed and, if it needs one, a start, and returns a crystal.

| name | track | description |
| --- | --- | --- |
| start | paper | the start itself: a random cell relaxed by the judge |
| cdvae | paper | the start encoded and decoded, without descent (the paper's CD-VAE) |
| sl | paper | descent on a surrogate trained without conservatism (the paper's SL) |
| lcoms | paper | descent on the conservative surrogate |
| lcoms | formula | the complete `lcoms predict`, including relaxation and ranking |
| lcoms-decoded | formula | the first candidate before any relaxation |
| input-coms | paper | descent of lattice and coordinates on a conservative MEGNet |
| megnet-random, megnet-pso, megnet-tpe | both | searches of symmetric structures with MEGNet's energy (GN-OA) |
| random | both | random cells relaxed by the judge |
| evolution | both | evolutionary search with energies relaxed by the judge |
| dft-pso | both | particle swarm with relaxations by density functional theory |
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lcoms.baselines.input_space import descend_crystals
from lcoms.benchmark.protocol import BenchmarkConfig, Task, Track
from lcoms.benchmark.searches import Found, search_with_dft, search_with_judge, search_with_megnet
from lcoms.core.config import to_dict
from lcoms.core.errors import ConfigError
from lcoms.models.composition import element_fractions
from lcoms.models.megnet import Megnet, load_megnet
from lcoms.models.surrogate_file import load_surrogate
from lcoms.models.weights import CDVAE_FILE
from lcoms.oracles.base import EnergyOracle
from lcoms.prediction.bundle import WeightBundle
from lcoms.prediction.decoder import decode_latents
from lcoms.prediction.descend import DescentResult, descend
from lcoms.prediction.pipeline import Predictor
from lcoms.prediction.presets import Options, spec_for
from lcoms.prediction.propose import check_composition, composition_seed
from lcoms.prediction.result import Prediction
from lcoms.prediction.spec import PredictionSpec
from lcoms.structure.crystal import Crystal


@dataclass(frozen=True)
class Files:
    """Paths of trained models; None: the shipped weights, or no such model.

    Attributes:
        weights: folder of weights.
        sl: folder of weights whose surrogate was trained without conservatism, on the same CD-VAE.
        megnet: file of the graph network for searches.
        input_model: file of the conservative graph network on lattice and coordinates.
        surrogate: file of a surrogate that replaces the one in the folder of weights.
    """

    weights: Path | None = None
    sl: Path | None = None
    megnet: Path | None = None
    input_model: Path | None = None
    surrogate: Path | None = None


@dataclass(frozen=True, eq=False)
class Models:
    """Trained models, as far as they were given; `facts` has their digests, ready for JSON."""

    weights: WeightBundle
    sl: WeightBundle | None = None
    megnet: Megnet | None = None
    input_model: Megnet | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Context:
    """Data shared by the methods in one process.

    Attributes:
        judge: gives energies to the searches that relax.
        searches: folder that stores long searches, so that they can be resumed; None: not stored.
    """

    config: BenchmarkConfig
    models: Models
    judge: EnergyOracle
    searches: Path | None = None


class Case(NamedTuple):
    """Input of a method; the start is given if the method needs one."""

    context: Context
    task: Task
    seed: int
    start: Crystal | None


class Method(NamedTuple):
    """One column of the tables.

    Attributes:
        run: returns the answer.
        from_start: whether it needs a start.
        options: fields of the benchmark's config that the answer depends on.
        models: fields of `Models` that it requires.
        asked_for: whether it runs only if it is named.
    """

    run: Callable[[Case], Found]
    tracks: tuple[Track, ...]
    from_start: bool = False
    options: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    asked_for: bool = False


def load_models(files: Files) -> Models:
    """Return the models in files.

    Raises:
        WeightsError: a file is missing or damaged.
        ConfigError: the two surrogates belong to different autoencoders.
    """
    weights = WeightBundle.load(files.weights)
    facts = {"weights": weights.digest}
    if files.surrogate is not None:
        weights = replace(weights, surrogate=load_surrogate(files.surrogate)[0])
        facts["weights"] += f", {_digest(files.surrogate)}"
    sl = None
    if files.sl is not None:
        sl = WeightBundle.load(files.sl)
        if (sl.folder / CDVAE_FILE).read_bytes() != (weights.folder / CDVAE_FILE).read_bytes():
            raise ConfigError(f"{files.sl} has another CD-VAE than the weights; train its surrogate on the same one.")
        _require_same_training(files.sl, sl, weights)
        facts["sl"] = sl.digest
    networks: dict[str, Megnet] = {}
    for name, path in (("megnet", files.megnet), ("input_model", files.input_model)):
        if path is not None:
            networks[name], facts[name] = load_megnet(path)[0], _digest(path)
    return Models(weights, sl, facts=facts, **networks)


def settings_of(name: str, track: Track, config: BenchmarkConfig, models: Models) -> dict[str, Any]:
    """Return everything that an answer of a method depends on, ready for JSON."""
    method, everything = METHODS[track, name], to_dict(config)
    options = ["judge", "relax", *(["start"] if method.from_start else []), *method.options]
    return {key: everything[key] for key in options} | {key: models.facts[key] for key in models_of(name, method)}


def models_of(name: str, method: Method) -> tuple[str, ...]:
    """Return the fields of `Models` that a method uses."""
    return (*method.models, *(("weights",) if name.startswith(("lcoms", "sl", "cdvae")) else ()))


def _require_same_training(path: Path, plain: WeightBundle, weights: WeightBundle) -> None:
    """Check that two surrogates were trained with the same settings except for conservatism.

    Raises:
        ConfigError: other settings differ, which it names.
    """
    first, second = to_dict(plain.surrogate.config), to_dict(weights.surrogate.config)
    other = [name for name in first if name != "conservatism" and first[name] != second[name]]
    if other:
        told = ", ".join(other)
        raise ConfigError(f"{path} was trained with another {told} than the weights; train both with the same --set.")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _start(case: Case) -> Found:
    return Found(case.start, {})


def _cdvae(case: Case) -> Found:
    return _descend(case, case.context.models.weights, 0, 0)


def _sl(case: Case) -> Found:
    config, weights = case.context.config, case.context.models.sl
    assert weights is not None
    return _descend(case, weights, config.steps, config.points)


def _lcoms(case: Case) -> Found:
    config = case.context.config
    return _descend(case, case.context.models.weights, config.steps, config.points)


def _descend(case: Case, weights: WeightBundle, steps: int, points: int) -> Found:
    """Encode, descend and decode without symmetry, taking the best of several samples (the paper draws one)."""
    assert case.start is not None
    check_composition(case.task.cell, weights)
    clock = [time.perf_counter()]
    z0 = weights.encode([case.start])
    clock.append(time.perf_counter())
    features = element_fractions(case.task.cell).expand(1, -1)
    descent = descend(weights.surrogate, z0, features, steps=steps, keep_path=True)
    clock.append(time.perf_counter())
    crystal = _decode(case, weights, descent, steps)
    clock.append(time.perf_counter())
    encode, down, decode = np.diff(clock).tolist()
    path = [float(energy) for energy in descent.energy_path[:, 0]]
    way = []
    for step in places(steps, points):
        one = crystal if step == steps else _decode(case, weights, descent, step)
        way.append((step, encode + down * (step / max(steps, 1)) + decode, path[step], one))
    seconds = {"encode": encode, "descent": down, "decode": decode}
    return Found(crystal, seconds, steps, "" if crystal else "no valid crystal was decoded", tuple(path), tuple(way))


def _decode(case: Case, weights: WeightBundle, descent: DescentResult, step: int) -> Crystal | None:
    """Decode once without symmetry, with the same random numbers at every step of every descent."""
    assert descent.path is not None
    generator = torch.Generator().manual_seed(composition_seed(case.seed, case.task.cell))
    decoded = decode_latents(weights, descent.path[step], [case.task.cell], [[]], generator)[0]
    return decoded[0].crystal if decoded else None


def places(steps: int, points: int) -> list[int]:
    """Return the numbers of steps at evenly spaced points from the start to the end; empty for no points."""
    return sorted({round(step) for step in np.linspace(0, steps, points).tolist()}) if points else []


def _input_coms(case: Case) -> Found:
    model, config = case.context.models.input_model, case.context.config
    assert model is not None
    assert case.start is not None
    clock = time.perf_counter()
    descent = descend_crystals(model, [case.start], steps=config.steps)
    seconds, path = time.perf_counter() - clock, descent.energy_path[:, 0]
    energies = tuple(float(energy) for energy in path) if np.isfinite(path).all() else ()
    way = []
    for step in places(config.steps, config.points) if energies else []:
        crystal = descend_crystals(model, [case.start], steps=step).crystals[0]
        way.append((step, seconds * step / max(config.steps, 1), energies[step], crystal))
    return Found(descent.crystals[0], {"descent": seconds}, config.steps, "", energies, tuple(way))


def _pipeline(case: Case) -> Found:
    config = case.context.config
    options = Options(effort=config.effort, exclude_same=True, seed=case.seed, relax=True)
    return _predicted(case, spec_for(options).with_models([config.judge]))


def _decoded(case: Case) -> Found:
    options = Options(effort=case.context.config.effort, exclude_same=True, seed=case.seed, relax=False)
    return _predicted(case, spec_for(options))


def _predicted(case: Case, spec: PredictionSpec) -> Found:
    """Return the first candidate of a prediction, and its cost."""
    predictor = Predictor(case.context.models.weights, spec, processes=1)
    clock = time.perf_counter()
    result: Prediction = predictor.predict(case.task.reference.composition)
    seconds = {"search": time.perf_counter() - clock}
    steps = result.decoded.n_proposals * predictor.spec.search.steps
    n_evaluations, single_points = (result.n_relaxations, result.n_oracle_calls) if spec.relaxation else (steps, 0)
    if not result.candidates:
        return Found(None, seconds, n_evaluations, "no candidate is left", single_points=single_points)
    first = result.candidates[0]
    path = first.decoded.descent_energies
    return Found(first.crystal, seconds, n_evaluations, "", path, single_points=single_points)


def _megnet(case: Case, *, name: str) -> Found:
    model = case.context.models.megnet
    assert model is not None
    return search_with_megnet(name, model, case.task, case.seed, case.context.config)


def _judged(case: Case, *, name: str) -> Found:
    return search_with_judge(name, case.context.judge, case.task, case.seed, case.context.config)


def _dft(case: Case) -> Found:
    context = case.context
    folder = None
    if context.searches is not None:
        settings = settings_of("dft-pso", case.task.track, context.config, context.models)
        folder = context.searches / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    return search_with_dft(case.task, case.seed, context.config, folder)


_PAPER: tuple[Track, ...] = ("paper",)
_FORMULA: tuple[Track, ...] = ("formula",)
_BOTH = _PAPER + _FORMULA
_ON_MODEL, _BY_TPE = ("budget", "max_units"), ("tpe_budget", "max_units")
_RELAXING = ("relaxations", "max_units", "search_relax")
_LIST = (
    ("lcoms", Method(_lcoms, _PAPER, True, ("steps", "points"))),
    ("sl", Method(_sl, _PAPER, True, ("steps", "points"), ("sl",))),
    ("cdvae", Method(_cdvae, _PAPER, True)),
    ("start", Method(_start, _PAPER, True)),
    ("input-coms", Method(_input_coms, _PAPER, True, ("steps", "points"), ("input_model",))),
    ("lcoms", Method(_pipeline, _FORMULA, options=("effort",))),
    ("lcoms-decoded", Method(_decoded, _FORMULA, options=("effort",))),
    ("megnet-random", Method(partial(_megnet, name="random"), _BOTH, options=_ON_MODEL, models=("megnet",))),
    ("megnet-pso", Method(partial(_megnet, name="pso"), _BOTH, options=_ON_MODEL, models=("megnet",))),
    ("megnet-tpe", Method(partial(_megnet, name="tpe"), _BOTH, options=_BY_TPE, models=("megnet",))),
    ("random", Method(partial(_judged, name="cells"), _BOTH, options=_RELAXING)),
    ("evolution", Method(partial(_judged, name="evolution"), _BOTH, options=_RELAXING)),
    ("dft-pso", Method(_dft, _BOTH, options=("dft", "dft_relaxations", *_RELAXING[1:]), asked_for=True)),
)
METHODS: dict[tuple[Track, str], Method] = {(track, name): method for name, method in _LIST for track in method.tracks}
"""Methods by track and name, in the order of the tables."""
