"""Walk a graph of steps in parallel, recalling what the store has; progress as events."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import digest, known
from .contract import BESIDE, contract
from .disk import check_room, disk
from .errors import CorruptObject, OrtolanError, StepError
from .events import Emit, Event
from .place import Local, Place, Reply
from .place.reply import end_of
from .runtime import Runtime, broken
from .sandbox import Fetch, from_tree, keep, prepare, put_all
from .step import Ref, Step, Tree, in_order
from .store import Action, Output, Store

_TOLD = 1 << 16  # bytes of a log's end
_LARGE = 500_000_000  # bytes; a session of ONNX Runtime may need twice as much for a while


@dataclass(frozen=True)
class Result:
    """How a step ended: an ``action`` (which may be a refusal), an ``error``, or ``skipped`` because of another step."""

    step: Step
    action: Action | None = None
    error: OrtolanError | None = None
    skipped: Step | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """The step's facts; empty unless it succeeded."""
        return self.action.facts if self.ok and self.action else {}

    @property
    def ok(self) -> bool:
        """Whether the step has outputs."""
        return self.action is not None and self.action.refused is None

    def output(self, name: str) -> Output:
        """One of the step's outputs. LookupError when it has none: only steps that succeeded are read from."""
        if self.action is None:
            raise LookupError(f"{self.step.label} has no outputs")
        return self.action.outputs[name]

    @property
    def outputs(self) -> Mapping[str, Output]:
        """The step's outputs by name; none unless it succeeded."""
        return self.action.outputs if self.action else {}

    @property
    def refused(self) -> Mapping[str, str] | None:
        """The stage's verdict, when it refused its input."""
        return self.action.refused if self.action else None


Results = dict[str, Result]


