from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pytest_gpuexp import configs
from pytest_gpuexp.variants import variants

FOLDER = Path("/project")


def all_of(
    config: dict[str, Any], space: dict[str, Any] | None = None, *, seeds: Sequence[int] = (0,)
) -> list[dict[str, Any]]:
    problems: list[str] = []
    found = [
        parameters for _, _, parameters, _ in variants(config, space or {}, seeds, FOLDER, problems)
    ]
    assert problems == []
    return found


def seeded(
    config: dict[str, Any], space: dict[str, Any], seeds: Sequence[int]
) -> list[Sequence[str]]:
    return [names for _, _, _, names in variants(config, space, seeds, FOLDER, [])]


def told(config: dict[str, Any], space: dict[str, Any]) -> list[str]:
    problems: list[str] = []
    list(variants(config, space, [0], FOLDER, problems))
    return list(dict.fromkeys(problems))


def test_a_value_keeps_its_type_alone_and_is_written_out_within_a_text() -> None:
    config = {"a": "${x}", "b": "of ${x}", "c": ["${x}", {"no name": "${a}"}], "d": {"e": "${.f}"}}

    found = all_of({**config, "d": {"e": "${.f}", "f": "${c.0}"}}, {"x": [1, 1e-7, True, None]})

    assert [one["a"] for one in found] == [1, 1e-7, True, None]
    assert [one["b"] for one in found] == ["of 1", "of 1e-07", "of True", "of None"]
    assert [one["c"][1]["no name"] for one in found] == [1, 1e-7, True, None]
    assert [one["d.e"] for one in found] == [1, 1e-7, True, None]


def test_a_text_beside_an_empty_one_stays_a_text() -> None:
    assert all_of({"a": "${e}${x}", "b": ["${x}"], "e": ""}, {"x": [1]}) == [
        {"a": "1", "b": [1], "e": "", "x": 1}
    ]


def test_every_way_of_writing_the_seed_follows_it() -> None:
    config = {"a": "${seed}", "b": "${ seed }", "c": "${a}", "d": {"e": "${..seed}"}}

    found = all_of(config, {"x": ["${seed}", "${b}0"]}, seeds=[0, 1])

    assert [one["x"] for one in found] == [0, 1, "00", "10"]
    assert [[one[name] for name in ("a", "b", "c", "d.e")] for one in found] == [
        [0] * 4,
        [1] * 4,
        [0] * 4,
        [1] * 4,
    ]


def test_what_is_made_of_the_seed_is_named_whichever_way_it_is_made() -> None:
    OmegaConf.register_new_resolver("twice", lambda value: value * 2, replace=True)
    config = {"a": "${seed}", "b": {"c": "run-${a}"}, "d": "${x}"}

    assert seeded(config, {"x": [1]}, [3]) == [("a", "b.c")]
    assert seeded({**config, "e": "${twice:${a}}"}, {"x": [1]}, [3]) == [("a", "b.c", "e")]


def test_what_is_made_of_the_seed_in_one_variant_alone_is_named_for_that_one() -> None:
    OmegaConf.register_new_resolver("odd", lambda value: value % 2, replace=True)
    config = {"m": {"own": "${seed}", "fixed": 7}, "a": "${m.${kind}}", "b": "${odd:${seed}}"}

    own = seeded({}, {"x": [100, "${seed}"]}, [0, 1, 2])
    both = seeded(config, {"kind": ["fixed", "own"]}, [0, 2, 3])

    assert own == [(), (), (), ("x",), ("x",), ("x",)]
    assert both == [("m.own", "b")] * 3 + [("m.own", "a", "b")] * 3

    OmegaConf.register_new_resolver("named", lambda value: f"n{value}", replace=True)
    groups = {"n0": {"a": 1}, "n1": {"b": 1}}
    assert seeded({"m": groups, "c": "${m.${named:${seed}}}"}, {}, [0]) == [("c.a", "c.b")]


def test_a_seed_that_nobody_asked_for_is_in_nobodys_way() -> None:
    OmegaConf.register_new_resolver("below", lambda value: 1 / value, replace=True)

    assert all_of({"a": "${below:${seed}}"}, seeds=[1]) == [{"a": 1.0}]


