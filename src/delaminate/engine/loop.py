"""Training: stages; in each step the players take turns.

The loop receives images and nothing else. The whole state of a run is (stage, step, attempt, weights, player states), so a
run killed at any moment and resumed ends with the same weights: the order of the data and every random number are
functions of (seed, stage, step, player, attempt).
"""

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from delaminate.config import differences, parse_yaml, to_yaml
from delaminate.engine import checkpoint, parallel
from delaminate.engine.ema import Average
from delaminate.engine.guards import check_pixels, enough_memory, signals
from delaminate.engine.record import Listener, Quiet, Record
from delaminate.errors import FormatError, TrainingError
from delaminate.files import write_atomic
from delaminate.methods.base import Method
from delaminate.methods.players import Carry, GradientPlayer, Player, SearchPlayer, Stage
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
class Pace:
    """How often things are written, in steps (checkpoints also by time)."""

    log: int = 10
    check: int = 500
    preview: int = 500
    checkpoint_seconds: float = 60.0


@dataclass(frozen=True)
class Outcome:
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


class Optimiser:
    """One Adam per parameter group of a gradient player."""

    def __init__(self, player: GradientPlayer) -> None:
        self.player = player
        self.groups = player.groups()
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[player.algorithm]
        self.adams = {
            g.name: kind(g.parameters, lr=g.rate, betas=player.betas, weight_decay=g.weight_decay, fused=True)
            for g in self.groups
        }
        self.parameters = [p for g in self.groups for p in g.parameters]

    @contextmanager
    def alone(self, method: Method) -> Iterator[None]:
        """Let gradients reach this player's parameters only: what is thrown away need not be computed."""
        own = {id(parameter) for parameter in self.parameters}
        others = [p for p in method.parameters() if p.requires_grad and id(p) not in own]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    def step(self, loss: Tensor, carry: Carry) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        parallel.average_gradients(self.parameters)
        if self.player.clip is not None:
            nn.utils.clip_grad_norm_([p for p in self.parameters if p.grad is not None], self.player.clip)
        for group in self.groups:
            adam = self.adams[group.name]
            adam.param_groups[0]["lr"] = group.rate * self.player.rate(group.name, carry)
            for _ in range(self.player.repeats(group.name)):
                adam.step()


def order(count: int, batch: int, seed: int, stage: str, step: int, cache: dict[int, Tensor]) -> Tensor:
    """List the images of one step: the step's stretch of an endless row of shuffled epochs."""
    first = step * batch
    picked: list[Tensor] = []
    while batch > 0:
        epoch, start = divmod(first, count)
        if epoch not in cache:
            for old in [e for e in cache if e < epoch - 1]:
                del cache[old]
            cache[epoch] = torch.randperm(count, generator=stream(seed, stage, "order", epoch))
        taken = cache[epoch][start : start + batch]
        picked.append(taken)
        first += len(taken)
        batch -= len(taken)
    return torch.cat(picked)


