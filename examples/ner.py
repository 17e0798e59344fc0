"""Named entities end to end: train a tagger, make it sixteen times smaller, measure both, tag a sentence.

Use: python examples/ner.py MODEL DATA [OUT] [SIZE]
MODEL: folder of a Hugging Face encoder (such as MiniLM's); DATA: a folder of CoNLL files, train, dev and test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tersor


def test_f1(result: dict, stage: int) -> float:
    """F1 of the test data after a stage, in points."""
    rows = result["stages"][stage]["metrics"]
    return 100 * next(row["value"] for row in rows if (row["split"], row["name"]) == ("test", "f1"))


def main() -> None:
    model, data = Path(sys.argv[1]), Path(sys.argv[2])
    out = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("build/ner")
    size = sys.argv[4] if len(sys.argv) > 4 else "0.0625x"
    out.mkdir(parents=True, exist_ok=True)

    result = tersor.finetune(model, out / "small", task="ner", data=data, size=size, force=True)
    for number, stage in enumerate(result["stages"]):
        print(f"after {stage['stage']:9} F1 {test_f1(result, number):.2f}")
    print(f"{result['output']['n_bytes']:,} bytes, {result['output']['ratio']:.4f} of the original's")

    from transformers import AutoTokenizer, pipeline

    tagger = pipeline(
        "token-classification",
        model=tersor.load(out / "small"),
        tokenizer=AutoTokenizer.from_pretrained(out / "small"),
        aggregation_strategy="simple",
    )
    for entity in tagger("Angela Merkel met engineers of Siemens in Munich ."):
        print(f"{entity['entity_group']:5} {entity['word']}")


if __name__ == "__main__":
    main()
