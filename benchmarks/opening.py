"""Row 7: what opens an archive, and what must not: from_pretrained with and without tersor, and tersor.open.

Use: python benchmarks/opening.py --data FOLDER      about a minute
Each cell is a process of its own. A packed archive must give the original's hidden states bit for bit; a compressed
one those of a plain checkpoint that holds what tersor.open decodes.
"""

from __future__ import annotations

from pathlib import Path

from common import Finished, Table, arguments, finish, minilm, python, tersor, work_folder

IDS = "ids = torch.arange(3, 99)[None] % model.config.vocab_size"
HIDDEN = f"""
import sys, torch
{{imports}}
from transformers import AutoModel
def hidden(path):
    model = AutoModel.from_pretrained(path).eval()
    {IDS}
    with torch.inference_mode():
        return model(input_ids=ids).last_hidden_state
torch.set_num_threads(1)
assert torch.equal(hidden(sys.argv[1]), hidden(sys.argv[2])), "hidden states differ"
"""
WITHOUT = """
import sys
from transformers import AutoModel
AutoModel.from_pretrained(sys.argv[1], **({"ignore_mismatched_sizes": True} if sys.argv[2] == "ignore" else {}))
print("loaded: " + ("tersor was imported" if "tersor" in sys.modules else "tersor was not imported"))
"""
SAME_PARAMETERS = """
import sys, numpy, torch, tersor
model = tersor.load(sys.argv[1])
found = {name: value.detach() for name, value in model.state_dict().items()}
values = list(found.values())
n_equal = 0
with tersor.open(sys.argv[1]) as archive:
    for name, array in archive.items():
        value = found.pop(name, None)
        if value is None:  # not a parameter of this class (position ids)
            continue
        stored = torch.from_numpy(numpy.ascontiguousarray(array)) if array.dtype.kind != "V" else None
        assert stored is not None and stored.shape == value.shape, name
        assert stored.numpy().tobytes() == value.numpy().tobytes(), name
        n_equal += 1
def is_tied(value):
    return any(value.data_ptr() == other.data_ptr() for other in values if other is not value)
kept = [name for name, value in found.items() if not is_tied(value)]
assert n_equal and not kept, kept
print(n_equal)
"""
# A plain checkpoint of what the archive decodes to, beside copies of its other files.
PLAIN = """
import shutil, sys, tersor
from pathlib import Path
from safetensors.numpy import save_file
source, archive, out = map(Path, sys.argv[1:])
out.mkdir()
for path in source.glob("*.json"):
    shutil.copy(path, out)
with tersor.open(archive) as opened:
    tensors = {name: array.copy() for name, array in opened.items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
"""


def outcome(done: Finished) -> str:
    """The last line of what a process said."""
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1][:120] if lines else ""


def check(table: Table, kind: str, source: Path, archive: Path, reference: Path) -> None:
    """All rows of one archive. reference: the folder whose hidden states it must give."""
    with_tersor = python(HIDDEN.format(imports="import tersor"), reference, archive)
    ok = table.check(with_tersor.code == 0, f"{kind}: {outcome(with_tersor)}")
    table.add(
        kind,
        "from_pretrained, tersor imported",
        "equal hidden states" if ok == "yes" else outcome(with_tersor),
        ok,
    )
    for how in ("plain", "ignore"):
        without = python(WITHOUT, archive, how)
        said = outcome(without)
        failed = without.code != 0 and "loaded" not in without.stdout
        name = "from_pretrained, not imported" + (", ignore_mismatched_sizes=True" if how == "ignore" else "")
        ok = table.check(failed, f"{kind}: {name} loads: {said}")
        table.add(kind, name, f"`{said}`", ok)
    same = python(SAME_PARAMETERS, archive)
    ok = table.check(same.code == 0, f"{kind}: {outcome(same)}")
    table.add(
        kind, "tersor.open and the loaded model", f"{same.stdout.strip()} parameters equal bit for bit", ok
    )


def main() -> None:
    options = arguments(__doc__, needs_data=True)
    table = Table("Opening", "archive | how | outcome | ok")
    stories = options.data / "stories260k-llama-fp32"
    with work_folder(options.work) as work:
        tersor("pack", minilm(), "-o", work / "packed", "--json", "-q").json()
        check(table, "MiniLM packed", minilm(), work / "packed", minilm())
        tersor("compress", stories, "-o", work / "small", "--size", "0.2x", "--json", "-q").json()
        made = python(PLAIN, stories, work / "small", work / "plain")
        if made.code:
            raise SystemExit(made.stderr)
        check(table, "stories260k compressed", stories, work / "small", work / "plain")
    finish(table)


if __name__ == "__main__":
    main()