def digest(pixels: UInt8[Tensor, "N 3 H W"], most: int = 1_000) -> str:
    """Name images by their number, size and the pixels of a thousand of them at the most."""
    some = pixels[:: max(len(pixels) // most, 1)].cpu().contiguous()
    return f"{tuple(pixels.shape)} {hashlib.sha256(some.numpy().tobytes()).hexdigest()}"


class _Run:
    """One call of `train`."""

    def __init__(
        self, method: Method, pixels: UInt8[Tensor, "N 3 H W"], out: Path | None, seed: int, budget: Budget, pace: Pace,
        listener: Listener, device: torch.device, tensorboard: bool,
    ) -> None:  # fmt: skip
        self.method, self.pixels, self.out, self.seed = method, pixels, out, seed
        self.budget, self.pace, self.listener, self.device = budget, pace, listener, device
        self.dtype = next(method.parameters()).dtype
        self.images = digest(pixels)
        if device.type == "cuda" and pixels.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
            self.pixels = pixels.to(device)  # a step then copies nothing
        self.first = parallel.world()[0] == 0
        self.record = Record(out, tensorboard) if out is not None and self.first else None
        self.total_step, self.stage_index, self.step, self.attempt = 0, 0, 0, 0
        self.best_error = math.inf
        ema = getattr(getattr(method, "config", None), "ema", 0.0)
        self.average = Average(method, ema, method.averaged) if ema else None
        self.restarts = getattr(method.config, "restarts", 0)
        self.stopped: str | None = None
        self.collapse: str | None = None
        self.failure = ""  # why the run is given up, once it is
        self.settled: str | None = None
        self.deadline = math.inf if budget.minutes is None else time.monotonic() + 60 * budget.minutes
        self.last_save = time.monotonic()
        # Model selection without labels: the error of a fixed 100 images.
        some = torch.randperm(len(pixels), generator=stream(seed, "check"))[:100]
        self.check_images = self._floats(some)
        self.players: dict[str, Player] = {}
        self.optimisers: dict[str, Optimiser] = {}
        self.aside: tuple[str, ...] = ()  # figures of the last step that are no terms of the loss

    def _floats(self, index: Tensor) -> Float[Tensor, "B 3 H W"]:
        return self.pixels[index.to(self.pixels.device)].to(self.device, self.dtype) / 255

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
        """Write the checkpoint; weights that are no numbers never replace good ones."""
        if not all(bool(torch.isfinite(weight).all()) for weight in self.method.parameters()):
            raise TrainingError(f"step {self.total_step}: weights are not finite; the last good checkpoint is kept.")
        if self.out is not None and self.first:
            checkpoint.save(self.out / "checkpoint.pt", self.state())
        self.last_save = time.monotonic()

    def begin(self, remarks: tuple[str, ...]) -> None:
        """Open a run folder of a run from nothing, and say what the user should know about the images."""
        if self.record is not None and self.out is not None:
            write_atomic(self.out / "config.yaml", to_yaml(self.method.config).encode())
            self.record.cut(0)
        for text in remarks:
            self.note(text)

    def restore(self) -> None:
        assert self.out is not None
        path = self.out / "checkpoint.pt"
        state = checkpoint.load(path, self.device)
        stored = parse_yaml(str(state.get("config", "")), str(path))
        if found := differences(self.method.config, stored):
            raise FormatError(
                f"{path}: was trained with another configuration ({', '.join(found)}). Leave these settings as the run's "
                "config.yaml has them, or train anew elsewhere."
            )
        if state.get("seed") != self.seed:
            raise FormatError(f"{path}: was trained with seed {state.get('seed')}, not {self.seed}.")
        if state.get("images", self.images) != self.images:
            raise FormatError(
                f"{path}: was trained on other images. Resume with the same data, and the same --fit and -n."
            )
        try:
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
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise FormatError(f"{path}: does not fit this model ({' '.join(str(error).split())[:120]}).") from None
        if self.record is not None:
            self.record.cut(self.total_step)

    # --- going on -----------------------------------------------------------------------------------------------------

    def _enter(self, stage: Stage) -> None:
        self.players = {player.name: player for player in stage.players}
        self.optimisers = {p.name: Optimiser(p) for p in stage.players if isinstance(p, GradientPlayer)}

    def _play(self, stage: Stage, cache: dict[int, Tensor]) -> dict[str, Tensor]:
        """Do one step; return every named term."""
        index = order(len(self.pixels), stage.batch, self.seed, stage.name, self.step, cache)
        share = parallel.share_of(stage.batch)
        images = self._floats(index[share])
        carry = Carry(
            stage.name, self.step, stage.steps, share, stage.batch, {}, parallel.all_reduce, parallel.all_gather
        )
        terms: dict[str, Tensor] = {}
        for player in self.players.values():
            rng = stream(self.seed, stage.name, self.step, player.name, self.attempt)
            if isinstance(player, GradientPlayer):
                optimiser = self.optimisers[player.name]
                with optimiser.alone(self.method), enough_memory(self.method.config, stage):
                    found = player.turn(images, rng, carry)
                    loss = torch.stack(list(found.values())).sum()
                    self._guard(loss, stage)
                    optimiser.step(loss, carry)
            else:
                with torch.no_grad():
                    found = player.turn(images, rng, carry)
            terms |= {name: value.detach() for name, value in found.items()}
        after = self.method.after_update(stream(self.seed, stage.name, self.step, "after", self.attempt), carry)
        if self.average:
            self.average.update(self.method)
        self.collapse, self.settled = self.method.collapsed(carry), self.method.settled(carry)
        self.aside = tuple(after)
        return terms | {name: torch.as_tensor(value) for name, value in after.items()}

    def _guard(self, loss: Tensor, stage: Stage) -> None:
        """Stop before a loss that is no number spoils the weights; on a GPU, look only when logging."""
        if self.device.type != "cpu" and self.step % self.pace.log:
            return
        if not bool(torch.isfinite(loss)):
            kept = f"The last good checkpoint is {self.out / 'checkpoint.pt'}." if self.out else ""
            raise TrainingError(
                f"{stage.name}, step {self.step}: the loss is {float(loss.detach())}; training stops. {kept} "
                "Try a lower rate (--set rate=...), or resume to repeat from the checkpoint."
            )

    def _check(self, stage: Stage, last: bool) -> float:
        """Measure the label-free error, and keep the best model; or keep the last one, which changes no state."""
        with self.average.applied(self.method) if self.average else nullcontext():
            error = float(self.method.error(self.check_images, stage.name).mean())
            if not math.isfinite(error):
                raise TrainingError(f"{stage.name}, step {self.step}: the check error is {error}; training stops.")
            if error <= self.best_error or last:
                if not last:
                    self.best_error = error
                if self.out is not None and self.first:
                    save_model(self.method, self.out / ("model" if last else "best"))
        return error

    def _preview(self) -> None:
        if self.record is None:
            return
        with self.average.applied(self.method) if self.average else nullcontext():
            self.method.cpu()
            pictures = self.method.preview(self.check_images[:8].cpu())
            self.method.to(self.device)
        self.record.preview(self.total_step, pictures)

    def _write(self, terms: dict[str, Tensor], stage: Stage, speed: float, check: float | None) -> None:
        figures = {name: float(value) for name, value in terms.items()}
        if isinstance(next(iter(self.players.values()), None), GradientPlayer):
            figures["loss"] = sum(float(terms[n]) for n in terms if n not in self.aside)
        else:
            figures["loss"] = figures.get("error", 0.0)
        if len(entries := getattr(self.method, "entries", ())):
            figures["active"] = float(len(entries))
        if check is not None:
            figures["check"] = check
        figures["images_per_second"] = round(speed, 1)
        if self.record is not None:
            self.record.log(self.total_step, stage.name, self.step, figures)
        self.listener.step(stage.name, self.step + 1, figures)

    def _why_stop(self) -> str | None:
        reason = self.stopped
        if reason is None and self.budget.steps is not None and self.total_step >= self.budget.steps:
            reason = "steps"
        if reason is None and time.monotonic() > self.deadline:
            reason = "minutes"
        return reason if parallel.from_first(reason is not None, self.device) else None

    def _restart(self, stage: Stage) -> str | None:
        """Answer a collapse: begin the whole run anew, with other random numbers, or give up and return why."""
        said = f"{stage.name}, step {self.step}: {self.collapse}."
        self.step += 1
        if self.attempt >= self.restarts:
            times = f"after {self.attempt} restarts" if self.restarts else "restarts are off"
            self.failure = f"{said} Given up ({times}). Other settings, or more images, may help."
            self.note(self.failure)
            self.total_step += 1
            return "failed"
        self.attempt += 1
        # Before the step is counted: the log of a resumed run is cut back to what had been counted.
        self.note(f"{said} Begun anew, restart {self.attempt} of {self.restarts}.")
        self.total_step += 1
        self.method.restart(self.seed, self.attempt)
        self.stage_index, self.step, self.players, self.optimisers = 0, 0, {}, {}
        self.best_error = math.inf
        if self.average:
            self.average.begin(self.method)
        self.save()
        return None

    def note(self, text: str) -> None:
        if self.record is not None:
            self.record.note(self.total_step, text)
        self.listener.note(text)

    def stage(self, stage: Stage, last: bool) -> str | None:
        """Go through one stage from `self.step`; return why it stopped early, or None (done, or begun anew)."""
        if not self.players:
            self._enter(stage)
        self.listener.stage(stage.name, self.step, stage.steps)
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
                self.method.begin(stage.name)
            terms = self._play(stage, cache)
            done += stage.batch
            if self.collapse is not None:
                return self._restart(stage)
            if self.settled is not None:
                self.note(f"{stage.name}, step {self.step}: {self.settled}. The stage ends early.")
            ends = self.step == stage.steps - 1 or self.settled is not None
            slow = stage.steps <= 50
            check = None
            if ends or (self.step and self.step % self.pace.check == 0):
                check = self._check(stage, last=False)
            if check is not None or slow or self.step % self.pace.log == 0:
                self._write(terms, stage, done / max(time.monotonic() - since, 1e-6), check)
                since, done = time.monotonic(), 0
            else:
                self.listener.step(stage.name, self.step + 1, {})
            self.step += 1
            self.total_step += 1
            if ends or self.total_step % self.pace.preview == 0:
                self._preview()
            if self.settled is not None:
                break
            if time.monotonic() - self.last_save > self.pace.checkpoint_seconds:
                self.save()
        self.stage_index, self.step = self.stage_index + 1, 0
        following = self.method.stages()[self.stage_index : self.stage_index + 1]
        if not (following and following[0].continues):
            self.players, self.optimisers = {}, {}
        self.save()
        return None

    def go(self) -> Outcome:
        stages = self.method.stages()
        reason = "failed" if self.failure else None
        if self.failure:  # in an earlier call; its note is in the log already
            self.listener.note(self.failure)
        while self.stage_index < len(stages) and reason is None:
            reason = self.stage(stages[self.stage_index], self.stage_index == len(stages) - 1)
        # Leave a usable model wherever training ends.
        self.method.eval()
        best = self.best_error
        if self.total_step:
            worked = max(self.stage_index - (self.step == 0), 0)  # a stage that has not begun has taught nothing yet
            best = min(best, self._check(stages[worked], last=True))
        if reason is not None:
            self.save()
        if self.average:
            self.average.put(self.method)
        return Outcome(reason is None, reason or "finished", self.total_step, best)


def train(
    method: Method,
    pixels: UInt8[Tensor, "N 3 H W"],
    out: str | Path | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    budget: Budget | None = None,
    pace: Pace | None = None,
    resume: bool = False,
    listener: Listener | None = None,
    tensorboard: bool = False,
) -> Outcome:
    """Train a method on images.

    Args:
        method: A fresh model; it is trained in place and left on `device`, with averaged weights where it has them.
        pixels: All images, uint8, of the model's size.
        out: The run folder; None keeps nothing.
        seed: Names every random number of the run.
        device: Where to compute.
        budget: When to stop early; `Budget(minutes=10)`.
        pace: How often to log, check and save.
        resume: Go on from the run folder's checkpoint.
        listener: Hears of every step.
        tensorboard: Also write TensorBoard files.

    Raises:
        DataError: The images have the wrong size, or there are none.
        TrainingError: The loss is no number; the last good checkpoint stays.
    """
    device = torch.device(device)
    check_pixels(pixels, method.image_size)
    joined = parallel.join(device)
    remarks = (*method.prepare(pixels), *method.cautions(device))
    method.to(device)
    listener = listener or Quiet()
    run = _Run(
        method, pixels, None if out is None else Path(out), seed, budget or Budget(), pace or Pace(),
        listener, device, tensorboard,
    )  # fmt: skip
    if resume:
        run.restore()
    else:
        run.begin(remarks)

    def tell(name: str) -> None:
        run.stopped = name

    try:
        with signals(tell):
            return run.go()
    finally:
        listener.close()
        if run.record is not None:
            run.record.close()
        if joined:
            torch.distributed.destroy_process_group()