def test_resolvers_and_names_made_of_values_see_the_values() -> None:
    OmegaConf.register_new_resolver("twice", lambda value: value * 2, replace=True)
    config = {"m": {"gnn": 1, "mlp": 2}, "size": "${m.${kind}}", "wide": "${twice:${depth}}"}

    found = all_of(config, {"kind": ["gnn", "mlp"], "depth": [3]})

    assert [(one["size"], one["wide"]) for one in found] == [(1, 6), (2, 6)]


def test_a_path_made_of_values_is_rebased_whole() -> None:
    found = all_of({"root": "/project/data", "file": "${root}/${x}", "x": 0}, {"x": [1, 2]})

    assert [one["file"] for one in found] == ["data/1", "data/2"]


@pytest.mark.parametrize("other", [{}, {"z": "${a}"}])
def test_an_override_inside_of_a_value_is_refused_whether_or_not_anything_refers(
    other: dict[str, Any],
) -> None:
    assert told({"a": 1, **other}, {"a.b": [1]}) == ["a.b: a is 1, which has nothing in it"]


def test_an_override_inside_of_a_reference_is_refused_for_it_would_lose_the_rest() -> None:
    config = {"models": {"gnn": {"layers": 2, "width": 8}}, "model": "${models.gnn}"}

    assert told(config, {"model.layers": [4]}) == [
        "model.layers: model is '${models.gnn}', which has nothing in it"
    ]


def test_a_value_that_varies_is_a_secret_only_by_what_it_comes_to() -> None:
    assert all_of({"token": "${n}"}, {"n": [3]}) == [{"token": 3, "n": 3}]
    assert "token: it looks like a secret" in told({"token": "${n}"}, {"n": ["abc"]})[0]


def test_a_value_of_the_space_is_held_to_what_the_config_is_held_to() -> None:
    assert "api_key: it looks like a secret" in told({}, {"api_key": ["abc"]})[0]
    assert told({}, {"m": [{"x": "???"}]}) == ["m.x: it is missing ('???'); give it a value"]


def test_what_fails_everywhere_is_told_without_trying_ten_thousand_variants() -> None:
    began = time.process_time()

    problems = told({"a": "${nowhere}"}, {"x": list(range(10_000))})

    assert problems == ["a: Interpolation key 'nowhere' not found"]
    assert time.process_time() - began < 10  # a hundred tries; ten thousand are far more


_VALUES = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.text("ab-:{}\\ é", max_size=4),
)
_REFERENCES = st.sampled_from(
    [
        "${x}",
        "${m.x}",
        "${ m.y }",
        "${a}-${b}",
        "v${b}",
        "",
        "${seed}/${x}",
        "${m}",
        "plain",
        "c:${x}:d",
        r"\${x}",
        r"\\${x}",
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    a=st.one_of(_VALUES, _REFERENCES),
    b=_VALUES,
    inside=st.one_of(_REFERENCES, st.lists(st.sampled_from(["${x}", "q${m.x}", "r"]), min_size=1)),
    xs=st.lists(_VALUES, min_size=1, max_size=3, unique_by=repr),
    ys=st.lists(_VALUES, min_size=1, max_size=2, unique_by=repr),
)
def test_variants_are_what_omegaconf_makes_of_each_alone(
    a: Any, b: Any, inside: Any, xs: list[Any], ys: list[Any]
) -> None:
    config = {"a": a, "b": b, "m": {"x": "${x}", "y": 2}, "n": inside, "o": "${b}${x}"}
    space = {"x": xs, "m.y": ys}
    wanted, problems = [], list[str]()
    try:
        for x, y in itertools.product(xs, ys):
            made = OmegaConf.create({**config, "seed": 5})
            OmegaConf.update(made, "x", x)
            OmegaConf.update(made, "m.y", y)
            resolved: Any = OmegaConf.to_container(made, resolve=True)
            del resolved["seed"]
            wanted.append(configs.flat_parameters(resolved, FOLDER, []))
    except OmegaConfBaseException as error:
        wanted, problems = [], [str(error)]

    told: list[str] = []
    found = [parameters for _, _, parameters, _ in variants(config, space, [5], FOLDER, told)]

    assert bool(told) == bool(problems)
    if not problems:
        assert [list(map(repr, one.items())) for one in found] == [
            list(map(repr, one.items())) for one in wanted
        ]