@dataclass
class Executor:
    """What steps need to run: a store, made runtimes, a place, a folder for work.

    ``places`` are those of runtimes that are elsewhere, by the runtime's name.
    """

    store: Store
    runtimes: Mapping[str, Runtime]
    work: Path
    emit: Emit
    jobs: int = 0
    place: Local = field(default_factory=Local)
    places: Mapping[str, Place] = field(default_factory=dict)

    def run(self, wanted: Iterable[Step], known: Results | None = None) -> Results:
        """Run the wanted steps and what they need, but for those that are ``known``. A failed step stops only those that need it.

        KeyboardInterrupt ends the running steps' processes before it goes on.
        """
        results: Results = dict(known or {})
        steps = [step for step in in_order(wanted) if step.id not in results]
        self.emit(Event("plan", total=len(steps)))
        waiting = {step.id: step for step in longest_first(steps)}
        running: dict[Future[Result], Step] = {}
        with ThreadPoolExecutor(self._wide) as pool:
            try:
                while waiting or running:
                    self._settle(waiting, results, running, pool)
                    for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                        results[running.pop(future).id] = future.result()
            except BaseException:
                for place in (self.place, *self.places.values()):
                    place.stop()
                raise
        return results

    @property
    def _wide(self) -> int:
        """Steps at a time."""
        return self.jobs or os.cpu_count() or 1

    def _settle(
        self, waiting: dict[str, Step], results: Results, running: dict[Future[Result], Step], pool: ThreadPoolExecutor
    ) -> None:
        """Settle at once what is skipped or recalled; start what is ready, as far as there is room."""
        for step in list(waiting.values()):
            if not all(needed.id in results for needed in step.needs()):
                continue
            settled = self._skipped(step, results) or self._recalled(step, results)
            if settled:
                results[step.id] = settled
            elif len(running) < self._wide and self._has_room(step, running.values(), results):
                running[pool.submit(self._made, step, dict(results))] = step
            else:
                continue
            del waiting[step.id]

    def _has_room(self, step: Step, running: Iterable[Step], results: Results) -> bool:
        """Two steps that read so much might not fit into memory side by side."""
        return _read_by(step, results) < _LARGE or all(_read_by(one, results) < _LARGE for one in running)

    def _skipped(self, step: Step, results: Results) -> Result | None:
        culprit = next((needed for needed in step.needs() if not results[needed.id].ok), None)
        if culprit is None:
            return None
        self.emit(Event("skipped", step.label, f"needs {culprit.label}"))
        return Result(step, skipped=results[culprit.id].skipped or culprit)

    def _recalled(self, step: Step, results: Results) -> Result | None:
        action = self.store.recall(key_of(self.preimage(step, results)))
        if action is None:
            return None
        self.emit(Event("recalled", step.label))
        return Result(step, action)

    def preimage(self, step: Step, results: Results) -> dict[str, Any]:
        """Everything that a step's result may depend on; its digest is the step's key."""
        declared, runtime = contract(step.stage), self.runtimes[step.runtime]
        return {
            "stage": step.stage,
            "source": declared.source,
            "runtime": runtime.identity,
            "cpu": list(runtime.cpu_features) if declared.cpu else [],
            "params": dict(step.params),
            "inputs": {name: _digest(source, results) for name, source in step.inputs.items()},
        }

    def _made(self, step: Step, results: Results) -> Result:
        key = key_of(self.preimage(step, results))
        with self.store.only_one(key, self.place.stopped):
            recalled = self._recalled(step, results)  # another build may have made it meanwhile
            return recalled or self._run(step, results)

    def _run(self, step: Step, results: Results) -> Result:
        self.emit(Event("start", step.label))
        began = time.monotonic()
        try:
            action = self._act(step, results)
        except (OrtolanError, OSError) as raised:
            error = raised if isinstance(raised, OrtolanError) else StepError(str(raised), where=step.label)
            self.emit(Event("failed", step.label, error.what, seconds=time.monotonic() - began))
            return Result(step, error=error)
        kind, text = ("refused", action.refused["what"]) if action.refused else ("done", "")
        self.emit(Event("refused" if kind == "refused" else "done", step.label, text, seconds=time.monotonic() - began))
        return Result(step, action)

    def _act(self, step: Step, results: Results) -> Action:
        """Run the step in a new folder and keep what it left; the folder stays when it crashed."""
        with disk(self.work):
            self.work.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{digest.short(step.id)}-", dir=self.work))
        try:
            reply = self._reply(step, folder, results)
            if reply.crash:
                check_room(folder)
                raise _crashed(step, reply.crash, keep(folder, self.work / f"failed-{step.stage}-{digest.short(step.id)}"))
            return self._keep_action(step, reply, folder, results)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _reply(self, step: Step, folder: Path, results: Results) -> Reply:
        paths, files = self._inputs(step, results)
        with disk(folder):
            prepare(folder, step.stage, paths, files, step.params)
        runtime = self.runtimes[step.runtime]
        place = self.places.get(step.runtime, self.place)
        reply = place.run(folder, runtime.interpreter, step.time_limit)
        if written := next((path for path in files if known.changed(folder / path)), ""):
            raise StepError(
                "a file changed while the step read it", where=step.label, why=f"its {written} was written to",
                hint="run the same command again, and let nothing write to the model's files meanwhile",
            )  # fmt: skip
        if reply.crash and (damaged := broken(runtime)):
            self.emit(Event("note", step.label, f"runtime {runtime.name} was damaged ({damaged[0]}) and is made again"))
            raise StepError(
                f"runtime {runtime.name} is damaged", where=step.label, why=f"{len(damaged)} files differ, such as {damaged[0]}",
                hint="run the same command again: the runtime is made anew",
            )  # fmt: skip
        return reply

    def _inputs(self, step: Step, results: Results) -> tuple[dict[str, str], dict[str, Fetch]]:
        paths: dict[str, str] = {}
        files: dict[str, Fetch] = {}
        for name, source in step.inputs.items():
            shared = name in contract(step.stage).weighty
            if isinstance(source, Ref):
                paths[name] = f"in/{name}/{source.name}"
                files[paths[name]] = self._fetcher(source, results, shared=shared)
                if shared and (weights := weights_of(source, results)):
                    files[paths[name] + BESIDE] = self._fetcher(weights, results, shared=True)
            else:
                paths[name] = f"in/{name}/{next(iter(source.files))}" if source.single else f"in/{name}"
                files |= {f"in/{name}/{path}": from_tree(source, path, shared=shared) for path in source.files}
        return paths, files

    def _fetcher(self, ref: Ref, results: Results, *, shared: bool) -> Fetch:
        return lambda to: self.fetch(ref, to, results, shared=shared)

    def fetch(self, ref: Ref, to: Path, results: Results, *, shared: bool = False) -> None:
        """Copy a step's output to a path, or let it share the store's where nobody will write to it; first mend a damaged one."""
        output = results[ref.step.id].output(ref.name)
        try:
            self.store.fetch(output.digest, to, shared=shared)
        except CorruptObject as error:
            self._make_again(ref.step, error, results)
            self.store.fetch(output.digest, to, shared=shared)

    def _make_again(self, step: Step, error: CorruptObject, results: Results) -> None:
        """Run a step whose output is damaged, unless another thread or build has just done so."""
        key = key_of(self.preimage(step, results))
        with self.store.only_one(key, self.place.stopped):
            if self.store.recall(key):
                return
            self.emit(Event("note", step.label, f"{error.what}: made again"))
            again = self._run(step, results)
        if again.error or not again.ok:
            raise again.error or error

    def _keep_action(self, step: Step, reply: Reply, folder: Path, results: Results) -> Action:
        preimage = self.preimage(step, results)
        outputs = {} if reply.refused else put_all(self.store, step, folder / "out")
        action = Action(key_of(preimage), preimage, outputs, reply.facts or {}, reply.refused)
        self.store.record(action)
        return action


