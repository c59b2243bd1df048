"""Which server a bucket is on, and with which keys, as the environment says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from pytest_gpuexp.errors import StorageError

SCHEME = "s3://"
ENDPOINT = "https://t3.storage.dev"
_ADDRESS = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?(/[\w./-]*)?")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")

# What is looked for, in this order; the first name of each is the one to advise.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "bucket": ("TMGG_TIGRIS_BUCKET",),
    "access_key": ("TMGG_TIGRIS_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    "secret_key": ("TMGG_TIGRIS_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"),
    "endpoint": ("TMGG_TIGRIS_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("TMGG_TIGRIS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
    "addressing": ("TMGG_TIGRIS_ADDRESSING",),
    "patience": ("TMGG_TIGRIS_PATIENCE",),
    "timeout": ("TMGG_TIGRIS_TIMEOUT",),
}
_DEFAULTS = {
    "endpoint": ENDPOINT,
    "region": "auto",
    "addressing": "virtual",
    "patience": "60",
    "timeout": "60",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """All that a client of one bucket needs; the keys are in no repr.

    ``patience`` is for how many seconds a failing server is asked again, ``timeout`` how many
    seconds of silence end a request.
    """

    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint: str = ENDPOINT
    region: str = "auto"
    addressing: Literal["virtual", "path"] = "virtual"
    patience: float = 60.0
    timeout: float = 60.0


def read_access(environ: Mapping[str, str], *, bucket: str | None) -> Access:
    """Return how to reach ``bucket``, or where that is None the bucket that ``environ`` names.

    Raises:
        StorageError: variables are missing or make no sense; all of them are named.
    """
    found = {
        what: next((environ[name] for name in names if environ.get(name)), _DEFAULTS.get(what))
        for what, names in _NAMES.items()
    }
    found["bucket"] = bucket or found["bucket"]
    missing = [" or ".join(names) for what, names in _NAMES.items() if found[what] is None]
    if missing:
        raise StorageError(
            f"the bucket cannot be reached: the environment lacks {', and '.join(missing)}. "
            "Export what is missing (Tigris shows the keys when you make them), or keep the "
            "results in a folder with --storage=results."
        )
    values = {what: value or "" for what, value in found.items()}
    problems = _problems(values)
    if problems:
        raise StorageError(f"the bucket cannot be reached: {'; '.join(problems)}.")
    # A token belongs to the AWS keys, and to no others.
    theirs = values["access_key"] == environ.get("AWS_ACCESS_KEY_ID")
    return Access(
        bucket=values["bucket"],
        access_key=values["access_key"],
        secret_key=values["secret_key"],
        session_token=environ.get("AWS_SESSION_TOKEN") or None if theirs else None,
        endpoint=values["endpoint"],
        region=values["region"],
        addressing=cast(Literal["virtual", "path"], values["addressing"]),
        patience=float(values["patience"]),
        timeout=float(values["timeout"]),
    )


def split_url(url: str) -> tuple[str | None, str]:
    """Return bucket and prefix of ``s3://bucket/prefix``; None where it names no bucket.

    Raises:
        StorageError: the bucket's name cannot be one, or the prefix climbs.
    """
    bucket, _, rest = url.removeprefix(SCHEME).partition("/")
    parts = [part for part in rest.split("/") if part not in ("", ".")]
    if "@" in bucket:  # not shown: there may be a key before it
        raise StorageError(
            "--storage takes s3://bucket/prefix without keys: they would be seen by everybody. "
            "Export TMGG_TIGRIS_ACCESS_KEY and TMGG_TIGRIS_SECRET_KEY instead."
        )
    if (bucket and not _BUCKET.fullmatch(bucket)) or ".." in parts:
        raise StorageError(
            f"{url!r} names no bucket. Write --storage=s3://bucket/prefix, the bucket in letters, "
            "digits, '.' and '-', the prefix without '..'."
        )
    return bucket or None, "/".join(parts)


def _problems(values: Mapping[str, str]) -> list[str]:
    problems = []
    if values["addressing"] not in ("virtual", "path"):
        problems.append("TMGG_TIGRIS_ADDRESSING is neither 'virtual' nor 'path'")
    if not values["endpoint"].startswith(("http://", "https://")):
        problems.append("TMGG_TIGRIS_ENDPOINT is no address that begins with https:// or http://")
    elif not _ADDRESS.fullmatch(values["endpoint"]):  # not shown: there may be a key in it
        problems.append(
            "TMGG_TIGRIS_ENDPOINT is more than an address: write https://host:port, without user, "
            "key, question mark or blanks"
        )
    for what in ("patience", "timeout"):
        if not re.fullmatch(r"\d+(\.\d+)?", values[what]):
            problems.append(f"TMGG_TIGRIS_{what.upper()} is no number of seconds")
    return problems
