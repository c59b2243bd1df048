"""How a record is written as YAML and read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import documents, schema
from pytest_gpuexp.errors import RecordInvalid, UsageProblems
from pytest_gpuexp.plain import plain
from pytest_gpuexp.records import Artifact, Assertion, ExperimentResult

# Lone surrogates are no text; all else may come out of a handler.
texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(10**30), 10**30) | st.floats()
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=12
)
mappings = st.dictionaries(texts, values, max_size=4)
optional_texts = st.none() | texts.filter(bool)
assertions = st.builds(
    Assertion,
    line=st.integers(1, 10**6),
    source=texts,
    met=st.booleans(),
    count=st.integers(0, 10**9),
    first=texts,
    last=texts,
)
artifacts = st.builds(Artifact, name=texts, sha256=texts, bytes=st.integers(0, 2**40))
results = st.builds(
    ExperimentResult,
    experiment_id=texts,
    run_id=texts,
    attempt=st.integers(1, 99),
    handler=texts,
    name=texts,
    path=texts,
    status=st.sampled_from(["completed", "failed", "timeout", "oom", "lost", "skipped"]),
    verdict=st.sampled_from(["pass", "fail", "undecided", "not_evaluated"]),
    config=mappings,
    parameters=mappings,
    seed=st.integers(0, 2**64),
    metrics=st.dictionaries(texts, numbers, max_size=4),
    non_finite=st.lists(texts, max_size=2).map(tuple),
    finding=optional_texts,
    assertions=st.lists(assertions, max_size=2).map(tuple),
    artifacts=st.lists(artifacts, max_size=2).map(tuple),
    error_type=optional_texts,
    error_message=optional_texts,
    started_at=texts,
    duration_seconds=st.floats(0, 1e9),
    device=optional_texts,
    published=st.booleans(),
    stub=st.booleans(),
    provenance=mappings,
)

RESULT = ExperimentResult(
    experiment_id="c1-digits-mlp",
    run_id="a1b2c3",
    attempt=1,
    handler="exp_mlp",
    name="exp_mlp[lr:0.001-seed:0]",
    path="experiments/exp_digits.py",
    status="completed",
    verdict="pass",
    config={"lr": 0.001, "seed": 0},
    parameters={"lr": 0.001},
    seed=0,
    metrics={"test_accuracy": 0.97},
)


def written(data: Mapping[str, Any]) -> str:
    return documents.dump(data).decode()


@given(mappings)
def test_what_was_dumped_is_loaded_again_with_the_same_types(data: dict[str, Any]) -> None:
    loaded = documents.load(documents.dump(data))

    assert repr(loaded) == repr(data)  # NaN is not equal to itself, and 1 == 1.0 == True


@given(mappings)
def test_pyyaml_without_our_mending_reads_the_same(data: dict[str, Any]) -> None:
    loaded = yaml.safe_load(documents.dump(data))

    assert repr(loaded) == repr(data)


@given(results)
def test_a_record_read_back_from_yaml_equals_itself(result: ExperimentResult) -> None:
    loaded = documents.read_record(documents.dump_record(result))

    assert repr(loaded) == repr(result)


@pytest.mark.parametrize("number", [1e-05, 1e16, 1.5e300, -0.0, 5e-324])
def test_floats_keep_their_value_for_every_reader(number: float) -> None:
    text = documents.dump({"x": number})

    assert yaml.safe_load(text) == documents.load(text) == {"x": number}


def test_nan_and_infinities_are_kept() -> None:
    text = written({"a": math.nan, "b": math.inf, "c": -math.inf})

    assert text == "a: .nan\nb: .inf\nc: -.inf\n"


def test_numbers_written_by_hand_without_a_point_are_floats() -> None:
    assert documents.load("lr: 1e-05\nother: 3E8") == {"lr": 1e-05, "other": 3e8}


def test_yes_no_dates_and_sexagesimals_are_strings() -> None:
    loaded = documents.load("[yes, no, on, off, 2024-01-01, 1:30, 0123, 1_000, y]")

    assert loaded == ["yes", "no", "on", "off", "2024-01-01", "1:30", "0123", "1_000", "y"]


def test_findings_of_several_lines_unicode_and_none_are_readable() -> None:
    text = written({"finding": "Erste Zeile: größer\nzweite →\n", "device": None})

    assert text == "finding: |\n  Erste Zeile: größer\n  zweite →\ndevice: null\n"


def test_emoji_are_readable_in_several_lines() -> None:
    assert written({"finding": "done 🎉\nreally"}) == "finding: |-\n  done 🎉\n  really\n"


def test_long_lines_are_not_folded() -> None:
    assert written({"finding": "word " * 100 + "end"}).count("\n") == 1


def test_numbers_in_a_list_stand_on_one_line_and_nothing_becomes_an_alias() -> None:
    same = {"lr": 0.1}

    text = written({"seeds": [0, 1, 2], "a": same, "b": same})

    assert text == "seeds: [0, 1, 2]\na:\n  lr: 0.1\nb:\n  lr: 0.1\n"


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Point:
    x: int
    path: Path


def test_scalars_of_numpy_paths_enums_tuples_and_dataclasses_are_made_plain() -> None:
    value = {
        "f32": np.float32(0.5),
        "f64": np.float64(0.25),
        "long": np.longdouble(0.5),
        "int": np.int64(3),
        "bool": np.bool_(True),
        "zero_d": np.array(1.5),
        "str": np.str_("x"),
        "colour": Colour.RED,
        "path": Path("a") / "b",
        "tuple": (1, (2,)),
        "point": Point(1, Path("p")),
        Colour.RED: "key",
    }

    made = plain(value)

    assert repr(made) == repr(
        {
            "f32": 0.5,
            "f64": 0.25,
            "long": 0.5,
            "int": 3,
            "bool": True,
            "zero_d": 1.5,
            "str": "x",
            "colour": "red",
            "path": "a/b",
            "tuple": [1, [2]],
            "point": {"x": 1, "path": "p"},
            "red": "key",
        }
    )


def test_all_that_cannot_be_written_is_told_at_once_with_its_path() -> None:
    data = {"config": {"model": object(), "w": [1, np.zeros((2, 3))]}, "s": {1}, "d": {1: 2}}

    with pytest.raises(UsageProblems) as caught:
        documents.dump(data)

    assert caught.value.problems == (
        "config.model: object is not a str, a number, a bool, None, or a list or dict of these",
        "config.w[1]: ndarray of shape (2, 3) is not a scalar; save it as an artifact",
        "s: a set has no order; write sorted(...)",
        "d: the key 1 is not a str",
    )


def test_a_lone_surrogate_becomes_its_escape() -> None:
    assert documents.load(documents.dump({"path": "a\udcff"})) == {"path": "a\\udcff"}


def test_a_key_given_twice_is_an_error_with_both_places() -> None:
    with pytest.raises(RecordInvalid) as caught:
        documents.load("metrics:\n  a: 1\n  b: 2\n  a: 3\n", place="records/x.1.yaml")

    assert str(caught.value) == (
        "records/x.1.yaml: line 4, column 3: the key 'a' stands here and on line 2. "
        "The file is truncated or was edited by hand: mend it there, or delete it."
    )


@pytest.mark.parametrize(
    "data",
    [
        b"a: [1, 2",
        b"a: 'x",
        b"\xff\xfe\xfa",
        b"a: !!python/object:os.x {}",
        b"a: b: c",
        "a: \udcff",
    ],
)
def test_what_is_not_yaml_is_refused_with_its_name(data: bytes | str) -> None:
    with pytest.raises(RecordInvalid, match=r"^r\.yaml: .*mend it there"):
        documents.load(data, place="r.yaml")


def test_a_record_starts_with_its_version_and_leaves_out_what_is_empty() -> None:
    promise, _, text = documents.dump_record(RESULT).decode().partition("\n")

    assert promise.startswith("# ")
    assert text.startswith("version: 1\nexperiment_id: c1-digits-mlp\n")
    assert "finding" not in text
    assert "published: true\nstub: false\n" in text


def test_provenance_dumped_once_is_appended_as_it_is() -> None:
    provenance = {"git": {"commit": "0123e45"}, "packages": {"torch": "2.13.0"}}
    text = documents.dump({"provenance": provenance})

    record = documents.dump_record(replace(RESULT, provenance={"other": 1}), text)

    assert record.rpartition(b"# sha256: ")[0].endswith(text)
    assert documents.read_record(record) == replace(RESULT, provenance=provenance)


def test_all_problems_of_a_record_are_told_at_once() -> None:
    data = schema.record_to_plain(RESULT)
    del data["run_id"]
    data |= {"seed": "x", "status": "done", "metrics": {"a": "b"}, "colour": 1}
    data["artifacts"] = [{"name": "a.png", "sha256": "00"}]

    with pytest.raises(RecordInvalid) as caught:
        schema.record_from_plain(data, place="r.yaml")

    message = str(caught.value)
    assert message.startswith("r.yaml: colour is not known (experiment_id, run_id, ")
    for problem in (
        "run_id is missing",
        "seed: 'x' is not an int",
        "status: 'done' is not one of completed, failed, timeout, ",
        "metrics: {'a': 'b'} is not a mapping to numbers",
        "artifacts[0].bytes is missing",
    ):
        assert problem in message


def test_another_version_says_so() -> None:
    with pytest.raises(
        RecordInvalid, match="version 2 is unknown; this pytest-gpuexp reads version 1"
    ):
        schema.record_from_plain({"version": 2, "anything": 1})


@pytest.mark.parametrize("data", [None, [], "x", {}, {"run_id": "a"}])
def test_what_is_no_record_is_refused(data: Any) -> None:
    with pytest.raises(RecordInvalid, match="record: not a record: it does not start with version"):
        schema.record_from_plain(data)


@pytest.mark.parametrize("record", [ExperimentResult, Assertion, Artifact])
def test_every_field_of_a_record_has_a_check(record: type) -> None:
    assert {str(field.type) for field in fields(record)} <= schema._CHECKS.keys()