def weights_of(model: Ref, results: Results) -> Ref | None:
    """The file with a model's weights, where it has one: its step left it, or one before whose weights are still the model's."""
    told = results[model.step.id].facts.get("weights_file")
    if told is None or not model.name.endswith(".onnx"):
        return None
    own = Ref(model.step, model.name + BESIDE)
    if own.name in results[model.step.id].outputs:
        return own
    before = (source for source in model.step.inputs.values() if isinstance(source, Ref))
    found = (one for ref in before if (one := weights_of(ref, results)) and _digest(one, results) == told)
    return next(found)


def longest_first(steps: Iterable[Step]) -> list[Step]:
    """Steps in the order in which they should start: first what the longest chain of others waits for, then what reads data sets.

    ``steps`` are as ``in_order`` gives them. With the durations of ResNet-18's steps on two cores, that takes a build to its
    choice of precision in 17.5 s, as the true durations would as weights; in their own order the steps take 18.2 s.
    """
    ahead: dict[str, int] = {}
    given = list(steps)
    for step in reversed(given):
        for needed in step.needs():
            ahead[needed.id] = max(ahead.get(needed.id, 0), ahead.get(step.id, 0) + 1)
    return sorted(given, key=lambda step: (-ahead.get(step.id, 0), not any(isinstance(s, Tree) for s in step.inputs.values())))


def key_of(preimage: Mapping[str, Any]) -> str:
    """The key of a step."""
    return digest.of_json("key", preimage)


def _read_by(step: Step, results: Results) -> int:
    """Bytes of the models, with their weights, that a step declares to read whole."""
    found = 0
    for name in contract(step.stage).weighty & step.inputs.keys():
        source = step.inputs[name]
        if isinstance(source, Tree):
            found += source.size
        elif weights := weights_of(source, results):
            found += results[weights.step.id].output(weights.name).size
    return found


def _digest(source: Ref | Tree, results: Results) -> str:
    return source.digest if isinstance(source, Tree) else results[source.step.id].output(source.name).digest


def _crashed(step: Step, crash: str, kept: Path) -> StepError:
    lines = end_of(kept / "log.txt", _TOLD).decode(errors="replace").strip().splitlines()
    why = "\n       ".join(["the log ends with:", *lines[-8:]]) if lines else "it printed nothing"
    return StepError(crash, where=step.label, why=why, hint=f"the step's folder with its inputs and log.txt is kept: {kept}")
