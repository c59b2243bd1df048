from __future__ import annotations

import pytest

from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.storage.access import read_access, split_url

KEYS = {"TMGG_TIGRIS_ACCESS_KEY": "AKIA-1", "TMGG_TIGRIS_SECRET_KEY": "hidden-4711"}


def test_tigris_is_where_buckets_are_unless_the_environment_says_otherwise() -> None:
    access = read_access(KEYS, bucket="b")

    assert access.endpoint == "https://t3.storage.dev"
    assert (access.region, access.addressing, access.patience) == ("auto", "virtual", 60.0)


def test_our_own_variables_outrank_those_of_aws() -> None:
    aws = {
        "AWS_ACCESS_KEY_ID": "theirs",
        "AWS_SECRET_ACCESS_KEY": "theirs",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": "http://any",
        "AWS_ENDPOINT_URL_S3": "http://s3",
        "AWS_REGION": "here",
        "AWS_DEFAULT_REGION": "there",
    }

    alone = read_access({**aws, "TMGG_TIGRIS_BUCKET": "b"}, bucket=None)
    ours = read_access({**aws, **KEYS, "TMGG_TIGRIS_ENDPOINT": "https://mine"}, bucket="c")

    assert (alone.bucket, alone.access_key, alone.session_token) == ("b", "theirs", "token")
    assert (alone.endpoint, alone.region) == ("http://s3", "here")
    assert (ours.bucket, ours.access_key, ours.session_token) == ("c", "AKIA-1", None)
    assert ours.endpoint == "https://mine"


def test_every_missing_variable_is_named_at_once() -> None:
    with pytest.raises(StorageError) as caught:
        read_access({"TMGG_TIGRIS_SECRET_KEY": ""}, bucket=None)

    assert str(caught.value) == (
        "the bucket cannot be reached: the environment lacks TMGG_TIGRIS_BUCKET, and "
        "TMGG_TIGRIS_ACCESS_KEY or AWS_ACCESS_KEY_ID, and "
        "TMGG_TIGRIS_SECRET_KEY or AWS_SECRET_ACCESS_KEY. "
        "Export what is missing (Tigris shows the keys when you make them), or keep the results "
        "in a folder with --storage=results."
    )


def test_all_that_makes_no_sense_is_told_at_once_and_shows_no_value() -> None:
    wrong = {"ADDRESSING": "hidden-1", "ENDPOINT": "hidden-2", "PATIENCE": "hidden-3"}

    with pytest.raises(StorageError, match=r"ADDRESSING.*; .*ENDPOINT.*; .*PATIENCE") as caught:
        read_access({**KEYS, **{f"TMGG_TIGRIS_{k}": v for k, v in wrong.items()}}, bucket="b")

    assert "hidden" not in str(caught.value)


def test_keys_are_in_no_repr() -> None:
    assert "hidden" not in repr(read_access(KEYS, bucket="b"))
    assert "AKIA" not in repr(read_access(KEYS, bucket="b"))


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket//team a/./größe/", ("bucket", "team a/größe")),
        ("s3://", (None, "")),
        ("s3:///prefix", (None, "prefix")),
    ],
)
def test_an_address_names_a_bucket_and_a_prefix(url: str, parts: tuple[str | None, str]) -> None:
    assert split_url(url) == parts


@pytest.mark.parametrize("url", ["s3://a b/c", "s3://x/../y", "s3://-/y"])
def test_an_address_that_names_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="names no bucket"):
        split_url(url)


def test_keys_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(StorageError, match="without keys") as caught:
        split_url("s3://key:hidden@bucket/prefix")

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    ["http://user:hidden@here", "https://here/?secret=hidden", "https://here ", "https://h:hidden"],
)
def test_an_endpoint_that_is_more_than_an_address_is_refused_unseen(endpoint: str) -> None:
    with pytest.raises(StorageError, match="TMGG_TIGRIS_ENDPOINT is more than an") as caught:
        read_access({**KEYS, "TMGG_TIGRIS_ENDPOINT": endpoint}, bucket="b")

    assert "hidden" not in str(caught.value)
