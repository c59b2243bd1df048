"""Which secrets runs need, and where they are found."""

from __future__ import annotations

from pytest_gpuexp import credentials
from pytest_gpuexp.project import SECRET_KEYS

DOPPLER = {
    "TMGG_S3_BUCKET": "bucket",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "very-secret",
    "WANDB_API_KEY": "wandb-secret",
}


def test_dopplers_names_become_those_of_the_groups() -> None:
    tigris, wandb = credentials.gather(["tigris-credentials", "wandb-credentials"], DOPPLER)

    assert tigris.values == {
        "TMGG_TIGRIS_BUCKET": "bucket",
        "TMGG_TIGRIS_ACCESS_KEY": "key",
        "TMGG_TIGRIS_SECRET_KEY": "very-secret",
    }
    assert wandb.values == {"WANDB_API_KEY": "wandb-secret"}
    assert (tigris.missing, wandb.missing) == ({}, {})


def test_our_own_names_outrank_others_and_the_endpoint_is_optional() -> None:
    environ = {**DOPPLER, "TMGG_TIGRIS_BUCKET": "ours", "AWS_ENDPOINT_URL_S3": "http://s3"}

    (group,) = credentials.gather(["tigris-credentials"], environ)

    assert group.values["TMGG_TIGRIS_BUCKET"] == "ours"
    assert group.values["TMGG_TIGRIS_ENDPOINT"] == "http://s3"


def test_what_is_empty_is_missing_and_told_with_all_its_names() -> None:
    (group,) = credentials.gather(["tigris-credentials"], {**DOPPLER, "TMGG_S3_BUCKET": ""})

    assert group.missing == {"TMGG_TIGRIS_BUCKET": ("TMGG_TIGRIS_BUCKET", "TMGG_S3_BUCKET")}


def test_values_are_in_no_repr() -> None:
    groups = credentials.gather(["tigris-credentials", "wandb-credentials"], DOPPLER)

    assert not any(value in repr(groups) for value in DOPPLER.values())


def test_a_group_of_the_users_own_is_left_to_the_user() -> None:
    assert credentials.gather(["hub"], DOPPLER) == []


def test_every_key_that_a_group_needs_can_be_found() -> None:
    environ = dict.fromkeys([key for keys in SECRET_KEYS.values() for key in keys], "x")

    groups = credentials.gather(list(SECRET_KEYS), environ)

    assert [group.name for group in groups if group.missing] == []
    assert len(groups) == len(SECRET_KEYS)
