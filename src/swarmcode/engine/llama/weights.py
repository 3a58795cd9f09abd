"""Loads a model's weights to where they belong, and puts an adapter over them."""

import ctypes
import functools
import os
import threading
from typing import Any

from swarmcode.engine import machine
from swarmcode.engine.llama.library import LOG, lib
from swarmcode.engine.models import ModelFile
from swarmcode.engine.placement import Numa, Overrides, Placement
from swarmcode.errors import ModelError

_EXPERTS = rb"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""Tensors of routed experts, as llama.cpp's `--cpu-moe` has it."""
_MMAP = {"auto": lib.LLAMA_LOAD_MODE_AUTO, "on": lib.LLAMA_LOAD_MODE_MMAP, "off": lib.LLAMA_LOAD_MODE_NONE}
_NUMA = {
    "distribute": lib.GGML_NUMA_STRATEGY_DISTRIBUTE,
    "isolate": lib.GGML_NUMA_STRATEGY_ISOLATE,
    "numactl": lib.GGML_NUMA_STRATEGY_NUMACTL,
}


class _Elsewhere(ctypes.Structure):
    """`llama_model_tensor_buft_override`: tensors with such names, and memory for them."""

    _fields_ = (("pattern", ctypes.c_char_p), ("memory", ctypes.c_void_p))


def load(model: ModelFile, abandoned: threading.Event, placed: Placement | None, overrides: Overrides) -> Any:
    """The model's weights, where they are `placed`; None: where llama.cpp puts them. Raises `ModelError`."""
    LOG.listen()
    lib.llama_backend_init()
    _spread(overrides.numa)
    params = lib.llama_model_default_params()
    params.load_mode = _MMAP[overrides.mmap]
    if placed:
        params.n_gpu_layers = placed.gpu_layers
    if placed and placed.experts_on_host:
        memory = lib._lib.ggml_backend_cpu_buffer_type
        memory.restype = ctypes.c_void_p
        elsewhere = (_Elsewhere * 2)(_Elsewhere(_EXPERTS, memory()), _Elsewhere())  # the second one ends the list
        params.tensor_buft_overrides = ctypes.addressof(elsewhere)
    keep = lib.llama_progress_callback(lambda progress, data: not abandoned.is_set())
    params.progress_callback = keep
    loaded = lib.llama_model_load_from_file(os.fsencode(model.path), params)
    if not loaded:
        raise ModelError(f"llama.cpp cannot load {model.path}: {LOG.complaint()}", "get the file again, or another")
    if lib.llama_model_has_encoder(loaded) or not lib.llama_model_has_decoder(loaded):
        lib.llama_model_free(loaded)
        raise ModelError(f"{model.path} does not generate text by itself", "use a decoder-only language model")
    return loaded


@functools.cache
def _spread(numa: Numa) -> None:
    """How the process's threads are spread over memory nodes: decided once."""
    if numa == "auto":
        numa = "distribute" if machine.memory_nodes() > 1 else "off"
    if numa != "off":
        lib.llama_numa_init(_NUMA[numa])


def adapt(loaded: Any, context: Any, model: ModelFile) -> None:
    """Puts the model's adapter, if it has one, over what was loaded, with which it is freed. Raises `ModelError`."""
    if model.adapter is None:
        return
    adapter = lib.llama_adapter_lora_init(loaded, os.fsencode(model.adapter))
    adapters, scales = (lib.llama_adapter_lora_p_ctypes * 1)(adapter), (ctypes.c_float * 1)(1.0)
    if not adapter or lib.llama_set_adapters_lora(context, adapters, 1, scales):
        raise ModelError(
            f"llama.cpp cannot use the adapter {model.adapter} with {model.path}: {LOG.complaint()}",
            "use the model that the adapter was trained on",
        )
