"""Options come from the command line, the environment and the ini, in that order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pytest_gpuexp.configuring import read_options
from pytest_gpuexp.errors import UsageProblems
from pytest_gpuexp.overrides import Overrides
from pytest_gpuexp.settings import Settings


class Config:
    """As much of pytest's config as options are read from."""

    rootpath = Path("/project")
    invocation_params = SimpleNamespace(dir=Path("/project/here"))

    def __init__(self, given: Mapping[str, Any], ini: Mapping[str, str]) -> None:
        self._ini = ini
        nothing: dict[str, Any] = {"gpuexp_seeds": None, "gpuexp_seed": [], "gpuexp_sweep": []}
        self.option = SimpleNamespace(**{**nothing, "gpuexp_filter": None, **given})

    def getoption(self, name: str, default: Any) -> Any:
        return getattr(self.option, name, default)

    def getini(self, name: str) -> str | None:
        return self._ini.get(name)


def read(
    environ: Mapping[str, str] | None = None,
    ini: Mapping[str, str] | None = None,
    **given: Any,
) -> tuple[Settings, Overrides]:
    config = cast(pytest.Config, Config(given, ini or {}))
    return read_options(config, {"CUDA_VISIBLE_DEVICES": "", **(environ or {})})


def test_nothing_given_is_the_default() -> None:
    settings, overrides = read()

    assert (settings.backend, settings.reason, settings.storage) == ("local", "", "results")
    assert (settings.parallelism, settings.isolation, settings.run_timeout) == (None, "auto", None)
    assert (settings.gpu, settings.gpus) == (None, ())
    assert settings.cores >= 1
    assert settings.root == Path("/project")
    assert settings.invocation_dir == Path("/project/here")
    assert overrides == Overrides()


@pytest.mark.parametrize(
    ("name", "ini", "environ", "given"),
    [
        ("storage", "a", "b", "c"),
        ("backend", "a", "b", "c"),
        ("gpu", "debug", "fast", "h100"),
        ("parallelism", "1", "2", "3"),
        ("run_timeout", "1s", "2s", "3s"),
        ("isolation", "fork", "spawn", "auto"),
    ],
)
def test_the_nearer_one_wins(name: str, ini: str, environ: str, given: str) -> None:
    inis, environs = {f"gpuexp_{name}": ini}, {f"PYTEST_GPUEXP_{name.upper()}": environ}

    by_ini = read({}, inis)[0]
    by_environ = read(environs, inis)[0]
    by_option = read(environs, inis, **{f"gpuexp_{name}": given})[0]

    values = [str(getattr(one, name)) for one in (by_ini, by_environ, by_option)]
    assert [value.removesuffix(".0") for value in values] == [
        text.removesuffix("s") if name == "run_timeout" else text for text in (ini, environ, given)
    ]


def test_auto_is_the_same_as_no_number() -> None:
    assert read(gpuexp_parallelism="auto")[0].parallelism is None


def test_a_backend_may_be_written_with_an_underscore() -> None:
    assert read(gpuexp_backend="in_process")[0].backend == "in-process"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"usepdb": True}, "a debugger needs the session's own process"),
        ({"trace": True}, "a debugger needs the session's own process"),
        ({"capture": "no"}, "-s shows output as it comes"),
    ],
)
def test_who_wants_to_look_inside_gets_this_process(given: dict[str, Any], reason: str) -> None:
    settings, _ = read(**given)

    assert (settings.backend, settings.reason) == ("in-process", reason)


def test_a_backend_that_was_asked_for_needs_no_reason() -> None:
    settings, _ = read(usepdb=True, gpuexp_backend="local")

    assert (settings.backend, settings.reason) == ("local", "")


def test_the_callers_gpus_are_those_that_may_be_handed_out() -> None:
    assert read({"CUDA_VISIBLE_DEVICES": "2,5"})[0].gpus == ("2", "5")


def test_every_wrong_value_is_told_at_once() -> None:
    with pytest.raises(UsageProblems) as caught:
        read(
            {"PYTEST_GPUEXP_ISOLATION": "thread"},
            {"gpuexp_parallelism": "0"},
            gpuexp_gpu="fats",
            gpuexp_run_timeout="soon",
            gpuexp_seeds="x",
            gpuexp_filter="lr =",
        )

    assert caught.value.subject == "pytest-gpuexp options"
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == [
        "run-timeout:",
        "gpu:",
        "parallelism:",
        "isolation:",
        "--seeds",
        "--gpuexp-filter:",
    ]


@pytest.mark.parametrize(
    ("ini", "environ", "given", "resumes"),
    [
        ("", "", False, False),
        ("true", "", False, True),
        ("true", "0", False, False),
        ("", "1", False, True),
        ("false", "no", True, True),
    ],
)
def test_resume_can_be_asked_for_everywhere(
    ini: str, environ: str, given: bool, resumes: bool
) -> None:
    settings, _ = read(
        {"PYTEST_GPUEXP_RESUME": environ}, {"gpuexp_resume": ini}, gpuexp_resume=given
    )

    assert settings.resume is resumes


def test_stub_mode_never_resumes() -> None:
    settings, _ = read(gpuexp_resume=True, gpuexp_stub_mode=True)

    assert not settings.resume


def test_what_needs_resume_is_refused_without_it() -> None:
    with pytest.raises(UsageProblems) as caught:
        read({"PYTEST_GPUEXP_RESUME": "perhaps"}, gpuexp_any_code=True, gpuexp_rerun="all")

    assert "resume: 'perhaps' is not true or false" in str(caught.value)
    assert "--any-code says which stored results to keep" in str(caught.value)
    assert "--rerun says which stored results to keep" in str(caught.value)
    assert read(gpuexp_resume=True, gpuexp_rerun="all")[0].rerun == "all"
