"""What runs on Modal need to know in secret, and where this environment has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pytest_gpuexp.project import SECRET_KEYS

# What is looked for, in this order: our own name, then that which Doppler and others use.
_SOURCES: Mapping[str, tuple[str, ...]] = {
    "TMGG_TIGRIS_BUCKET": ("TMGG_TIGRIS_BUCKET", "TMGG_S3_BUCKET"),
    "TMGG_TIGRIS_ACCESS_KEY": ("TMGG_TIGRIS_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    "TMGG_TIGRIS_SECRET_KEY": ("TMGG_TIGRIS_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
    "WANDB_API_KEY": ("WANDB_API_KEY",),
}
_OPTIONAL: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "tigris-credentials": {
        "TMGG_TIGRIS_ENDPOINT": (
            "TMGG_TIGRIS_ENDPOINT",
            "AWS_ENDPOINT_URL_S3",
            "AWS_ENDPOINT_URL",
        ),
        "TMGG_TIGRIS_REGION": ("TMGG_TIGRIS_REGION",),
        "TMGG_TIGRIS_ADDRESSING": ("TMGG_TIGRIS_ADDRESSING",),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A secret group as this environment could fill it; the values are in no repr.

    ``missing`` are the keys that it needs and that are not here, each with the variables that were
    looked for.
    """

    name: str
    values: Mapping[str, str] = field(repr=False)
    missing: Mapping[str, Sequence[str]]


def gather(names: Sequence[str], environ: Mapping[str, str]) -> list[Group]:
    """Return those of the groups ``names`` that we know how to fill, as ``environ`` fills them."""
    return [_group(name, environ) for name in names if name in SECRET_KEYS]


def _group(name: str, environ: Mapping[str, str]) -> Group:
    wanted = {key: _SOURCES[key] for key in SECRET_KEYS[name]}
    values: dict[str, str] = {}
    for key, sources in {**wanted, **_OPTIONAL.get(name, {})}.items():
        found = next((environ[source] for source in sources if environ.get(source)), None)
        if found is not None:
            values[key] = found
    missing = {key: sources for key, sources in wanted.items() if key not in values}
    return Group(name=name, values=values, missing=missing)
