"""Runs fuzz targets, each in a process of its own with limits of time and memory.

Use: python tests/fuzz/drive.py [TARGET...] --seconds 60      by coverage (atheris) if it is installed, else by mutation
     python tests/fuzz/drive.py --engine mutations --runs 300 --seed 1      the same inputs every time
Inputs that found something lie in WORK/crashes/TARGET, those of atheris that reached new code in WORK/corpus/TARGET; a
next run begins with both. Limits for one input: 10 s, and 512 MiB of address space beyond the start. A finding is exit
code 1.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib.util
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType, FunctionType
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MAX_SECONDS = 10
MAX_ADDRESS_BYTES = 512 << 20
MAX_INPUT_BYTES = 1 << 16


class TooSlowError(BaseException):
    """A parser that does not come back. No Exception: nothing on its way may take it for one of its own."""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", help="default: all")
    parser.add_argument("--engine", choices=("auto", "atheris", "mutations"), default="auto")
    parser.add_argument("--seconds", type=float, default=None, help="for each target")
    parser.add_argument("--runs", type=int, default=None, help="inputs for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/fuzz-python"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seconds is None and options.runs is None:
        parser.error("needs --seconds or --runs")
    if options.engine == "auto":
        options.engine = "atheris" if importlib.util.find_spec("atheris") else "mutations"
    return options


def limit_memory() -> None:
    """Let an allocation that no input can justify fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def keep(work: Path, target: str, data: bytes) -> Path:
    """Store an input that found something."""
    path = work / "crashes" / target / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def known_inputs(work: Path, target: str) -> list[bytes]:
    """What earlier runs left."""
    paths = (path for kind in ("crashes", "corpus") for path in sorted((work / kind / target).glob("*")))
    return [path.read_bytes() for path in paths]


def run_mutations(options: argparse.Namespace, name: str) -> int:
    """Try the seeds and what earlier runs left, then mutations of these; print one line."""
    from fuzz.mutations import mutated
    from fuzz.targets import TARGETS

    target, chance = TARGETS[name], random.Random(f"{options.seed} {name}")
    pool = [*target.seeds(), *known_inputs(options.work, name)]
    signal.signal(signal.SIGALRM, _too_slow)
    limit_memory()
    started, n_inputs, n_sound, findings = time.monotonic(), 0, 0, 0
    while _goes_on(options, n_inputs, started):
        data = pool[n_inputs] if n_inputs < len(pool) else mutated(chance.choice(pool), pool, chance)
        n_inputs += 1
        signal.alarm(MAX_SECONDS)
        try:
            n_sound += target.accepts(data)
        except (Exception, TooSlowError) as exc:  # noqa: BLE001 (to find every exception that should not be is the purpose)
            findings += 1
            print(f"{name}: {type(exc).__name__}: {exc!s:.300}; input {keep(options.work, name, data)}")
        finally:
            signal.alarm(0)
    seconds = time.monotonic() - started
    print(f"{name}: {n_inputs} inputs in {seconds:.1f} s, {n_sound} of them sound, {findings} findings")
    return int(findings > 0)


def _goes_on(options: argparse.Namespace, n_inputs: int, started: float) -> bool:
    if options.runs is not None and n_inputs >= options.runs:
        return False
    return options.seconds is None or time.monotonic() - started < options.seconds


def _too_slow(number: int, frame: FrameType | None) -> NoReturn:
    raise TooSlowError(f"more than {MAX_SECONDS} s")


def run_atheris(options: argparse.Namespace, name: str) -> NoReturn:
    """Hand the process over to libFuzzer, which ends it."""
    import atheris

    from fuzz.targets import TARGETS

    target = TARGETS[name]
    seeds = target.seeds()
    for seed in seeds:  # loads what is imported when it is first needed
        target.accepts(seed)
    # Function by function: atheris's import hook leaves modules of an editable install without counters.
    for function in [found for found in gc.get_objects() if isinstance(found, FunctionType)]:
        if (function.__module__ or "").startswith("tersor."):
            atheris.instrument_func(function)
    corpus, crashes = options.work / "corpus" / name, options.work / "crashes" / name
    for folder in (corpus, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_len={MAX_INPUT_BYTES}", f"-timeout={MAX_SECONDS}", "-rss_limit_mb=2048"]
    if options.seconds is not None:
        limits.append(f"-max_total_time={int(options.seconds)}")
    if options.runs is not None:
        limits.append(f"-runs={options.runs}")
    words = [f"-seed={options.seed + 1}", "-print_final_stats=1", f"-artifact_prefix={crashes}/", str(corpus)]
    limit_memory()
    atheris.Setup([sys.argv[0], *limits, *words], lambda data: void(target.accepts(data)))
    atheris.Fuzz()
    raise SystemExit(0)


def void(value: object) -> None:
    """Nothing: libFuzzer takes any other answer for a wish."""


def run_child(options: argparse.Namespace, name: str) -> int:
    """Run one target in a process of its own; its output is shown if it found something."""
    words = [
        name,
        "--child",
        "--engine",
        options.engine,
        "--seed",
        str(options.seed),
        "--work",
        str(options.work),
    ]
    for limit in ("seconds", "runs"):
        if getattr(options, limit) is not None:
            words += [f"--{limit}", str(getattr(options, limit))]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    if options.engine == "atheris" and done.returncode == 0:
        executed = [
            line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line
        ]
        print(f"{name}: {'; '.join(executed) or '?'} inputs by coverage, no finding")
    elif done.returncode == 0:
        print(done.stdout, end="")
    else:
        print(f"{name}: FOUND SOMETHING, see {options.work / 'crashes' / name}")
        print(done.stdout[-4000:] + done.stderr[-4000:])
    sys.stdout.flush()
    return int(done.returncode != 0)


def main() -> None:
    options = parse_arguments()
    if options.child:
        (name,) = options.targets
        sys.exit(run_atheris(options, name) if options.engine == "atheris" else run_mutations(options, name))
    from fuzz.targets import TARGETS

    unknown = sorted(set(options.targets) - set(TARGETS))
    if unknown:
        sys.exit(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    sys.exit(max(run_child(options, name) for name in options.targets or TARGETS))


if __name__ == "__main__":
    main()
