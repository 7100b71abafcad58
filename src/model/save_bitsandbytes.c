// Quantized linear layers as bitsandbytes lays them out (load_bitsandbytes.c says how). Tensors of bytes come last
// among the parts, in whole multiples of eight, so that every tensor of floats in the file is aligned.
#include "save.h"

#include "lib/nested_scales.h"
#include "lib/tensor_file.h"

#include <stdio.h>
#include <string.h>

#define STATE_BYTES 256 // of the JSON text: it is filled up with spaces, since its numbers are known last

static const float nf4_values[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
    -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
    0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

typedef struct lr_sizes {
    int64_t scales, nested, state; // numbers of f32 scales, absmax of these, bytes of the state
} lr_sizes;

static lr_sizes sizes_of(const lr_saving *saving, size_t index)
{
    const lora_view *view = &saving->model->tensors[index].view;
    lr_sizes sizes = {.scales = lr_type_scales(saving->types[index], view->rows, view->cols), .state = STATE_BYTES};
    sizes.nested = (sizes.scales + LR_NESTED_BLOCK - 1) / LR_NESTED_BLOCK;
    if (saving->nested) sizes.state += (8 - sizes.scales % 8) % 8;
    return sizes;
}

// ---- describing -----------------------------------------------------------------------------------------------------

typedef struct lr_listing {
    const lora_allocator *allocator;
    const char *name; // of the weight
    lr_safetensors_tensor *parts;
    size_t *count;
    bool failed;
} lr_listing;

// The last `cut` characters of the weight's name give way to `suffix`. cols < 0: one dimension.
static void list(lr_listing *listing, size_t cut, const char *suffix, lora_type type, int64_t rows, int64_t cols)
{
    const int length = (int)(strlen(listing->name) - cut);
    lr_safetensors_tensor *part = listing->parts;
    if (listing->failed) return;
    *part = (lr_safetensors_tensor){.name = lr_format(listing->allocator, "%.*s%s", length, listing->name, suffix),
                                    .type = type, .dimensions = cols < 0 ? 1 : 2, .shape = {rows, cols}};
    listing->failed = part->name == NULL;
    ++*listing->count;
    ++listing->parts;
}

lora_status lr_bitsandbytes_describe(const lr_saving *saving, size_t tensor, lr_safetensors_tensor *parts,
                                     size_t *count)
{
    const lora_view *view = &saving->model->tensors[tensor].view;
    const lr_sizes sizes = sizes_of(saving, tensor);
    const size_t cut = strlen("weight");
    size_t listed = 0;
    lr_listing listing = {.allocator = &saving->model->context->allocator,
                          .name = saving->model->tensors[tensor].name, .parts = parts, .count = &listed};
    if (saving->types[tensor] == LORA_TYPE_INT8) {
        list(&listing, 0, "", LR_SAFETENSORS_I8, view->rows, view->cols);
        list(&listing, cut, "SCB", LORA_TYPE_F32, sizes.scales, -1);
    } else {
        list(&listing, 0, "", LR_SAFETENSORS_U8, view->rows * view->cols / 2, 1);
        if (!saving->nested) list(&listing, 0, ".absmax", LORA_TYPE_F32, sizes.scales, -1);
        list(&listing, 0, ".quant_map", LORA_TYPE_F32, 16, -1);
        if (saving->nested) {
            list(&listing, 0, ".nested_absmax", LORA_TYPE_F32, sizes.nested, -1);
            list(&listing, 0, ".nested_quant_map", LORA_TYPE_F32, 256, -1);
            list(&listing, 0, ".absmax", LR_SAFETENSORS_U8, sizes.scales, -1);
        }
        list(&listing, 0, ".quant_state.bitsandbytes__nf4", LR_SAFETENSORS_U8, sizes.state, -1);
    }
    *count += listed;
    return listing.failed ? LORA_ERROR_MEMORY : LORA_OK;
}

// ---- sending --------------------------------------------------------------------------------------------------------

typedef struct lr_delivery {
    lr_saving *saving;
    size_t index;
    lr_sink_fn send;
    void *sink;
    lr_sizes sizes;
    float *scales;
} lr_delivery;

static lora_status send_state(const lr_delivery *delivery, float offset)
{
    const lora_view *view = &delivery->saving->model->tensors[delivery->index].view;
    char text[STATE_BYTES + 8];
    memset(text, ' ', sizeof text);
    int length = snprintf(text, sizeof text, "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"%s\", "
                          "\"shape\": [%lld, %lld]", lr_save_dtype(delivery->saving->model), (long long)view->rows,
                          (long long)view->cols);
    if (delivery->saving->nested)
        length += snprintf(text + length, sizeof text - (size_t)length, ", \"nested_blocksize\": %d, "
                           "\"nested_dtype\": \"float32\", \"nested_offset\": %.17g", LR_NESTED_BLOCK, (double)offset);
    text[length] = '}';
    memset(text + length + 1, ' ', sizeof text - (size_t)length - 1);
    return delivery->send(delivery->sink, text, (size_t)delivery->sizes.state);
}

static lora_status send_floats(const lr_delivery *delivery, const float *values, int64_t count)
{
    return delivery->send(delivery->sink, values, (size_t)count * sizeof *values);
}

static lora_status send_nested(const lr_delivery *delivery)
{
    const lora_allocator *allocator = &delivery->saving->model->context->allocator;
    const lr_sizes *sizes = &delivery->sizes;
    float map[256], offset = 0, *absmax = lr_alloc_array(allocator, (size_t)sizes->nested, sizeof *absmax);
    uint8_t *codes = lr_alloc(allocator, (size_t)sizes->scales);
    lora_status status = absmax && codes ? LORA_OK : LORA_ERROR_MEMORY;
    lr_nested_map(map);
    if (status == LORA_OK)
        lr_nested_compress(codes, absmax, &offset, map, delivery->scales, (size_t)sizes->scales);
    if (status == LORA_OK) status = send_floats(delivery, nf4_values, 16);
    if (status == LORA_OK) status = send_floats(delivery, absmax, sizes->nested);
    if (status == LORA_OK) status = send_floats(delivery, map, 256);
    if (status == LORA_OK) status = delivery->send(delivery->sink, codes, (size_t)sizes->scales);
    if (status == LORA_OK) status = send_state(delivery, offset);
    lr_free(allocator, codes);
    lr_free(allocator, absmax);
    return status;
}

static lora_status send_parts(const lr_delivery *delivery)
{
    lr_saving *saving = delivery->saving;
    const lora_type type = saving->types[delivery->index];
    LR_TRY(lr_save_tensor(saving, &saving->model->tensors[delivery->index], type, 0, delivery->scales, delivery->send,
                          delivery->sink));
    if (type == LORA_TYPE_NF4 && saving->nested) return send_nested(delivery);
    LR_TRY(send_floats(delivery, delivery->scales, delivery->sizes.scales));
    if (type == LORA_TYPE_INT8) return LORA_OK;
    LR_TRY(send_floats(delivery, nf4_values, 16));
    return send_state(delivery, 0);
}

lora_status lr_bitsandbytes_send(lr_saving *saving, size_t tensor, lr_sink_fn send, void *sink)
{
    const lora_allocator *allocator = &saving->model->context->allocator;
    lr_delivery delivery = {saving, tensor, send, sink, sizes_of(saving, tensor), NULL};
    delivery.scales = lr_alloc_array(allocator, (size_t)delivery.sizes.scales, sizeof(float));
    if (!delivery.scales) return LORA_ERROR_MEMORY;
    lora_status status = send_parts(&delivery);
    lr_free(allocator, delivery.scales);
    return status;
}

// ---- config.json ----------------------------------------------------------------------------------------------------

// Linear layers that stay as they are, whose rows are no whole blocks, and the head, by their names.
static json_t *skipped_modules(const lr_saving *saving)
{
    const lora_model *model = saving->model;
    json_t *names = json_array();
    for (size_t i = 0; names && i < model->linear_count; i++) {
        const lr_module *module = &model->modules[model->linear[i]];
        if (!lr_save_has_scales(saving->types[module->weight])) json_array_append_new(names, json_string(module->name));
    }
    return names;
}

json_t *lr_bitsandbytes_config(const lr_saving *saving)
{
    const bool four = saving->wanted == LORA_TYPE_NF4;
    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:s, s:s, s:b, s:s, s:f, s:b, s:b, s:o}", "quant_method",
                     "bitsandbytes", "load_in_4bit", four, "load_in_8bit", !four, "_load_in_4bit", four,
                     "_load_in_8bit", !four, "bnb_4bit_quant_type", "nf4", "bnb_4bit_compute_dtype",
                     lr_save_dtype(saving->model), "bnb_4bit_use_double_quant", saving->nested,
                     "bnb_4bit_quant_storage", "uint8", "llm_int8_threshold", 6.0, "llm_int8_has_fp16_weight", 0,
                     "llm_int8_enable_fp32_cpu_offload", 0, "llm_int8_skip_modules", skipped_modules(saving));
}
