"""Whether a request was signed by whoever holds the secret, and is what was signed.

Source: AWS's pages on Signature Version 4, by the standard library alone.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from tests.strict_s3.refusing import Refused, Request

_ALGORITHM = "AWS4-HMAC-SHA256"
_SKEW = timedelta(minutes=15)
_DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "content-md5": lambda body: hashlib.md5(body, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
}


def check(request: Request, *, keys: Mapping[str, str], region: str, now: datetime) -> None:
    """Refuse ``request`` unless one of ``keys`` has signed it for ``region``, about ``now``."""
    if "authorization" in request.headers:
        _check_header(request, keys, region, now)
        _check_body(request)
    elif "X-Amz-Signature=" in request.query:
        _check_link(request, keys, region, now)
    else:
        raise Refused(403, "AccessDenied")


def pairs(query: str) -> list[tuple[str, str]]:
    """Return what a query holds, decoded; a bare name has the value ""."""
    if "+" in query:
        raise Refused(400, "InvalidURI")  # a blank to some, a plus to others
    parts = (part.partition("=") for part in query.split("&") if part)
    return [(unquote(name), unquote(value)) for name, _, value in parts]


def _check_header(request: Request, keys: Mapping[str, str], region: str, now: datetime) -> None:
    found = re.fullmatch(
        rf"{_ALGORITHM} Credential=([^/,]+)/([^,]+), ?SignedHeaders=([^,]+), ?Signature=(\w+)",
        request.headers["authorization"],
    )
    if not found:
        raise Refused(400, "AuthorizationHeaderMalformed")
    key, scope, names, signature = found.groups()
    told = request.headers.get("x-amz-date", "")
    if abs(_moment(told) - now) > _SKEW:
        raise Refused(403, "RequestTimeTooSkewed")
    _check_scope(scope, told, region, "AuthorizationHeaderMalformed")
    _check_names(request, names.split(";"))
    payload = request.headers.get("x-amz-content-sha256")
    if payload is None:
        raise Refused(400, "MissingSecurityHeader")
    _compare(request, keys, key, told, scope, names, payload, signature, pairs(request.query))


def _check_link(request: Request, keys: Mapping[str, str], region: str, now: datetime) -> None:
    query = dict(pairs(request.query))
    key, _, scope = query["X-Amz-Credential"].partition("/")
    told, names = query["X-Amz-Date"], query["X-Amz-SignedHeaders"]
    _check_scope(scope, told, region, "AuthorizationQueryParametersError")
    if not timedelta(0) <= now - _moment(told) + _SKEW:
        raise Refused(403, "AccessDenied")
    if now - _moment(told) > timedelta(seconds=int(query["X-Amz-Expires"])):
        raise Refused(403, "AccessDenied")
    signature = query.pop("X-Amz-Signature")
    listed = list(query.items())
    _compare(request, keys, key, told, scope, names, "UNSIGNED-PAYLOAD", signature, listed)


def _check_scope(scope: str, told: str, region: str, code: str) -> None:
    if scope.split("/") != [told[:8], region, "s3", "aws4_request"]:
        raise Refused(400, code, {"Region": region})


def _check_names(request: Request, names: list[str]) -> None:
    must = {name for name in request.headers if name.startswith("x-amz-")} | {"host"}
    if not must <= set(names) or names != sorted(names):
        raise Refused(403, "AccessDenied")


def _compare(
    request: Request,
    keys: Mapping[str, str],
    key: str,
    told: str,
    scope: str,
    names: str,
    payload: str,
    signature: str,
    query: list[tuple[str, str]],
) -> None:
    if key not in keys:
        raise Refused(403, "InvalidAccessKeyId")
    encoded = sorted((quote(one, safe="-_.~"), quote(two, safe="-_.~")) for one, two in query)
    canonical = "\n".join(
        [
            request.method,
            quote(unquote(request.path), safe="/-_.~"),
            "&".join(f"{one}={two}" for one, two in encoded),
            *(f"{n}:{' '.join(request.headers[n].split())}" for n in names.split(";")),
            "",
            names,
            payload,
        ]
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    secret = f"AWS4{keys[key]}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    text = "\n".join([_ALGORITHM, told, scope, digest])
    if not hmac.compare_digest(hmac.digest(secret, text.encode(), "sha256").hex(), signature):
        raise Refused(403, "SignatureDoesNotMatch")


def _check_body(request: Request) -> None:
    if request.headers["x-amz-content-sha256"] != hashlib.sha256(request.body).hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch")
    for name, value in request.headers.items():
        if name.startswith("x-amz-checksum-") and name not in (*_DIGESTS, "x-amz-checksum-mode"):
            raise Refused(501, "NotImplemented")
        if name in _DIGESTS and base64.b64encode(_DIGESTS[name](request.body)).decode() != value:
            raise Refused(400, "BadDigest")


def _moment(told: str) -> datetime:
    try:
        return datetime.strptime(told, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused(403, "AccessDenied") from None
