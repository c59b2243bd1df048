"""What the failure of an S3 request means, and whether it may pass."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_gpuexp.errors import ObjectDamaged, StorageError
from pytest_gpuexp.storage.access import Access

_KEYS_REFUSED = {"AccessDenied", "Forbidden", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_REGION_REFUSED = {
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "301",
}
_CLOCK_REFUSED = {"RequestExpired", "RequestTimeTooSkewed"}
_PASSING = {
    "BadDigest",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
}
_ABSENT = {"404", "NoSuchKey", "NotFound"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is an error: S3's ``code`` and the HTTP ``status``; 0 where none came.

    ``region`` is where the server wants to be asked, "" where it does not say.
    """

    code: str
    status: int
    region: str = ""

    @property
    def absent(self) -> bool:
        """Whether the object is not there."""
        return self.code in _ABSENT

    @property
    def taken(self) -> bool:
        """Whether the name is taken already."""
        return self.status == 412 or self.code == "PreconditionFailed"

    @property
    def passing(self) -> bool:
        """Whether asking again may help."""
        return self.status >= 500 or self.status == 429 or self.code in _PASSING


class Damaged(Exception):
    """Bytes did not arrive as they were sent; sending them again may help."""


class BrokenOff(Damaged):
    """Fewer bytes came than there are; asking again may help."""


def read_refusal(error: BaseException) -> Refusal | None:
    """Return what the server answered, or None where ``error`` is no answer of a server."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return None
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    told = response.get("Error", {})
    return Refusal(
        code=str(told.get("Code", "")), status=int(status), region=str(told.get("Region", ""))
    )


def is_passing(error: Exception) -> bool:
    """Return whether asking again may help: the server is busy, or the way to it broke."""
    refusal = read_refusal(error)
    if refusal is not None:
        return refusal.passing
    return isinstance(error, Damaged) or _broke(error)


def explain(error: Exception, access: Access) -> StorageError:
    """Return what ``error`` says to a user; it never speaks of keys."""
    bucket, endpoint = access.bucket, access.endpoint
    refusal = read_refusal(error)
    if refusal is None:
        return StorageError(_no_answer(error, access))
    if refusal.code == "NoSuchBucket" or (refusal.absent and refusal.code != "NoSuchKey"):
        return StorageError(
            f"there is no bucket {bucket!r} at {endpoint}. Make it, or name another with "
            "--storage=s3://BUCKET/PREFIX."
        )
    if refusal.code in _REGION_REFUSED:
        return StorageError(
            f"{endpoint} has the bucket {bucket!r} in another region than {access.region!r} "
            f"({refusal.code}). Name the right one, TMGG_TIGRIS_REGION={refusal.region or '...'}, "
            "and its address in TMGG_TIGRIS_ENDPOINT where each region has one."
        )
    if refusal.code in _CLOCK_REFUSED:
        return StorageError(
            f"{endpoint} finds that the clock of this machine is wrong ({refusal.code}). Set it."
        )
    if refusal.code in _KEYS_REFUSED or refusal.status in (401, 403):
        return StorageError(
            f"{endpoint} does not let these keys use the bucket {bucket!r} ({refusal.code}). Look "
            "at TMGG_TIGRIS_ACCESS_KEY and TMGG_TIGRIS_SECRET_KEY, and at what they may do."
        )
    return StorageError(
        f"the bucket {bucket!r} at {endpoint} answered {refusal.code} (HTTP {refusal.status}). "
        "Try again later; what has ended is kept in the spool."
    )


def waiting(error: Exception, access: Access) -> str:
    """Return what to tell while a server that fails is asked again."""
    refusal = read_refusal(error)
    what = f"HTTP {refusal.status}" if refusal else type(error).__name__
    return (
        f"the bucket {access.bucket!r} at {access.endpoint} does not answer as it should ({what}); "
        f"it is asked again for up to {access.patience:.0f} s, and what runs goes on"
    )


def damage(error: Damaged, access: Access) -> ObjectDamaged:
    """Return what to tell where asking again has not helped."""
    return ObjectDamaged(
        f"the bucket {access.bucket!r} at {access.endpoint} has other bytes than were sent: "
        f"{error}. Delete the object, or ask who runs the bucket."
    )


def _no_answer(error: Exception, access: Access) -> str:
    where = f"the bucket {access.bucket!r} at {access.endpoint}"
    if isinstance(error, Damaged):
        return f"{where} did not keep what was sent: {error}. Try again, or ask who runs it."
    if _named(error, "SSLError"):
        return (
            f"{where} cannot be reached: its certificate is not trusted here. Look at "
            "TMGG_TIGRIS_ENDPOINT, or name the authority's file in AWS_CA_BUNDLE."
        )
    if _broke(error):
        return (
            f"{where} cannot be reached ({type(error).__name__}). Look at the network and at "
            "TMGG_TIGRIS_ENDPOINT."
        )
    return f"{where} cannot be used: {type(error).__name__}: {error}"


def _broke(error: Exception) -> bool:
    """Return whether the way to the server broke, by name: only one room imports botocore."""
    return not _named(error, "SSLError") and _named(
        error, "HTTPClientError", "IncompleteReadError", "ConnectionError", "HTTPError"
    )


def _named(error: Exception, *names: str) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)
