// The plugin that gives `attention` and `products` to ggml: an accelerator, as BLAS is one, which works in the CPU's memory
// and takes over the operations that it supports, and leaves all others to the CPU.

#include "attention.h"
#include "ggml_plugin.h"
#include "places.h"
#include "products.h"
#include "router.h"
#include "rows.h"
#include "taking.h"

#include <ggml-cpu.h>

#include <atomic>
#include <cstring>

thread_local Taking taking;

namespace {

void take(int products, int rounds) { taking = {bool(products), bool(rounds)}; }

// Whether a product was supported so far. Where none is, because of the weights or the processor, nothing is gained by
// computing what lies between products.
thread_local bool multiplies = false;

std::atomic<int> left_to_others{0};

// How many attention operations were not supported since this was asked last.
int refused() { return left_to_others.exchange(0); }

const char * name(ggml_backend_t) { return "swarmcode"; }

struct Context {
    int threads = GGML_DEFAULT_N_THREADS;
    attention::Sight sight;
    places::Angles angles;
};

Context & context(ggml_backend_t backend) { return *(Context *)backend->context; }

void set_threads(ggml_backend_t backend, int threads) { context(backend).threads = threads; }

void release(ggml_backend_t backend) {
    delete &context(backend);
    delete backend;
}

ggml_status compute(ggml_backend_t backend, ggml_cgraph * graph) {
    context(backend).angles.forget();
    for (int number = 0; number < ggml_graph_n_nodes(graph); number++) {
        const ggml_tensor * node = ggml_graph_node(graph, number);
        const int threads = context(backend).threads;
        if (ggml_is_empty(node)) continue;
        switch (node->op) {
            case GGML_OP_NONE:
            case GGML_OP_RESHAPE:
            case GGML_OP_VIEW:
            case GGML_OP_PERMUTE:
            case GGML_OP_TRANSPOSE:
                break;
            case GGML_OP_FLASH_ATTN_EXT:
                attention::attend(node, context(backend).sight, taking.rounds, threads);
                break;
            case GGML_OP_MUL_MAT:
            case GGML_OP_MUL_MAT_ID:
                if (products::supports(node)) products::multiply(node, threads);
                else router::compute(node, threads);
                break;
            case GGML_OP_ARGSORT:
                router::compute(node, threads);
                break;
            case GGML_OP_GET_ROWS:
            case GGML_OP_SET_ROWS:
            case GGML_OP_ROPE:
                places::compute(node, context(backend).angles, threads);
                break;
            default:
                rows::compute(node, threads);
        }
    }
    return GGML_STATUS_SUCCESS;
}

const char * device_name(ggml_backend_dev_t) { return "swarmcode"; }

const char * device_description(ggml_backend_dev_t) { return "attention and products of many sequences on a CPU"; }

void device_memory(ggml_backend_dev_t, size_t * free, size_t * total) { *free = *total = 0; }

enum ggml_backend_dev_type device_type(ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_ACCEL; }

void device_props(ggml_backend_dev_t device, ggml_backend_dev_props * props) {
    props->name = device_name(device);
    props->description = device_description(device);
    props->type = device_type(device);
    device_memory(device, &props->memory_free, &props->memory_total);
    props->caps = {};
    props->caps.buffer_from_host_ptr = true;
}

ggml_backend_t device_init(ggml_backend_dev_t device, const char *) {
    static ggml_guid guid = {'s', 'w', 'a', 'r', 'm', 'c', 'o', 'd', 'e', ' ', 'a', 't', 't', 'e', 'n', 'd'};
    ggml_backend_i iface = {};
    iface.get_name = name;
    iface.free = release;
    iface.graph_compute = compute;
    return new ggml_backend{&guid, iface, device, new Context};
}

ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t) { return ggml_backend_cpu_buffer_type(); }

ggml_backend_buffer_t device_buffer(ggml_backend_dev_t, void * from, size_t size, size_t) {
    return ggml_backend_cpu_buffer_from_ptr(from, size);
}

bool device_supports(ggml_backend_dev_t, const ggml_tensor * op) {
    if (ggml_is_empty(op)) return taking.products && multiplies;  // of a step that nobody wants logits of: nothing is computed
    switch (op->op) {
        case GGML_OP_NONE:
        case GGML_OP_RESHAPE:
        case GGML_OP_VIEW:
        case GGML_OP_PERMUTE:
        case GGML_OP_TRANSPOSE:
            return true;
        case GGML_OP_FLASH_ATTN_EXT:
            if (attention::supports(op)) return true;
            left_to_others++;
            return false;
        case GGML_OP_MUL_MAT:
        case GGML_OP_MUL_MAT_ID:
            if (!taking.products) return false;
            if (!products::supports(op)) return multiplies && router::supports(op);
            return multiplies = true;
        default:
            return taking.products && multiplies && (rows::supports(op) || places::supports(op) || router::supports(op));
    }
}

bool device_reads(ggml_backend_dev_t, ggml_backend_buffer_type_t type) { return ggml_backend_buft_is_host(type); }

const char * reg_name(ggml_backend_reg_t) { return "swarmcode"; }

size_t reg_devices(ggml_backend_reg_t) { return 1; }

ggml_backend_dev_t reg_device(ggml_backend_reg_t reg, size_t) {
    static ggml_backend_device device = [reg] {
        ggml_backend_device_i iface = {};
        iface.get_name = device_name;
        iface.get_description = device_description;
        iface.get_memory = device_memory;
        iface.get_type = device_type;
        iface.get_props = device_props;
        iface.init_backend = device_init;
        iface.get_buffer_type = device_buffer_type;
        iface.buffer_from_host_ptr = device_buffer;
        iface.supports_op = device_supports;
        iface.supports_buft = device_reads;
        return ggml_backend_device{iface, reg, nullptr};
    }();
    return &device;
}

void * reg_function(ggml_backend_reg_t, const char * name) {
    if (!std::strcmp(name, "ggml_backend_set_n_threads")) return (void *)set_threads;
    if (!std::strcmp(name, "swarmcode_refused")) return (void *)refused;
    return std::strcmp(name, "swarmcode_take") ? nullptr : (void *)take;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init() {
    static ggml_backend_reg reg = {GGML_PLUGIN_API_VERSION, {reg_name, reg_devices, reg_device, reg_function}, nullptr};
    return &reg;
}
