// The products of low-rank pairs against sums in double: every instruction set, ranks 1 to 64, odd sizes.
#include "cpu/lowrank.h"

#include "product_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

// Each function computes out[i, j] (+)= scale * sum_p left(i, p) right(p, j) of two of these matrices.
typedef struct lowrank_case {
    const char *name;
    int64_t rows, cols, inner;
    const stored_matrix *left, *right;
    bool left_transposed, right_transposed, accumulate;
    double scale;
} lowrank_case;

static void check_case(const lowrank_case *c, const result_matrix *out, const char *set)
{
    char what[120];
    snprintf(what, sizeof what, "%s, %s, %lld x %lld x %lld", set, c->name, (long long)c->rows, (long long)c->cols,
             (long long)c->inner);
    for (int64_t i = 0; i < c->rows; i++) {
        for (int64_t j = 0; j < c->cols; j++) {
            double before = c->accumulate ? out->before[i * c->cols + j] : 0, sum = 0, squares = 0, partial = 0;
            for (int64_t p = 0; p < c->inner; p++) {
                const stored_matrix *l = c->left, *r = c->right;
                double product = c->scale * l->values[c->left_transposed ? p * l->cols + i : i * l->cols + p] *
                                 r->values[c->right_transposed ? j * r->cols + p : p * r->cols + j];
                sum += product;
                squares += product * product;
                partial += sum * sum;
            }
            check_sum((double)out->data[i * out->stride + j], before + sum, before, squares, partial, c->inner,
                      what);
        }
    }
    result_check_guards(out);
}

static lr_matrix stored(const stored_matrix *matrix)
{
    return (lr_matrix){matrix->data, matrix->stride};
}

static lr_matrix result(const result_matrix *matrix)
{
    return (lr_matrix){matrix->data, matrix->stride};
}

// tall [m, n] are activations, thin [m, r] hidden values, down [r, n] is A, up [n, r] is B.
static void run_sizes(lora_device *device, const char *set, int64_t m, int64_t n, int64_t r)
{
    const float scale = 0.37f;
    stored_matrix tall = matrix_random(LORA_TYPE_F32, m, n, draw(3));
    stored_matrix thin = matrix_random(LORA_TYPE_F32, m, r, draw(3));
    stored_matrix down = matrix_random(LORA_TYPE_F32, r, n, draw(3));
    stored_matrix up = matrix_random(LORA_TYPE_F32, n, r, draw(3));
    const lowrank_case cases[] = {
        {"hidden", m, r, n, &tall, &down, false, true, false, 1},
        {"output", m, n, r, &thin, &up, false, true, true, (double)scale},
        {"grad_hidden", m, r, n, &tall, &up, false, false, false, (double)scale},
        {"grad_input", m, n, r, &thin, &down, false, false, true, 1},
        {"grad_a", r, n, m, &thin, &tall, true, false, true, 1},
        {"grad_b", n, r, m, &tall, &thin, true, false, true, (double)scale},
    };
    for (int i = 0; i < 6; i++) {
        result_matrix out = result_random(cases[i].rows, cases[i].cols);
        switch (i) {
        case 0: lr_lowrank_hidden(device, m, n, r, stored(&tall), stored(&down), result(&out)); break;
        case 1: lr_lowrank_output(device, m, n, r, scale, stored(&thin), stored(&up), result(&out)); break;
        case 2: lr_lowrank_grad_hidden(device, m, n, r, scale, stored(&tall), stored(&up), result(&out)); break;
        case 3: lr_lowrank_grad_input(device, m, n, r, stored(&thin), stored(&down), result(&out)); break;
        case 4: lr_lowrank_grad_a(device, m, n, r, stored(&thin), stored(&tall), result(&out)); break;
        default: lr_lowrank_grad_b(device, m, n, r, scale, stored(&tall), stored(&thin), result(&out)); break;
        }
        check_case(&cases[i], &out, set);
        result_free(&out);
    }
    matrix_free(&tall);
    matrix_free(&thin);
    matrix_free(&down);
    matrix_free(&up);
}

static void pairs_of_every_rank(void **unused)
{
    static const int64_t sizes[][2] = {{1, 1}, {1, 200}, {7, 33}, {40, 64}, {65, 100}, {130, 37}};
    static const int64_t ranks[] = {1, 2, 3, 4, 5, 8, 13, 16, 32, 64};
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            for (size_t r = 0; r < sizeof ranks / sizeof *ranks; r++) {
                lora_device device;
                device_open(&device, 2, set->features, sizes[s][0], sizes[s][1], ranks[r]);
                run_sizes(&device, set->name, sizes[s][0], sizes[s][1], ranks[r]);
                device_close(&device);
            }
        }
    }
}

// B^T of more rows than are turned at a time.
static void many_outputs(void **unused)
{
    for (const instruction_set *set = instruction_sets(); set->name; set++) {
        lora_device device;
        device_open(&device, 2, set->features, 3, 9000, 64);
        run_sizes(&device, set->name, 3, 9000, 64);
        device_close(&device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pairs_of_every_rank), cmocka_unit_test(many_outputs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
