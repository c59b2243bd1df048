"""The output of a call becomes the log and the series of its run."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuexp.backends.relayed import MARK, Relayed

OUTPUT = f'epoch 1\n{MARK}{{"step": 1}}\nepoch 2\n\n{MARK}{{"step": 2}}\nlast'


@given(cuts=st.lists(st.integers(0, len(OUTPUT)), max_size=5).map(sorted))
def test_lines_find_their_file_wherever_the_output_is_cut(
    tmp_path_factory: object, cuts: list[int]
) -> None:
    folder = Path(tmp_path_factory.mktemp("relayed"))  # type: ignore[attr-defined]
    output = Relayed(folder / "run" / "log.txt")

    for start, end in zip([0, *cuts], [*cuts, len(OUTPUT)], strict=True):
        output.add(OUTPUT[start:end])

    assert (folder / "run/log.txt").read_text() == "epoch 1\nepoch 2\n\nlast"
    assert (folder / "run/metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
