"""Pack a checkpoint, read single tensors and rows from the archive, and get every byte back. Needs no torch.

Use: python examples/open_archive.py MODEL FOLDER      FOLDER: new; gets packed/ and back/
"""

from __future__ import annotations

import sys
from pathlib import Path

import tersor


def main(model: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    result = tersor.pack(model, folder / "packed")
    print(f"{result['output']['ratio']:.4f} of the original's bytes")
    with tersor.open(folder / "packed") as archive:
        name = max(archive.specs, key=lambda name: archive.specs[name].n_elements)
        first_rows = archive.read(
            name, rows=slice(0, 4)
        )  # decodes the blocks that hold these rows, no others
        print(
            f"{name}: {archive.specs[name].dtype} {archive.specs[name].shape}; rows 0-3 are {first_rows.shape}"
        )
    tersor.unpack(folder / "packed", folder / "back")
    print(f"verified: {tersor.verify(folder / 'packed', against=model)['ok']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
