"""Loads a model's weights, and puts an adapter over them."""

import ctypes
import os
import threading
from typing import Any

from swarmcode.engine.llama.library import LOG, lib
from swarmcode.engine.models import ModelFile
from swarmcode.errors import ModelError


def load(model: ModelFile, abandoned: threading.Event) -> Any:
    """The model's weights. Raises `ModelError`."""
    LOG.listen()
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    keep = lib.llama_progress_callback(lambda progress, data: not abandoned.is_set())
    params.progress_callback = keep
    loaded = lib.llama_model_load_from_file(os.fsencode(model.path), params)
    if not loaded:
        raise ModelError(f"llama.cpp cannot load {model.path}: {LOG.complaint()}", "get the file again, or another")
    if lib.llama_model_has_encoder(loaded) or not lib.llama_model_has_decoder(loaded):
        lib.llama_model_free(loaded)
        raise ModelError(f"{model.path} does not generate text by itself", "use a decoder-only language model")
    return loaded


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
