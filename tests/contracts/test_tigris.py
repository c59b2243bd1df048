"""What a bucket does beyond what every storage does, by real servers that fail for real."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pytest_gpuexp.errors import StorageError
from pytest_gpuexp.storage.tigris import TigrisStorage
from tests import servers
from tests.faults.proxy import Proxy, faulty
from tests.pretend_s3 import pretended
from tests.servers import BUCKET, Server

MEGABYTE = 1 << 20


@pytest.fixture
def proxy(moto: Server) -> Iterator[Proxy]:
    with faulty(moto.endpoint) as proxy:
        yield proxy


def storage_of(server: Server, prefix: str, **changes: str) -> TigrisStorage:
    return TigrisStorage(BUCKET, prefix=prefix, environ=server.environ(**changes))


def test_a_write_whose_answer_is_lost_is_known_for_ours(moto: Server, proxy: Proxy) -> None:
    storage = storage_of(moto, "lost", ENDPOINT=proxy.endpoint)
    proxy.faults = ["lost"]

    assert storage.write_if_absent("a", b"ours")
    assert moto.get("lost/a") == b"ours"
    assert not storage.write_if_absent("a", b"ours")  # the same bytes, and yet another's


def test_of_two_writers_whose_answers_are_lost_one_is_told_that_it_wrote(
    moto: Server, proxy: Proxy
) -> None:
    storage = storage_of(moto, "both", ENDPOINT=proxy.endpoint)
    proxy.faults = ["lost", "lost", "lost"]

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: storage.write_if_absent("a", b"same"), range(4)))

    assert sorted(told) == [False, False, False, True]


def test_a_storm_of_failures_loses_nothing(moto: Server, proxy: Proxy, tmp_path: Path) -> None:
    storage = storage_of(moto, "storm", ENDPOINT=proxy.endpoint)
    names = [f"e/records/{number}" for number in range(60)]
    proxy.faults = ["503"] * 16 + ["reset", "", "lost", "503"] * 8

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda name: storage.write_if_absent(name, name.encode()), names))

    assert all(told)
    assert sorted(storage.list("e/records")) == sorted(names)
    assert all(storage.read(name) == name.encode() for name in names)


def test_a_large_file_arrives_through_failures_and_leaves_no_parts(
    moto: Server, proxy: Proxy, tmp_path: Path
) -> None:
    storage = storage_of(moto, "large", ENDPOINT=proxy.endpoint)
    data = os.urandom(MEGABYTE) * 24
    (tmp_path / "up").write_bytes(data)
    proxy.faults = ["", "503", "503", "503", "503", "reset", "lost", "503", "503", "lost"]

    storage.upload_file(tmp_path / "up", "big")

    assert moto.get("large/big") == data
    client = moto.client()
    assert not client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")
    client.close()


def test_a_large_file_comes_back_whole_through_failures(
    moto: Server, proxy: Proxy, tmp_path: Path
) -> None:
    data = os.urandom(MEGABYTE) * 24 + b"and more"
    (tmp_path / "up").write_bytes(data)
    storage = storage_of(moto, "back", ENDPOINT=proxy.endpoint)
    storage.upload_file(tmp_path / "up", "big")
    proxy.faults = ["503", "", "half", "reset", "", "503", "half"]
    seen = len(proxy.seen)

    storage.download_file("big", tmp_path / "down")

    assert (tmp_path / "down").read_bytes() == data
    assert proxy.faults == []
    assert len(proxy.seen) - seen <= 12


def test_a_server_that_knows_no_ranges_is_read_in_one_go(tmp_path: Path) -> None:
    data = os.urandom(MEGABYTE) * 20
    with pretended() as server:
        server.objects["big"] = data
        storage = TigrisStorage(BUCKET, environ=Server(endpoint=server.endpoint).environ())

        storage.download_file("big", tmp_path / "down")

        assert server.requests == ["GET"]
    assert (tmp_path / "down").read_bytes() == data


def test_a_proxy_of_the_environment_is_gone_through(
    moto: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.endpoint)
    monkeypatch.setenv("no_proxy", "")
    storage = storage_of(moto, "proxied", REGION="proxied-1")

    storage.write("a", b"x")

    assert storage.read("a") == b"x"
    assert [request.split()[0] for request in proxy.seen] == ["PUT", "GET"]
    assert all(moto.endpoint in request for request in proxy.seen)


def test_a_server_that_stays_away_is_given_up(moto: Server, proxy: Proxy) -> None:
    storage = storage_of(moto, "away", ENDPOINT=proxy.endpoint, PATIENCE="0.5")
    proxy.away = True

    with pytest.raises(StorageError, match="cannot be reached"):
        storage.write("a", b"x")

    proxy.away = False
    storage.write("a", b"x")
    assert storage.read("a") == b"x"


def test_bytes_that_changed_in_the_bucket_are_not_taken(moto: Server, tmp_path: Path) -> None:
    storage = storage_of(moto, "damaged", PATIENCE="0")
    storage.write("a", b"as sent")
    client = moto.client()
    metadata = client.head_object(Bucket=BUCKET, Key="damaged/a")["Metadata"]
    client.put_object(Bucket=BUCKET, Key="damaged/a", Body=b"another", Metadata=metadata)
    client.close()

    with pytest.raises(StorageError, match="another sha256"):
        storage.read("a")
    with pytest.raises(StorageError, match="another sha256"):
        storage.download_file("a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_uploads_that_a_kill_left_are_ended_after_a_day(seaweed: Server) -> None:
    storage = storage_of(seaweed, "swept")
    client = seaweed.client()
    for key in ("swept/mine", "others/theirs"):
        client.create_multipart_upload(Bucket=BUCKET, Key=key)
    now = datetime.datetime.now(datetime.UTC)

    early = storage.sweep(now=now + datetime.timedelta(hours=1))
    late = storage.sweep(now=now + datetime.timedelta(days=1, hours=1))

    left = client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    for upload in left:
        client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    client.close()
    assert (early, late) == (0, 1)
    assert [upload["Key"] for upload in left] == ["others/theirs"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_makes_a_client_of_its_own(moto: Server) -> None:
    storage = storage_of(moto, "forked")
    storage.write("parent", b"x")

    child = os.fork()
    if not child:
        try:
            storage.write("child", storage.read("parent"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert storage.read("child") == b"x"


@pytest.mark.parametrize("change", [{"SECRET_KEY": "wrong"}, {"ACCESS_KEY": "nobody"}])
def test_wrong_keys_are_told_and_not_shown(seaweed: Server, change: dict[str, str]) -> None:
    storage = storage_of(seaweed, "keys", **change)

    for action in (storage.check, lambda: storage.write("a", b"x"), lambda: storage.read("a")):
        with pytest.raises(StorageError, match="does not let these keys") as caught:
            action()
        assert not any(value in str(caught.value) for value in change.values())


@pytest.mark.parametrize("kind", ["moto", "seaweed"])
def test_a_missing_bucket_is_told(request: pytest.FixtureRequest, kind: str) -> None:
    server: Server = request.getfixturevalue(kind)
    storage = TigrisStorage("no-such-bucket", environ=server.environ())

    with pytest.raises(StorageError, match="there is no bucket 'no-such-bucket'"):
        storage.check()


def test_a_server_that_speaks_tls_is_spoken_to_in_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    (tmp_path / "up").write_bytes(os.urandom(MEGABYTE) * 9)
    with servers.seaweed(certificate) as server:
        with pytest.raises(StorageError, match="certificate is not trusted"):
            storage_of(server, "untrusted").check()

        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
        storage = storage_of(server, "tls", REGION="local")
        storage.check()
        storage.upload_file(tmp_path / "up", "a")
        assert storage.write_if_absent("b", b"x")
        assert not storage.write_if_absent("b", b"y")
        storage.download_file("a", tmp_path / "down")

    assert (tmp_path / "down").read_bytes() == (tmp_path / "up").read_bytes()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of 127.0.0.1 and its key; give their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
