"""A head says what the whole record does, or nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp import documents, sealing
from pytest_gpuexp.errors import RecordInvalid
from pytest_gpuexp.heads import read_head
from pytest_gpuexp.plan import Glance
from pytest_gpuexp.records import ExperimentResult
from tests.rooms.attempts import a_result

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
PROVENANCE = b"provenance:\n  status: failed\n  fingerprint:\n    a: b\n"


def record(**changes: Any) -> bytes:
    result = dataclasses.replace(a_result(Path("/nowhere")), **changes)
    return documents.dump_record(result, PROVENANCE)


@given(
    finding=_TEXT | st.just("x\nstatus: completed\nstub: true\nfingerprint:\n  a: b\n"),
    metrics=st.dictionaries(_TEXT, st.floats(), max_size=2),
    status=st.sampled_from(["completed", "failed", "cancelled"]),
    fingerprint=st.dictionaries(
        _TEXT.filter(bool) | st.sampled_from(["exp_a.py", "models/b.py"]),
        st.text("0123456789abcdef", min_size=16, max_size=16),
        max_size=3,
    ),
    stub=st.booleans(),
)
def test_a_head_is_the_records_own(**changes: Any) -> None:
    data = record(**changes)
    result: ExperimentResult = documents.read_record(data)

    head = read_head(data)

    assert head in (
        None,
        Glance(status=result.status, stub=result.stub, fingerprint=result.fingerprint),
    )


@pytest.mark.parametrize("digest", ["0123456789abcdef", "1111111111111111", "12345678e1234567"])
def test_an_ordinary_record_needs_no_reader_of_yaml(digest: str) -> None:
    code = {"exp_a.py": digest, "my models/gnn.py": "a" * 16}

    assert read_head(record(fingerprint=code, finding="a\nb")) == Glance(
        status="failed", fingerprint=code
    )


def test_what_another_wrote_or_cut_is_left_to_the_reader_of_yaml() -> None:
    data = record(fingerprint={"a": "b" * 16})
    older = data.removeprefix(sealing.HEAD)

    assert read_head(older) is None
    assert documents.read_record(older).fingerprint == {"a": "b" * 16}
    assert read_head(data[:-1]) is None
    assert read_head(sealing.sealed(b"version: 2\nstatus: failed\n")) is None


@pytest.mark.parametrize("end", [1, 40, 80, 300])
def test_a_record_that_lost_its_end_is_refused(end: int) -> None:
    with pytest.raises(RecordInvalid, match="here: it does not end with the sha256"):
        documents.read_record(record()[:-end], "here")


def test_a_record_of_which_a_byte_has_changed_is_refused() -> None:
    with pytest.raises(RecordInvalid, match="was edited by hand"):
        documents.read_record(record().replace(b"seed: 3", b"seed: 4"))
