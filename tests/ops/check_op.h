// The test bench for backends: every op of include/lora/backend.h against plain double-precision arithmetic written
// here, on tight, padded and misaligned views whose surroundings must not change, for each instruction set of the
// machine.
//
//   check_ops [--backend cpu|PATH] [--threads N] [--bench] [op...]
//
// One file per group of ops; each fills a line of the table in check_op.c.
#ifndef CHECK_OP_H
#define CHECK_OP_H

#include <lora/backend.h>
#include <stdbool.h>

#define EPSILON 1.1920929e-7 // of f32

typedef enum layout {
    TIGHT,   // stride == cols
    PADDED,  // stride > cols, and an offset that is a multiple of 4 only
    WRAPPED, // host memory at an odd address, never written
} layout;

typedef struct tensor {
    lora_view view;
    double *value; // [rows * cols] what is stored
    uint8_t *image; // the whole buffer as it was written
    uint8_t *host;  // WRAPPED: the memory itself
    uint64_t size;
    float *scales; // INT8, NF4: host memory
    int64_t scales_a_row;
    bool output;
    struct tensor *next;
} tensor;

typedef struct check {
    const lora_backend *backend;
    lora_device *device;
    const lora_backend_host *host; // what the device was opened with
    char label[256]; // of the case that runs
    tensor *tensors; // of the case that runs
    uint64_t random;
    int samples; // elements that check_gradient looks at, at most
    int cases, failures;
    bool failed; // the case that runs
} check;

typedef struct op_check {
    const char *name;
    void (*run)(check *c);
    void (*bench)(check *c);
} op_check;

extern const op_check check_device, check_move, check_linear, check_norm, check_rotary, check_attention, check_gate,
    check_loss, check_optimizer, check_merge;

/* ---- cases ---- */

void case_begin(check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Checks that nothing around the tensors, and no tensor that was not an output, has changed; frees them.
void case_end(check *c);
void fail_case(check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_ok(check *c, lora_status status);

/* ---- random numbers ---- */

double uniform(check *c); // in [0, 1)
double normal(check *c);
int64_t below(check *c, int64_t bound);
void *scratch(int64_t count, size_t size); // zeroed; ends the program when there is none

/* ---- tensors ---- */

tensor *tensor_zero(check *c, lora_type type, int64_t rows, int64_t cols, layout how);
tensor *tensor_random(check *c, lora_type type, int64_t rows, int64_t cols, layout how, double deviation);
// From these numbers, rounded; `values` are then what was stored.
tensor *tensor_of(check *c, lora_type type, int64_t rows, int64_t cols, layout how, double *values);
static inline lora_view absent(void) { return (lora_view){0}; }
static inline lora_view view_of(const tensor *t) { return t ? t->view : absent(); }
// `copy` is `of`, rounded to the copy's type.
void check_copy(check *c, tensor *copy, const tensor *of);
// What the buffer holds now; marks it as an output. Valid until the case ends.
const double *tensor_read(check *c, tensor *t);
// The bytes of one number of a plain type as it is now.
uint32_t tensor_bits(check *c, tensor *t, int64_t row, int64_t col);

/* ---- comparing ---- */

// |got - want| <= tolerance * size, element by element. size: what the terms of the sum add up to in absolute value.
void check_values(check *c, const char *name, const double *got, const double *want, const double *size, int64_t n,
                  double tolerance);
// Against central differences of `loss` in `input` (all elements, or a sample of many): |got - start - want| <=
// tolerance * (|want| + root mean square of all wanted + size). start: what the gradient held before, or NULL. size: of
// the terms that a gradient is the sum of, where they may cancel. What `loss` computes on its way is spoilt afterwards.
void check_gradient(check *c, const char *name, const double *got, const double *start, double *input, int64_t n,
                    double (*loss)(void *argument), void *argument, double size, double tolerance);

// The text of the last failure that the backend recorded.
const char *failure_text(void);

/* ---- timing ---- */

// Runs for about 0.3 s and prints the time of one call and `work` per second (in 1e9 `unit`).
void bench(check *c, const char *name, double work, const char *unit, void (*run)(check *c, void *argument),
           void *argument);

#endif
