"""What the server knows, as plain objects."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from modal_proto import api_pb2


def new_id(prefix: str) -> str:
    """Return an identifier that no other object has, as ``fu-...``."""
    return f"{prefix}-{uuid.uuid4().hex[:22]}"


@dataclass(slots=True, kw_only=True)
class App:
    """An app: ``initializing``, ``ephemeral``, ``detached``, ``deployed`` or ``stopped``."""

    app_id: str
    environment: str
    description: str = ""
    name: str = ""
    state: str = "initializing"
    created_at: float = field(default_factory=time.time)
    stopped_at: float = 0.0
    heartbeat_at: float = field(default_factory=time.time)
    function_ids: dict[str, str] = field(default_factory=dict)
    class_ids: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    versions: list[dict[str, object]] = field(default_factory=list)
    """One a deployment: ``version``, ``deployed_at``, ``tag``, ``functions`` (in base64)."""


@dataclass(slots=True, kw_only=True)
class Function:
    """A function, or a variant: then ``base_id`` says whose, ``options`` and ``params`` how."""

    function_id: str
    app_id: str
    tag: str
    definition: bytes = b""
    """What containers run: a serialized ``api_pb2.Function``; empty until published."""
    draft: bytes = b""
    """What the next publication makes the definition."""
    metadata: bytes = b""
    revision: int = 0
    base_id: str = ""
    options: bytes = b""
    params: bytes = b""
    scheduling: bytes = b""
    """Autoscaler settings changed on the running function, until it is deployed again."""


@dataclass(slots=True, kw_only=True)
class Class:
    """A class: its methods, and the function that serves it."""

    class_id: str
    app_id: str
    metadata: bytes


@dataclass(slots=True, kw_only=True)
class Call:
    """A function call, of one input or many."""

    call_id: str
    function_id: str
    app_id: str
    invocation: api_pb2.FunctionCallInvocationType.ValueType
    is_map: bool = False
    created_at: float = field(default_factory=time.time)
    input_ids: list[str] = field(default_factory=list)
    expired: bool = False
    cancelled: bool = False


@dataclass(slots=True, kw_only=True)
class Input:
    """One input of a call; ``status`` is ``pending``, ``running``, ``resting`` or ``done``."""

    input_id: str
    call_id: str
    function_id: str
    idx: int
    payload: bytes
    status: str = "pending"
    retry_count: int = 0
    attempts: int = 0
    crashes: int = 0
    task_id: str = ""
    created_at: float = field(default_factory=time.time)
    started_at: float = 0.0
    entry: int = 0
    """Where its output stands among the outputs of the call, from 1 on."""
    output: bytes = b""
    """A serialized ``FunctionGetOutputsItem``."""
    result: int = 0
    """The status of the output, as in ``GenericResult``."""


@dataclass(slots=True, kw_only=True)
class Container:
    """A container; ``status`` is ``starting``, ``idle``, ``busy``, ``leaving`` or ``gone``."""

    task_id: str
    function_id: str
    app_id: str
    revision: int
    folder: str
    pid: int = 0
    born: float = 0.0
    """When the kernel says that the process began, so that a reused pid is not taken for it."""
    status: str = "starting"
    fate: str = ""
    """Why the server ended it: ``preempted``, ``killed``, ``timeout``, ``cancelled``, ``oom``..."""
    enqueued_at: float = field(default_factory=time.time)
    idle_since: float = 0.0
    input_ids: list[str] = field(default_factory=list)
    leaving_after: bool = False
    """Whether it is to end once its inputs have, its function being deployed anew."""
    volumes: dict[str, str] = field(default_factory=dict)
    """The folder of its working copy, by volume."""


@dataclass(slots=True, kw_only=True)
class Secret:
    """A secret; anonymous where it has no name."""

    secret_id: str
    environment: str
    values: dict[str, str]
    name: str = ""
    created_at: float = field(default_factory=time.time)


@dataclass(slots=True, kw_only=True)
class Volume:
    """A volume; what is committed lies in ``volumes/<volume_id>`` of the root."""

    volume_id: str
    environment: str
    version: api_pb2.VolumeFsVersion.ValueType
    name: str = ""
    created_at: float = field(default_factory=time.time)


@dataclass(slots=True, kw_only=True)
class Mount:
    """Local files that go along: the remote path, the sha256 of the bytes and the mode of each."""

    mount_id: str
    files: list[tuple[str, str, int]]
    checksum: str


@dataclass(slots=True, kw_only=True)
class Image:
    """An image: a serialized ``api_pb2.Image``, never built."""

    image_id: str
    definition: bytes


@dataclass(slots=True, kw_only=True)
class LogLine:
    """What a container wrote, with whose input it worked on; ``fd`` is 1, 2 or 3 (the system)."""

    number: int
    app_id: str
    function_id: str
    call_id: str
    task_id: str
    fd: api_pb2.FileDescriptor.ValueType
    at: float
    text: str


@dataclass(slots=True, kw_only=True)
class Named:
    """A queue, dict or environment; ``content`` of a queue is by partition, in base64."""

    object_id: str
    kind: str
    environment: str
    name: str = ""
    created_at: float = field(default_factory=time.time)
    content: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Entry:
    """One entry of a dict; key and value in base64."""

    entry_id: str
    object_id: str
    key: str
    value: str
