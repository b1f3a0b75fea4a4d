"""Training: stages; in each step the players take turns.

The loop receives images and nothing else. The whole state of a run is (stage, step, attempt, weights, player states), so a
run killed at any moment and resumed ends with the same weights: the order of the data and every random number are
functions of (seed, stage, step, player, attempt).
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from delaminate.config import differences, parse_yaml, to_yaml
from delaminate.engine import checkpoint, parallel
from delaminate.engine.batches import batch_indices, fingerprint
from delaminate.engine.ema import EMA
from delaminate.engine.guards import alone_in, check_pixels, enough_memory, signals
from delaminate.engine.optimizer import PlayerOptimizer
from delaminate.engine.record import Callback, RunLog, SilentCallback
from delaminate.errors import FormatError, TrainingError, reading
from delaminate.files import take_rows, write_atomic
from delaminate.methods.base import Method
from delaminate.methods.players import GradientPlayer, InterruptedTurn, Player, SearchPlayer, Stage, StepContext
from delaminate.methods.storage import save_model
from delaminate.rng import stream


@dataclass(frozen=True)
class Budget:
    """When to stop before the last stage ends. Neither changes any schedule.

    Attributes:
        steps: Steps of this run in all, over all stages and resumptions.
        minutes: Minutes of this call.
    """

    steps: int | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class Intervals:
    """How often things are written, in steps (checkpoints also by time)."""

    log: int = 10
    check: int = 500
    preview: int = 500
    checkpoint_seconds: float = 60.0
    live_seconds: float = 2.0


@dataclass(frozen=True)
class TrainResult:
    """How a call ended.

    Attributes:
        finished: All stages are done.
        reason: "finished", "steps", "minutes" or the name of the signal.
        total_step: Steps done over all stages.
        best_error: Lowest label-free error of a check in the last stage.
    """

    finished: bool
    reason: str
    total_step: int
    best_error: float


class _Run:
    """One call of `train`."""

    def __init__(
        self, method: Method, pixels: UInt8[Tensor, "N 3 H W"], out: Path | None, seed: int, budget: Budget,
        intervals: Intervals, callback: Callback, device: torch.device, tensorboard: bool,
    ) -> None:  # fmt: skip
        self.method, self.pixels, self.out, self.seed = method, pixels, out, seed
        self.budget, self.intervals, self.callback, self.device = budget, intervals, callback, device
        self.dtype = next(method.parameters()).dtype
        self.images = fingerprint(pixels)
        if device.type == "cuda" and pixels.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
            self.pixels = pixels.to(device)  # a step then copies nothing
        self.first = parallel.world()[0] == 0
        self.run_log = RunLog(out, tensorboard) if out is not None and self.first else None
        self.total_step, self.stage_index, self.step, self.attempt = 0, 0, 0, 0
        self.best_error = math.inf
        self.average = EMA(method, method.ema_decay, method.ema_prefixes) if method.ema_decay else None
        self.stopped: str | None = None
        self.interrupted = False  # a turn ended before it was done
        self.collapse: str | None = None
        self.failure = ""  # why the run is given up, once it is
        self.convergence: str | None = None
        self.deadline = math.inf if budget.minutes is None else time.monotonic() + 60 * budget.minutes
        self.last_save, self.last_shown = time.monotonic(), -math.inf
        # Model selection without labels: the error of a fixed 100 images.
        some = torch.randperm(len(pixels), generator=stream(seed, "check"))[:100]
        self.check_images = self._floats(some)
        self.players: dict[str, Player] = {}
        self.optimisers: dict[str, PlayerOptimizer] = {}
        self.aside: tuple[str, ...] = ()  # figures of the last step that are no terms of the loss

    def _floats(self, index: Tensor) -> Float[Tensor, "B 3 H W"]:
        return take_rows(self.pixels, index).to(self.device, self.dtype) / 255

    # --- state --------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        searchers = {n: p.state() for n, p in self.players.items() if isinstance(p, SearchPlayer)}
        adams = {n: {g: a.state_dict() for g, a in o.adams.items()} for n, o in self.optimisers.items()}
        return {
            "seed": self.seed,
            "config": to_yaml(self.method.config),
            "images": self.images,
            "stage": self.stage_index,
            "step": self.step,
            "attempt": self.attempt,
            "failure": self.failure,
            "total_step": self.total_step,
            "best_error": self.best_error,
            "weights": self.method.state_dict(),
            "players": searchers,
            "optimisers": adams,
            "average": self.average.state() if self.average else {},
        }

    def save(self) -> None:
        """Write the checkpoint; weights that are not finite never replace good ones."""
        if not all(bool(torch.isfinite(weight).all()) for weight in self.method.parameters()):
            raise self._broken("weights are not finite")
        if self.out is not None and self.first:
            checkpoint.save(self.out / "checkpoint.pt", self.state())
        self.last_save = time.monotonic()

    def begin(self, remarks: tuple[str, ...]) -> None:
        """Open the folder of a new run, and say what the user should know about the images."""
        if self.run_log is not None and self.out is not None:
            write_atomic(self.out / "config.yaml", to_yaml(self.method.config).encode())
            self.run_log.cut(0)
        for text in remarks:
            self.note(text)

    def restore(self) -> None:
        assert self.out is not None
        path = self.out / "checkpoint.pt"
        state = checkpoint.load(path, self.device)
        self._refuse_another_run(state, path)
        with reading(path, FormatError, "does not fit this model; train again"):
            self.method.load_state_dict(state["weights"])
            self.stage_index, self.step, self.attempt = state["stage"], state["step"], state["attempt"]
            self.total_step, self.best_error = state["total_step"], state["best_error"]
            self.failure = state.get("failure", "")
            if self.average:
                self.average.restore(state["average"])
            if self.stage_index < len(self.method.stages()):
                self._enter(self.method.stages()[self.stage_index])
                if self.step and {*state["players"], *state["optimisers"]} != set(self.players):
                    raise KeyError(f"expected the states of {', '.join(self.players)}")
                for name, values in state["players"].items():
                    player = self.players[name]
                    if not isinstance(player, SearchPlayer):
                        raise TypeError(f"{name} does not search")
                    player.restore(values)
                for name, groups in state["optimisers"].items():
                    for group, values in groups.items():
                        self.optimisers[name].adams[group].load_state_dict(values)
        if self.run_log is not None:
            self.run_log.cut(self.total_step)

    def _refuse_another_run(self, state: dict[str, Any], path: Path) -> None:
        stored = parse_yaml(str(state.get("config", "")), str(path))
        if found := differences(self.method.config, stored):
            raise FormatError(
                f"{path}: was trained with another configuration ({', '.join(found)}). Leave these settings as the run's "
                "config.yaml has them, or train into another folder."
            )
        if state.get("seed") != self.seed:
            raise FormatError(
                f"{path}: was trained with seed {state.get('seed')}, not {self.seed}. Resume it with that seed."
            )
        if state.get("images", self.images) != self.images:
            raise FormatError(
                f"{path}: was trained on other images. Resume with the same data, and the same --fit and -n."
            )

    # --- going on -----------------------------------------------------------------------------------------------------

    def _enter(self, stage: Stage) -> None:
        self.players = {player.name: player for player in stage.players}
        self.optimisers = {p.name: PlayerOptimizer(p) for p in stage.players if isinstance(p, GradientPlayer)}

    def _play(self, stage: Stage, cache: dict[int, Tensor]) -> dict[str, Tensor]:
        """Do one step; return every named term."""
        index = batch_indices(len(self.pixels), stage.batch, self.seed, stage.name, self.step, cache)
        local_slice = parallel.local_slice_of(stage.batch)
        context = StepContext(
            stage.name, self.step, stage.steps, local_slice, stage.batch, {}, parallel.all_reduce, parallel.all_gather,
            self._interrupts, self._progress,
        )  # fmt: skip
        for player in self.players.values():
            if isinstance(player, SearchPlayer):
                rng = stream(self.seed, stage.name, self.step, player.name, "order")
                preferred = player.preferred(self.pixels, rng, context)
                index = index if preferred is None else preferred
        images, terms = self._floats(index[local_slice]), dict[str, Tensor]()
        for player in self.players.values():
            rng = stream(self.seed, stage.name, self.step, player.name, self.attempt)
            if isinstance(player, GradientPlayer):
                optimiser = self.optimisers[player.name]
                with optimiser.alone(self.method), enough_memory(self.method.config, stage):
                    found = player.turn(images, rng, context)
                    loss = torch.stack(list(found.values())).sum()
                    self._guard(loss, stage)
                    optimiser.step(loss, context)
            else:
                with torch.no_grad():
                    found = player.turn(images, rng, context)
            terms |= {name: value.detach() for name, value in found.items()}
        after = self.method.after_update(stream(self.seed, stage.name, self.step, "after", self.attempt), context)
        if self.average:
            self.average.update(self.method)
        self.collapse, self.convergence = self.method.collapsed(context), self.method.converged(context)
        self.aside = tuple(after)
        return terms | {name: torch.as_tensor(value) for name, value in after.items()}

    def _guard(self, loss: Tensor, stage: Stage) -> None:
        """Stop before a loss that is not finite spoils the weights; on a GPU, look only when logging."""
        if self.device.type != "cpu" and self.step % self.intervals.log:
            return
        if not bool(torch.isfinite(loss)):
            raise self._broken(f"the loss is {float(loss.detach())}", stage.name)

    def _broken(self, why: str, stage: str = "training") -> TrainingError:
        """Say why training cannot go on, and from where it can."""
        kept = f"The last good checkpoint is {self.out / 'checkpoint.pt'}. " if self.out else ""
        return TrainingError(
            f"{stage}, step {self.step}: {why}; training stops. {kept}Try a lower learning rate "
            "(--set learning_rate=...), or resume to repeat from the checkpoint."
        )

    def _check(self, stage: Stage, last: bool) -> float:
        """Measure the label-free error, and keep the best model; or keep the last one, which changes no state."""
        with self.average.applied(self.method) if self.average else nullcontext():
            error = float(self.method.error(self.check_images, stage.name).mean())
            if not math.isfinite(error):
                raise self._broken(f"the check error is {error}", stage.name)
            if error <= self.best_error or last:
                if not last:
                    self.best_error = error
                self._keep("model" if last else "best")
        return error

    def _keep(self, name: str) -> None:
        """Save the model as it stands."""
        if self.out is not None and self.first:
            save_model(self.method, self.out / name)

    def _preview(self) -> None:
        if self.run_log is None:
            return
        with self.average.applied(self.method) if self.average else nullcontext():
            self.method.cpu()
            pictures = self.method.preview(self.check_images[:8].cpu())
            self.method.to(self.device)
        self.run_log.preview(self.total_step, pictures)

    def _show(self, stage: str, figures: Mapping[str, float], sprites: Callable[[], Sequence[Tensor]]) -> None:
        """Let people see the sprites, now and then."""
        if self.run_log is not None and time.monotonic() - self.last_shown > self.intervals.live_seconds:
            self.run_log.live(stage, figures, [each.detach().cpu() for each in sprites()])
            self.last_shown = time.monotonic()

    def _write(self, terms: dict[str, Tensor], stage: Stage, speed: float, check: float | None) -> None:
        figures = {name: float(value) for name, value in terms.items()}
        if isinstance(next(iter(self.players.values()), None), GradientPlayer):
            figures["loss"] = sum(float(terms[n]) for n in terms if n not in self.aside)
        else:
            figures["loss"] = figures.get("error", 0.0)
        if active := len(self.method.active_entries):
            figures["active"] = float(active)
        if check is not None:
            figures["check"] = check
        figures["images_per_second"] = round(speed, 1)
        if self.run_log is not None:
            self.run_log.log(self.total_step, stage.name, self.step, figures)
        if active:
            self._show(stage.name, figures, self.method.shown_sprites)
        self.callback.step(stage.name, self.step + 1, figures)

    def _interrupts(self) -> bool:
        """Whether a turn should end before it is done; of several processes none may leave the others waiting."""
        return parallel.world()[1] == 1 and (self.stopped is not None or time.monotonic() > self.deadline)

    def _progress(self, figures: Mapping[str, float], sprites: Callable[[], Sequence[Tensor]]) -> None:
        """Pass on how a long turn goes, and keep what it has found so far."""
        stage = self.method.stages()[self.stage_index].name
        self.callback.progress(stage, self.step, figures)
        self._show(stage, figures, sprites)
        if time.monotonic() - self.last_save > self.intervals.checkpoint_seconds:
            self.save()

    def _why_stop(self) -> str | None:
        reason = self.stopped
        if reason is None and self.budget.steps is not None and self.total_step >= self.budget.steps:
            reason = "steps"
        if reason is None and time.monotonic() > self.deadline:
            reason = "minutes"
        return reason if parallel.from_first(reason is not None, self.device) else None

    def _restart(self, stage: Stage) -> str | None:
        """Answer a collapse: start the whole run over, with other random numbers, or give up and return why."""
        said = f"{stage.name}, step {self.step}: {self.collapse}."
        self.step += 1
        if self.attempt >= self.method.max_restarts:
            times = f"after {self.attempt} restarts" if self.method.max_restarts else "restarts are off"
            self.failure = f"{said} Given up ({times}). Other settings, or more images, may help."
            self.note(self.failure)
            self.total_step += 1
            return "failed"
        self.attempt += 1
        # Before the step is counted: the log of a resumed run is cut back to what had been counted.
        self.note(f"{said} Started over, restart {self.attempt} of {self.method.max_restarts}.")
        self.total_step += 1
        self.method.restart(self.seed, self.attempt)
        self.stage_index, self.step, self.players, self.optimisers = 0, 0, {}, {}
        self.best_error = math.inf
        if self.average:
            self.average.begin(self.method)
        self.save()
        return None

    def note(self, text: str) -> None:
        if self.run_log is not None:
            self.run_log.note(self.total_step, text)
        self.callback.note(text)

    def stage(self, stage: Stage, last: bool) -> str | None:
        """Go through one stage from `self.step`; return why it stopped early, or None (done, or started over)."""
        if not self.players:
            self._enter(stage)
        self.callback.stage(stage.name, self.step, stage.steps)
        cache: dict[int, Tensor] = {}
        since, done = time.monotonic(), 0
        self.method.train()
        while self.step < stage.steps:
            reason = self._why_stop()
            if reason:
                return reason
            if self.step == 0:
                # Not before: a run that stops here has not begun this stage.
                self.best_error = math.inf
                if stage.averages and self.average:
                    self.average.put(self.method)
                    self.average.begin(self.method)
                self.method.on_stage_start(stage.name)
            try:
                terms = self._play(stage, cache)
            except InterruptedTurn:
                self.interrupted = True
                return self._why_stop() or "interrupted"
            done += stage.batch
            if self.collapse is not None:
                return self._restart(stage)
            if self.convergence is not None:
                self.note(f"{stage.name}, step {self.step}: {self.convergence}. The stage ends early.")
            ends = self.step == stage.steps - 1 or self.convergence is not None
            slow = stage.steps <= 50
            check = None
            if ends or (self.step and self.step % self.intervals.check == 0):
                check = self._check(stage, last=False)
            if check is not None or slow or self.step % self.intervals.log == 0:
                self._write(terms, stage, done / max(time.monotonic() - since, 1e-6), check)
                since, done = time.monotonic(), 0
            else:
                self.callback.step(stage.name, self.step + 1, {})
            self.step += 1
            self.total_step += 1
            if ends or self.total_step % self.intervals.preview == 0:
                self._preview()
            if self.convergence is not None:
                break
            if time.monotonic() - self.last_save > self.intervals.checkpoint_seconds:
                self.save()
        self.stage_index, self.step = self.stage_index + 1, 0
        following = self.method.stages()[self.stage_index : self.stage_index + 1]
        if not (following and following[0].continues):
            self.players, self.optimisers = {}, {}
        self.save()
        return None

    def go(self) -> TrainResult:
        stages = self.method.stages()
        reason = "failed" if self.failure else None
        if self.failure:  # in an earlier call; its note is in the log already
            self.callback.note(self.failure)
        while self.stage_index < len(stages) and reason is None:
            reason = self.stage(stages[self.stage_index], self.stage_index == len(stages) - 1)
        if reason is not None:
            self.save()  # first: there may be no time for more
        # Leave a usable model wherever training ends.
        self.method.eval()
        best = self.best_error
        if self.total_step or self.interrupted:
            begun = self.step > 0 or self.interrupted
            worked = max(self.stage_index - (not begun), 0)  # a stage that has not begun has taught nothing yet
            if self.stopped is None:
                best = min(best, self._check(stages[worked], last=True))
            else:  # there is no time to measure it
                with self.average.applied(self.method) if self.average else nullcontext():
                    self._keep("model")
        if self.average:
            self.average.put(self.method)
        return TrainResult(reason is None, reason or "finished", self.total_step, best)


def train(
    method: Method,
    pixels: UInt8[Tensor, "N 3 H W"],
    out: str | Path | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    budget: Budget | None = None,
    intervals: Intervals | None = None,
    resume: bool = False,
    callback: Callback | None = None,
    tensorboard: bool = False,
) -> TrainResult:
    """Train a method on images.

    Args:
        method: A fresh model; it is trained in place and left on `device`, with averaged weights where it has them.
        pixels: All images, uint8, of the model's size.
        out: The run folder; None keeps nothing.
        seed: Seed of every random number of the run.
        device: Where to compute.
        budget: When to stop early; `Budget(minutes=10)`.
        intervals: How often to log, check and save.
        resume: Go on from the run folder's checkpoint.
        callback: Is told of every step.
        tensorboard: Also write TensorBoard files.

    Raises:
        DataError: The images have the wrong size, or there are none.
        TrainingError: The loss is not finite; the last good checkpoint stays.
        OutputError: The folder cannot be written, or another training writes there.
        KeyboardInterrupt: It was stopped twice; the last checkpoint stays.
    """
    device = torch.device(device)
    check_pixels(pixels, method.image_size)
    folder = None if out is None else Path(out)
    with ExitStack() as ends:
        if parallel.join(device):
            ends.callback(torch.distributed.destroy_process_group)
        if folder is not None and parallel.world()[0] == 0:
            ends.enter_context(alone_in(folder))
        callback = callback or SilentCallback()
        ends.callback(callback.close)
        if (text := method.preparation(len(pixels))) is not None:
            callback.note(text)
        remarks = (*method.prepare(pixels), *method.device_warnings(device))
        method.to(device)
        run = _Run(
            method, pixels, folder, seed, budget or Budget(), intervals or Intervals(), callback, device, tensorboard
        )
        if run.run_log is not None:
            ends.callback(run.run_log.close)
        if resume:
            run.restore()
        else:
            run.begin(remarks)

        def tell(name: str) -> None:
            run.stopped = name

        with signals(tell):
            return run.go()
