"""The pages of a bucket's listing."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

from tests.strict_s3.keeping import Kept, Upload
from tests.strict_s3.refusing import Refused

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_SALT = secrets.token_bytes(3)


def page(objects: dict[str, Kept], query: dict[str, str], *, most: int) -> bytes:
    """Return one page of at most ``most`` names, as ListObjectsV2 does."""
    encodes = query.get("encoding-type") == "url"
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = _after(query["continuation-token"]) if "continuation-token" in query else ""
    most = min(most, int(query.get("max-keys") or 1000))
    names = sorted(_names(objects, prefix, delimiter))
    left = [name for name in names if name[0] > after]
    shown, more = left[:most], len(left) > most

    def text(name: str) -> str:
        # A blank is a plus where names are encoded, as AWS has it.
        return escape(quote_plus(name, safe="/") if encodes else name)

    lines = [f"<Prefix>{text(prefix)}</Prefix>", f"<IsTruncated>{str(more).lower()}</IsTruncated>"]
    lines += [f"<EncodingType>{query['encoding-type']}</EncodingType>"] if encodes else []
    if more:
        lines.append(f"<NextContinuationToken>{_token(shown[-1][0])}</NextContinuationToken>")
    for name, is_folder in shown:
        if is_folder:
            lines.append(f"<CommonPrefixes><Prefix>{text(name)}</Prefix></CommonPrefixes>")
        else:
            kept = objects[name]
            lines.append(
                f"<Contents><Key>{text(name)}</Key><Size>{len(kept.data)}</Size>"
                f"<ETag>{escape(kept.etag)}</ETag></Contents>"
            )
    return f"<ListBucketResult {NAMESPACE}>{''.join(lines)}</ListBucketResult>".encode()


def uploads_page(uploads: Iterable[tuple[str, Upload]], prefix: str) -> bytes:
    """Return all unfinished uploads below ``prefix``."""
    entries = "".join(
        f"<Upload><Key>{escape(upload.key)}</Key><UploadId>{number}</UploadId>"
        f"<Initiated>{upload.began}</Initiated></Upload>"
        for number, upload in uploads
        if upload.key.startswith(prefix)
    )
    words = f"<IsTruncated>false</IsTruncated>{entries}"
    return f"<ListMultipartUploadsResult {NAMESPACE}>{words}</ListMultipartUploadsResult>".encode()


def _names(objects: dict[str, Kept], prefix: str, delimiter: str) -> set[tuple[str, bool]]:
    found = set()
    for key in list(objects):
        if key.startswith(prefix):
            stem, mark, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            found.add((f"{prefix}{stem}{mark}" if mark else key, bool(mark)))
    return found


def _token(name: str) -> str:
    """Return a token with every sign that has a meaning in a query."""
    return "+/=&amp;%" + base64.b64encode(_SALT + name.encode()).decode()


def _after(token: str) -> str:
    held = base64.b64decode(token[5:]) if token.startswith("+/=&%") else b""
    if not held.startswith(_SALT):
        raise Refused(400, "InvalidArgument")
    return held[len(_SALT) :].decode()
