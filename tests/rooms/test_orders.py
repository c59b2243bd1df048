from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_gpuexp import at_most
from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.orders import Order, RunRequest, labelled, order_from_plain, write_order

values = st.one_of(st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.none())


def request(
    seed: int = 0, run_id: str = "", function: str = "f", **parameters: object
) -> RunRequest:
    return RunRequest(
        path="/p.py", function=function, parameters=parameters, seed=seed, run_id=run_id
    )


def test_a_label_tells_what_differs() -> None:
    found = labelled([request(lr=1, a=0), request(lr=2, a=0), request(function="g", lr=2)])

    assert [one.label for one in found] == ["lr:1-seed:0", "lr:2-seed:0", "seed:0"]


def test_runs_that_differ_in_nothing_else_are_told_apart_by_their_run_ids() -> None:
    found = labelled([request(run_id="a", lr=1), request(run_id="b", lr=1)])

    assert [one.label for one in found] == ["run_id:a-seed:0", "run_id:b-seed:0"]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), values), min_size=1, max_size=6))
def test_labels_of_different_runs_differ(several: list[dict[str, object]]) -> None:
    requests = [dataclasses.replace(request(), parameters=one) for one in several]
    different = {json.dumps(one.parameters, sort_keys=True) for one in requests}

    found = labelled(requests)

    assert len({one.label for one in found}) >= len(different)


def test_an_order_that_is_written_reads_back_the_same(tmp_path: Path) -> None:
    order = Order(
        requests=(request(lr=0.1),),
        stage="s",
        success_criteria={"loss": at_most(0.5)},
        gpu_type="debug",
        timeout_seconds=3.0,
    )
    file = tmp_path / "order.json"

    write_order(file, order)

    assert order_from_plain(json.loads(file.read_text()), place="x") == order
    with pytest.raises(RecordInvalid, match="x: order 9 is unknown"):
        order_from_plain({"order": 9}, place="x")
