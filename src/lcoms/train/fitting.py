"""Common parts of trainings with PyTorch Lightning: checkpoints without pickle, and resuming from them."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from lcoms.core.config import from_dict, to_dict
from lcoms.core.errors import ConfigError, WeightsError
from lcoms.models.surrogate_file import write_tensors

Batch = TypeVar("Batch", covariant=True)
States = dict[int, dict[int, dict[str, Tensor]]]
STOPPING = (signal.SIGINT, signal.SIGTERM)


@runtime_checkable
class Steps(Protocol[Batch]):
    """The batches of the steps of a training."""

    def __getitem__(self, step: int, /) -> Batch: ...

    def __len__(self) -> int: ...


@runtime_checkable
class Resumable(Protocol):
    """A module that provides all data that a resumed run needs."""

    def tensors(self) -> dict[str, Tensor]: ...

    def facts(self) -> dict[str, Any]:
        """Return data that are not tensors, such as the step number."""


class SafeCheckpoint(Callback):
    """Writes a checkpoint without pickle every few minutes and at the end."""

    def __init__(self, path: Path, header: dict[str, Any], minutes: float) -> None:
        self.path = path
        self.header = header
        self.seconds = 60 * minutes
        self.last = time.monotonic()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if trainer.is_global_zero and time.monotonic() - self.last >= self.seconds:
            self.save(pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self.save(pl_module)

    def save(self, module: Resumable) -> None:
        write_tensors(self.path, module.tensors(), self.header | module.facts())
        self.last = time.monotonic()


class StopAfterStep(Callback):
    """Ends a run after the present step at Ctrl-C or SIGTERM, with a checkpoint; a second signal ends it at once.

    Of several processes only the first reacts, and ends the others; Lightning's own handling of SIGTERM blocks them.
    """

    def __init__(self, checkpoint: SafeCheckpoint) -> None:
        self.checkpoint = checkpoint
        self.requested = False

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                signal.signal(number, self._request if trainer.is_global_zero else signal.SIG_IGN)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if self.requested:
            self.checkpoint.save(pl_module)
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signal.SIGKILL)  # now, or the others report a lost connection
            raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


class RestoreOptimizers(Callback):
    """Loads the states of a checkpoint into the optimisers, which exist only once training starts."""

    def __init__(self, states: States) -> None:
        self.states = states

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        for number, optimizer in enumerate(trainer.optimizers):
            if number in self.states:
                groups = optimizer.state_dict()["param_groups"]
                optimizer.load_state_dict({"state": self.states[number], "param_groups": groups})


class RemainingSteps(Generic[Batch]):
    """The batches of the remaining steps, in order."""

    def __init__(self, steps: Steps[Batch], start: int) -> None:
        self.steps, self.start = steps, start

    def __iter__(self) -> Iterator[Batch]:
        return (self.steps[step] for step in range(self.start, len(self.steps)))

    def __len__(self) -> int:
        return max(0, len(self.steps) - self.start)


def fit(trainer: lightning.Trainer, module: lightning.LightningModule, steps: RemainingSteps[Any]) -> None:
    """Run the remaining steps; Ctrl-C raises KeyboardInterrupt, which Lightning would turn into its own exit."""
    if not len(steps):
        return
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 calls functions that torch 2.9 and later deprecate.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            # A short run may have fewer steps than there are between two log lines.
            warnings.filterwarnings("ignore", "The number of training batches .* is smaller than the logging interval")
            trainer.fit(module, steps)
    except SystemExit as stop:
        raise KeyboardInterrupt from stop
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


def optimizers_of(module: Any) -> list[Any]:
    """Return the optimisers of a module with several; Lightning's type allows for a single one as well."""
    return list(module.optimizers())


@torch.no_grad()
def update_average(average: dict[str, Tensor], weights: Mapping[str, Tensor], *, step: int, decay: float) -> None:
    """Move an exponential average towards the weights, faster in the first steps.

    Args:
        average: by name; what is not floating-point stays as it is.
        weights: by name.
        step: counted from 0.
        decay: share that stays, once there have been many steps.
    """
    kept = min(decay, step / (step + 10))
    for name, value in weights.items():
        if value.is_floating_point():
            average[name] = average[name].to(value.device).lerp_(value, 1 - kept)


def optimizer_tensors(optimizers: Iterable[Any]) -> dict[str, Tensor]:
    """Return the state of optimisers under names `optimizer.number.parameter.key`."""
    tensors: dict[str, Tensor] = {}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return tensors


def optimizer_states(tensors: Mapping[str, Tensor]) -> States:
    """Return the states from `optimizer_tensors`, by number of the optimiser and of the parameter."""
    states: States = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, number, index, key = name.split(".", 3)
            states.setdefault(int(number), {}).setdefault(int(index), {})[key] = value
    return states


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with the prefix, under names without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def require_same_run(
    path: Path,
    stored: Mapping[str, Any],
    header: Mapping[str, Any],
    keys: Sequence[str],
    kinds: Mapping[str, type[Any]],
    free: Sequence[str] = (),
) -> None:
    """Check that a checkpoint's header belongs to the run that is to be resumed.

    Args:
        kinds: classes of configurations by their key; options newer than the checkpoint are taken at their default.
        free: options of configurations that may differ.

    Raises:
        WeightsError: it does not; the message names what differs.
    """
    stored = dict(stored) | {key: _completed(stored.get(key), kind) for key, kind in kinds.items()}
    for key in keys:
        theirs, ours = _options(stored.get(key), free), _options(header[key], free)
        if theirs != ours:
            names = [name for name in ours if name not in theirs or theirs[name] != ours[name]] if key in kinds else []
            what = f"{key} ({', '.join(names)})" if names else key
            raise WeightsError(
                f"{path} was written by a run with another {what}; give the same options, or train in another folder."
            )


def _options(stored: Any, free: Sequence[str]) -> dict[str, Any]:
    """Return a configuration without its free options; any other value under an empty name."""
    every = dict(stored) if isinstance(stored, Mapping) else {"": stored}
    return {name: value for name, value in every.items() if name not in free}


def _completed(stored: Any, kind: type[Any]) -> Any:
    """Return a stored configuration completed by defaults of newer options; unchanged where it does not fit."""
    if not isinstance(stored, Mapping):
        return stored
    try:
        return to_dict(from_dict(kind, stored))
    except ConfigError:
        return stored
