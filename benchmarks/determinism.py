"""Row 11: the same input gives the same bytes, twice, and with one thread and two.

Use: python benchmarks/determinism.py --data FOLDER      about 6 minutes
Compared: the SHA-256 of every file of the output folder.
"""

from __future__ import annotations

from pathlib import Path

from common import Table, arguments, finish, minilm, tersor, tree, work_folder

RUNS = ("1", "1", "2")


def check(table: Table, name: str, work: Path, *words: str | Path) -> None:
    """Run `tersor WORDS` once for each entry of RUNS and compare the outputs."""
    trees = []
    for number, threads in enumerate(RUNS):
        out = work / f"{len(table.rows)}-{number}"
        tersor(*words, "-o", out, "--threads", threads, "--json", "-q").json()
        trees.append(tree(out))
    differing = sorted({path for found in trees for path in found if found[path] != trees[0].get(path)})
    ok = table.check(not differing, f"{name}: {', '.join(differing)} differ")
    table.add(name, len(trees[0]), f"threads {', '.join(RUNS)}", ok)


def main() -> None:
    options = arguments(__doc__, needs_data=True)
    table = Table("Determinism", "command | files | runs | identical")
    with work_folder(options.work) as work:
        check(table, "pack MiniLM", work, "pack", minilm())
        check(table, "pack MiniLM --level fast", work, "pack", minilm(), "--level", "fast")
        stories = options.data / "stories260k-llama-fp32"
        check(table, "compress stories260k --size 0.2x", work, "compress", stories, "--size", "0.2x")
        check(table, "compress MiniLM --size 0.15x", work, "compress", minilm(), "--size", "0.15x")
    finish(table)


if __name__ == "__main__":
    main()
