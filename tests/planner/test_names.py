from __future__ import annotations

from tersor.planner.names import match_names

SHAPE = (2, 3)


def shapes(*names: str) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(names, SHAPE)


def test_equal_names_match() -> None:
    assert match_names(shapes("a.w", "b"), shapes("a.w", "b", "c")) == {"a.w": "a.w", "b": "b"}


def test_prefix_of_the_model_is_added() -> None:
    found = match_names(
        shapes("h.0.w", "wte.w"), shapes("transformer.h.0.w", "transformer.wte.w", "lm_head.w")
    )
    assert found == {"h.0.w": "transformer.h.0.w", "wte.w": "transformer.wte.w"}


def test_prefix_of_the_checkpoint_is_removed() -> None:
    assert match_names(shapes("bert.e.w", "cls.w"), shapes("e.w", "p.w")) == {"bert.e.w": "e.w"}


def test_other_shape_is_no_match() -> None:
    assert match_names({"w": (2, 3)}, {"w": (3, 2)}) == {}


def test_no_model_name_is_used_twice() -> None:
    found = match_names(shapes("a.w", "b.w", "w"), shapes("w"))
    assert found == {"w": "w"}
