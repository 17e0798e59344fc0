"""Row 12: peak memory of `compress` on MiniLM above that of loading the model.

Use: python benchmarks/memory.py      about 2 minutes
Peaks are the kernel's (ru_maxrss of the child process), so mapped files that were touched count on both sides.
"""

from __future__ import annotations

from common import MIB, Table, arguments, finish, minilm, python, tersor, work_folder

BOUND_MIB = 250
LOAD = """
import sys, torch, transformers
model = transformers.AutoModel.from_pretrained(sys.argv[1])
"""


def main() -> None:
    options = arguments(__doc__, size="size to compress to (default 0.15x)")
    table = Table(
        "Peak memory of compress on MiniLM (FP32, 91 MB)", "process | peak MiB | above loading | at most | ok"
    )
    with work_folder(options.work) as work:
        loading = python(LOAD, minilm())
        if loading.code:
            raise SystemExit(loading.stderr)
        size = options.size or "0.15x"
        compressing = tersor("compress", minilm(), "-o", work / "small", "--size", size, "--json", "-q")
        compressing.json()
    above = (compressing.peak_rss_bytes - loading.peak_rss_bytes) / MIB
    table.add(
        "import torch, transformers; AutoModel.from_pretrained",
        f"{loading.peak_rss_bytes / MIB:.0f}",
        "",
        "",
        "",
    )
    ok = table.check(above <= BOUND_MIB, f"compress takes {above:.0f} MiB above loading, at most {BOUND_MIB}")
    table.add(
        f"tersor compress --size {size}",
        f"{compressing.peak_rss_bytes / MIB:.0f}",
        f"{above:.0f}",
        BOUND_MIB,
        ok,
    )
    finish(table)


if __name__ == "__main__":
    main()
