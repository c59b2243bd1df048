"""One signed request after the other, for what is small: half the work of boto3's around each."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pytest_gpuexp.storage.access import Access

META = "x-amz-meta-"
BLOCK = 1 << 18  # larger ones cost more in page faults than in calls
CONNECTIONS = 32
_UNRESERVED = "-_.~"
# Headers and body go in two writes; without this the second may wait 40 ms for an answer.
_SOCKET = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
_BAD = 400
_LEAST = {"list-type": "2", "max-keys": "1"}
_ELSEWHERE = "AuthorizationHeaderMalformed"


class Refused(Exception):
    """What the server answered is an error; ``response`` says it as boto3's errors do."""

    def __init__(self, status: int, code: str, about: Mapping[str, str]) -> None:
        """Keep what was answered."""
        super().__init__(f"{code or 'an error'} (HTTP {status})")
        self.status, self.code, self.region = status, code, about.get("Region", "")
        self.response = {
            "Error": {"Code": code or str(status), **about},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


@dataclass(slots=True)
class Region:
    """Where the server is, as requests are signed for it; learnt by one, known to all."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is no error; ``blocks`` gives its body where that was not read at once."""

    headers: Mapping[str, str]
    data: bytes = b""
    blocks: Iterator[bytes] = field(default_factory=lambda: iter(()))

    @property
    def length(self) -> int:
        """How many bytes the body has, or would have had."""
        return int(self.headers.get("Content-Length") or 0)


class SignedRequests:
    """Requests for the objects of one bucket, each tried once; threads may share it.

    botocore signs and sends them, proxies and certificates included. What it does besides for
    each request (validating, resolving the endpoint, a dozen events, parsing) costs more.
    """

    def __init__(
        self,
        access: Access,
        *,
        base: str,
        authority: str | None,
        region: Region,
        connect: float,
        read: float,
    ) -> None:
        """Ask below the address ``base``; ``authority`` is a file of certificates, if any.

        ``region`` is set right where the server names another. ``connect`` and ``read`` are the
        seconds of silence that end a request.
        """
        from botocore.config import Config
        from botocore.credentials import Credentials
        from botocore.httpsession import URLLib3Session
        from botocore.utils import get_environ_proxies

        self._base = base
        self._keys = Credentials(access.access_key, access.secret_key, access.session_token)
        # The server then checks each body against the signed sha256, over HTTPS too.
        self._context = {"client_config": Config(s3={"payload_signing_enabled": True})}
        self._session = URLLib3Session(
            verify=authority or True,
            proxies=get_environ_proxies(base),
            timeout=(connect, read),
            max_pool_connections=CONNECTIONS,
            socket_options=_SOCKET,
        )
        self._region = region

    def ask(
        self,
        method: str,
        key: str,
        *,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        streamed: bool = False,
    ) -> Answer:
        """Return the answer to a request for ``key``; "" is the bucket itself.

        Raises:
            Refused: the server answered with an error.
        """
        url = self._base + quote(key, safe="/" + _UNRESERVED)
        if query:
            pairs = (f"{name}={quote(text, safe=_UNRESERVED)}" for name, text in query.items())
            url = f"{url}?{'&'.join(sorted(pairs))}"
        try:
            return self._send(method, url, data, headers or {}, streamed=streamed)
        except Refused as refused:
            self._learn(method, refused)
            return self._send(method, url, data, headers or {}, streamed=streamed)

    def close(self) -> None:
        """Let the connections go."""
        self._session.close()

    def _learn(self, method: str, refused: Refused) -> None:
        """Know the region that the server wants, as boto3 does.

        Raises:
            Refused: it wants no other, or does not name it.
        """
        bodiless = method == "HEAD" and refused.status == _BAD
        if bodiless and not refused.region:
            try:
                self.ask("GET", "", query=_LEAST)  # that one has a body, which may name it
            except Refused as told:
                raise (told if told.code == _ELSEWHERE else refused) from None
        elif refused.region and (bodiless or refused.code == _ELSEWHERE):
            self._region.name = refused.region
        else:
            raise refused

    def _send(
        self, method: str, url: str, data: bytes, headers: Mapping[str, str], *, streamed: bool
    ) -> Answer:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest(method, url, headers=dict(headers), data=data, stream_output=streamed)
        request.context.update(self._context)
        S3SigV4Auth(self._keys, "s3", self._region.name).add_auth(request)
        answer = self._session.send(request.prepare())
        if answer.status_code >= 300:
            raise _refusal(answer)
        if streamed:
            return Answer(headers=answer.headers, blocks=answer.raw.stream(BLOCK))
        return Answer(headers=answer.headers, data=answer.content)


def _refusal(answer: Any) -> Refused:
    """Return what an ``answer`` says; one to HEAD has no body, and perhaps a header."""
    text = answer.content.decode(errors="replace")
    region = answer.headers.get("x-amz-bucket-region")
    told = {"Region": region} if region else {}
    told |= {name: found[1] for name in ("Code", "Region") if (found := _tag(name, text))}
    return Refused(answer.status_code, told.pop("Code", ""), told)


def _tag(name: str, text: str) -> re.Match[str] | None:
    return re.search(f"<{name}>([^<]*)</{name}>", text)
