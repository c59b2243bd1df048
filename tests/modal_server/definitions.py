"""What a function comes to: its definition with the options of the variant applied."""

from __future__ import annotations

import functools
from typing import Any

from modal_proto import api_pb2

from tests.modal_server import holdings as holding
from tests.modal_server import images, world


def effective(holdings: holding.Holdings, function: world.Function) -> api_pb2.Function:
    """Return what containers of ``function`` run, to be read only; a variant follows its base."""
    base = function
    if function.base_id and not function.definition:  # else it is a version that is pinned
        base = holdings.functions[function.base_id]
    changes = base.scheduling + (function.scheduling if function is not base else b"")
    return _merged(base.definition, function.options, changes)


@functools.lru_cache(maxsize=256)
def _merged(definition: bytes, options: bytes, scheduling: bytes) -> api_pb2.Function:
    found: api_pb2.Function = api_pb2.Function.FromString(definition)
    _apply(found, api_pb2.FunctionOptions.FromString(options))
    found.autoscaler_settings.MergeFromString(scheduling)
    return found


def _apply(base: api_pb2.Function, options: api_pb2.FunctionOptions) -> None:
    for name in ("secret_ids", "volume_mounts"):
        if getattr(options, f"replace_{name}"):
            base.ClearField(name)
        getattr(base, name).extend(getattr(options, name))
    base.mount_ids.extend(options.mount_ids)
    # A client sends resources with every option, empty ones too: what is not said in them stays.
    base.resources.MergeFrom(options.resources)
    given = {field.name: value for field, value in options.ListFields()}
    for name in given.keys() & _MESSAGES:
        getattr(base, name).CopyFrom(given[name])
    for name in given.keys() & _SCALARS:
        setattr(base, name, given[name])
    for name in given.keys() & _SCALING.keys():
        setattr(base.autoscaler_settings, _SCALING[name], given[name])


def revision(holdings: holding.Holdings, function: world.Function) -> int:
    """Return how often the definition was replaced, the base's where the function is a variant."""
    base = holdings.functions.get(function.base_id)
    return function.revision + (base.revision if base else 0)


def max_containers(definition: api_pb2.Function) -> int:
    """Return how many containers may run at once; a large number where nothing was said."""
    return definition.autoscaler_settings.max_containers or definition.concurrency_limit or 1000


def scaledown_window(definition: api_pb2.Function) -> float:
    """Return how many seconds an idle container is kept."""
    settings = definition.autoscaler_settings
    return float(settings.scaledown_window or definition.task_idle_timeout_secs or 60)


def concurrency(definition: api_pb2.Function) -> int:
    """Return how many inputs a container takes at once."""
    return definition.max_concurrent_inputs or 1


def metadata_of(
    definition: api_pb2.Function, function: world.Function
) -> api_pb2.FunctionHandleMetadata:
    """Return what a client is told of a function that it holds."""
    found = api_pb2.FunctionHandleMetadata(
        function_name=definition.function_name,
        function_type=definition.function_type,
        is_method=definition.is_method,
        definition_id=f"de-{function.function_id[3:]}",
        class_parameter_info=definition.class_parameter_info,
        function_schema=definition.function_schema,
        supported_input_formats=definition.supported_input_formats,
        supported_output_formats=definition.supported_output_formats,
        app_id=function.app_id,
        base_function_id=function.base_id,
    )
    for name, method in definition.method_definitions.items():
        found.method_handle_metadata[name].CopyFrom(
            api_pb2.FunctionHandleMetadata(
                function_name=method.function_name,
                function_type=method.function_type,
                is_method=True,
                use_method_name=name,
                function_schema=method.function_schema,
                supported_input_formats=method.supported_input_formats,
                supported_output_formats=method.supported_output_formats,
            )
        )
    return found


def data_of(definition: api_pb2.Function) -> api_pb2.FunctionData:
    """Return a definition in the form in which clients are told of it."""
    data = api_pb2.FunctionData(
        ranked_functions=[api_pb2.FunctionData.RankedFunction(rank=0, function=definition)]
    )
    shared = {f.name: f for f in api_pb2.Function.DESCRIPTOR.fields}
    for field, value in definition.ListFields():
        target = api_pb2.FunctionData.DESCRIPTOR.fields_by_name.get(field.name)
        if target is None or target.type != shared[field.name].type:
            continue
        if target.message_type is None and not target.is_repeated:
            setattr(data, field.name, value)
        elif field.name in ("autoscaler_settings", "webhook_config", "function_schema"):
            getattr(data, field.name).CopyFrom(value)
    return data


def told(
    holdings: holding.Holdings, definition: api_pb2.Function, gpus: list[str]
) -> dict[str, Any]:
    """Return a definition in words, for the journal."""
    placement, retries = definition.scheduler_placement, definition.retry_policy
    layers = images.layers(holdings, definition.image_id)
    return {
        "name": definition.function_name,
        "module": definition.module_name,
        "serialized": bool(definition.function_serialized),
        "gpu": gpus[0] if gpus else "",
        "gpus": gpus,
        "cpu": definition.resources.milli_cpu / 1000,
        "memory": definition.resources.memory_mb,
        "timeout": definition.timeout_secs,
        "retries": retries.retries,
        "retry_delay": retries.initial_delay_ms / 1000,
        "secrets": [_secret_name(holdings, each) for each in definition.secret_ids],
        "volumes": {
            each.mount_path: _volume_name(holdings, each) for each in definition.volume_mounts
        },
        "mounts": [f[0] for m in definition.mount_ids for f in holdings.mounts[m].files],
        "image": {
            "image_id": definition.image_id,
            "commands": layers.commands,
            "env": layers.environ,
        },
        "region": list(placement.regions),
        "nonpreemptible": placement.nonpreemptible,
        "cloud": definition.cloud_provider_str,
        "max_containers": definition.autoscaler_settings.max_containers,
        "min_containers": definition.autoscaler_settings.min_containers,
        "scaledown_window": definition.autoscaler_settings.scaledown_window,
        "max_concurrent_inputs": definition.max_concurrent_inputs,
        "single_use_containers": definition.single_use_containers,
    }


def gpu_of(definition: api_pb2.Function) -> list[str]:
    """Return the GPU of a definition as a user writes it (``H100:2``), in a list; or none."""
    config = definition.resources.gpu_config
    if not config.count:
        return []
    return [config.gpu_type + (f":{config.count}" if config.count > 1 else "")]


_MESSAGES = {"retry_policy", "scheduler_placement"}
_SCALARS = {
    "timeout_secs",
    "max_concurrent_inputs",
    "target_concurrent_inputs",
    "batch_max_size",
    "batch_linger_ms",
    "cloud_provider_str",
}
_SCALING = {
    "concurrency_limit": "max_containers",
    "warm_pool_size": "min_containers",
    "task_idle_timeout_secs": "scaledown_window",
    "buffer_containers": "buffer_containers",
}


def _secret_name(holdings: holding.Holdings, secret_id: str) -> str:
    secret = holdings.secrets.get(secret_id)
    return secret.name if secret and secret.name else secret_id


def _volume_name(holdings: holding.Holdings, mount: api_pb2.VolumeMount) -> str:
    volume = holdings.volumes.get(mount.volume_id)
    return volume.name if volume else mount.volume_id
