// What a ggml backend that is loaded at run time must look like: the interface of API version 2, as declared in
// ggml-backend-impl.h of ggml (MIT licence, copyright the ggml authors), which packages of llama.cpp do not install.
// `ggml_backend_load` refuses a plugin of another version.

#pragma once

#include <ggml-backend.h>
#include <ggml.h>

#include <cstddef>
#include <cstdint>

extern "C" {

constexpr int GGML_PLUGIN_API_VERSION = 2;

struct ggml_backend_graph_optimize_params;

struct ggml_backend_i {
    const char * (*get_name)(ggml_backend_t);
    void (*free)(ggml_backend_t);
    void * set_tensor_async;
    void * get_tensor_async;
    void * set_tensor_2d_async;
    void * get_tensor_2d_async;
    void * cpy_tensor_async;
    void * synchronize;
    void * graph_plan_create;
    void * graph_plan_free;
    void * graph_plan_update;
    void * graph_plan_compute;
    enum ggml_status (*graph_compute)(ggml_backend_t, struct ggml_cgraph *);
    void * event_record;
    void * event_wait;
    void * graph_optimize;
};

struct ggml_backend {
    ggml_guid_t guid;
    struct ggml_backend_i iface;
    ggml_backend_dev_t device;
    void * context;
};

struct ggml_backend_device_i {
    const char * (*get_name)(ggml_backend_dev_t);
    const char * (*get_description)(ggml_backend_dev_t);
    void (*get_memory)(ggml_backend_dev_t, size_t * free, size_t * total);
    enum ggml_backend_dev_type (*get_type)(ggml_backend_dev_t);
    void (*get_props)(ggml_backend_dev_t, struct ggml_backend_dev_props *);
    ggml_backend_t (*init_backend)(ggml_backend_dev_t, const char * params);
    ggml_backend_buffer_type_t (*get_buffer_type)(ggml_backend_dev_t);
    void * get_host_buffer_type;
    ggml_backend_buffer_t (*buffer_from_host_ptr)(ggml_backend_dev_t, void *, size_t size, size_t max_tensor_size);
    bool (*supports_op)(ggml_backend_dev_t, const struct ggml_tensor *);
    bool (*supports_buft)(ggml_backend_dev_t, ggml_backend_buffer_type_t);
    void * offload_op;
    void * event_new;
    void * event_free;
    void * event_synchronize;
};

struct ggml_backend_device {
    struct ggml_backend_device_i iface;
    ggml_backend_reg_t reg;
    void * context;
};

struct ggml_backend_reg_i {
    const char * (*get_name)(ggml_backend_reg_t);
    size_t (*get_device_count)(ggml_backend_reg_t);
    ggml_backend_dev_t (*get_device)(ggml_backend_reg_t, size_t index);
    void * (*get_proc_address)(ggml_backend_reg_t, const char * name);
};

struct ggml_backend_reg {
    int api_version;
    struct ggml_backend_reg_i iface;
    void * context;
};

}  // extern "C"
