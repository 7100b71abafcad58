/** @file session.h
 *  One running inference: a KV cache, a sampler and a choice of adapters. Any number of sessions share a model, each
 *  from its own thread.
 */
#ifndef LORA_SESSION_H
#define LORA_SESSION_H

#include "adapter.h"

LORA_BEGIN_DECLS

struct lora_memory_plan;
typedef struct lora_session lora_session;

typedef struct lora_session_options {
    size_t struct_size;
    int64_t context_length; /**< tokens the cache holds; 0 (default): the model's, at most 4096 */
    int32_t prefill_batch;  /**< tokens of a prompt run at once; default 256 */
    lora_type cache_type;   /**< keys and values are kept as F32 (default), or rounded in half the memory to F16, for
                                 numbers up to 65504, or to BF16; a fork keeps them as the session that it began as */
} lora_session_options;
LORA_API void lora_session_options_init(lora_session_options *options, size_t struct_size);
#define lora_session_options_init(options) lora_session_options_init(options, sizeof *(options))

LORA_API lora_status lora_session_create(const lora_model *model, const lora_session_options *options,
                                         lora_session **out);
LORA_API void lora_session_free(lora_session *session);
/** What lora_session_create would take, filled in like lora_plan_training's plan (trainer.h). Nothing is allocated.
 *  Errors: ARGUMENT. */
LORA_API lora_status lora_plan_session(const lora_model *model, const lora_session_options *options,
                                       struct lora_memory_plan *plan);
/** A session that begins with the first `length` tokens of another and uses the same adapters
 *  (lora_session_set_adapters on it changes only its own, and has the tokens run again). What was computed for these
 *  tokens is there at once and exists once in memory, but for at most 63 tokens, which are copied; both sessions write
 *  behind it, and may themselves be forked, cut back and freed in any order, each used from its own thread. No answer
 *  is under way in the new session: begin one with lora_session_prompt, without tokens too. `session` is only read:
 *  several threads may fork it while none uses it otherwise. options NULL: prefill_batch is the session's;
 *  context_length 0: as well. Errors: ARGUMENT, MEMORY. */
LORA_API lora_status lora_session_fork(const lora_session *session, int64_t length, const lora_session_options *options,
                                       lora_session **out);

/** The adapters in use from the next call on, in place of those before; count 0: the base alone. A change empties the
 *  cache (keys and values of other weights) but keeps the token history, which is run again at the next call. Nothing
 *  is loaded or copied. Errors: MISMATCH (made for another model), ARGUMENT. */
LORA_API lora_status lora_session_set_adapters(lora_session *session, const lora_adapter_use *uses, size_t count);

/** Keeps the first `length` tokens and forgets the rest: a host that changes the end of a conversation runs only what
 *  is new. Errors: ARGUMENT. */
LORA_API lora_status lora_session_truncate(lora_session *session, int64_t length);
/** Forgets all tokens. */
LORA_API void lora_session_reset(lora_session *session);
/** Number of tokens so far. */
LORA_API int64_t lora_session_length(const lora_session *session);

typedef struct lora_generate_options {
    size_t struct_size;
    int32_t max_new_tokens;   /**< default 256 */
    float temperature;        /**< default 0.8; 0: greedy */
    int32_t top_k;            /**< default 40; 0: off */
    float top_p;              /**< default 0.95; 1: off */
    float min_p;              /**< default 0: off; keeps tokens of at least min_p times the best one's probability */
    float repetition_penalty; /**< default 1: off; as in transformers, over the prompt and the answer */
    uint64_t seed;            /**< default 0 */
    const char *const *stop;  /**< texts that end the answer and are not part of it */
    size_t stop_count;
    const int32_t *end_tokens;/**< beside the model's and the template's own */
    size_t end_token_count;
    int32_t ignore_end;       /**< 1: end tokens do not stop */
    int32_t lookahead;        /**< default 0: off; else at most so many tokens (up to 64, of which a run takes 15) are
                                   proposed from what followed the same tokens before, and checked in one run with the
                                   next: faster where text repeats itself (summaries, code). The answer is the one
                                   without, to the bit of every log-probability. In a lora_batch nothing is proposed */
} lora_generate_options;
LORA_API void lora_generate_options_init(lora_generate_options *options, size_t struct_size);
#define lora_generate_options_init(options) lora_generate_options_init(options, sizeof *(options))

#define LORA_FINISH_NONE 0    /**< still going */
#define LORA_FINISH_END 1     /**< an end token */
#define LORA_FINISH_STOP 2    /**< a stop text */
#define LORA_FINISH_LENGTH 3  /**< max_new_tokens */

/** One generated token; set struct_size first. */
typedef struct lora_piece {
    size_t struct_size;
    int32_t id;
    int32_t finish;     /**< LORA_FINISH_; when not NONE this is the last piece, and `id` is -1 unless a token came with
                             it */
    const char *text;   /**< what can be shown now: whole UTF-8 characters, nothing that may turn out to be a stop text.
                             May be empty. Lent until the next call */
    size_t text_length;
    float log_probability; /**< of the token under the model, before temperature */
    int32_t reserved;
} lora_piece;

/** Appends tokens to the context (a prompt, or a user's next turn) and starts an answer. Sampling settings hold until
 *  the next prompt. Where the base is bf16 or quantized, and the processor has products for it, the activations of 16
 *  tokens and more are rounded as in other libraries: to bf16, or to 8 bits before integer weights; attention takes
 *  them as bf16. The answer's own never are. Errors: OVERFLOW (says how many tokens there are and fit), ARGUMENT (an id
 *  outside the vocabulary), CANCELLED. */
LORA_API lora_status lora_session_prompt(lora_session *session, const int32_t *ids, size_t count,
                                         const lora_generate_options *options);
/** The same, but nothing is run yet: lora_batch_run does it, part by part, or else the next lora_session_next. */
LORA_API lora_status lora_session_prompt_later(lora_session *session, const int32_t *ids, size_t count,
                                               const lora_generate_options *options);
/** The next piece of the answer (pull). Every token, the end token too, joins the context. Errors: STATE (no prompt, or
 *  it has finished), OVERFLOW, CANCELLED. */
LORA_API lora_status lora_session_next(lora_session *session, lora_piece *piece);

/** Return other than 0 to stop. */
typedef int32_t (*lora_piece_fn)(const lora_piece *piece, void *user);
/** Pieces of the answer until it finishes (callback). Errors: as lora_session_next; CANCELLED when the callback stopped
 *  it. */
LORA_API lora_status lora_session_generate(lora_session *session, lora_piece_fn callback, void *user);
/** Makes the call that runs, or the next lora_session_next, return CANCELLED at the next layer; lora_session_prompt
 *  starts anew. From any thread. */
LORA_API void lora_session_cancel(lora_session *session);

/** Log-probabilities of the token that comes next, after the last prompt or piece: `count` must be the vocabulary
 *  size. Errors: ARGUMENT, STATE (no token yet). */
LORA_API lora_status lora_session_log_probabilities(lora_session *session, float *values, size_t count);

/* ---- many sessions at once --------------------------------------------------------------------------------------- */

/** Runs sessions of one model together, each with its own adapters, settings and length: the weights are read once for
 *  all of them, so that sixteen answers take little longer than one. The host owns the loop:
 *
 *      lora_session_prompt_later(session, ...) for each session, whenever it comes
 *      lora_batch_run(batch, sessions, count, statuses, left)
 *      for each session with status LORA_OK and left 0: lora_session_next(session, &piece), which now
 *        only chooses a token
 *
 *  Sessions may come and go between two runs. A batch and the sessions in it are used from one thread at a time. */
typedef struct lora_batch lora_batch;

typedef struct lora_batch_options {
    size_t struct_size;
    int32_t max_sessions;  /**< at once; default 16 */
    int32_t prompt_tokens; /**< tokens of prompts that one run reads at most, so that a long prompt does not hold up the
                                answers of the others; default 128 */
} lora_batch_options;
LORA_API void lora_batch_options_init(lora_batch_options *options, size_t struct_size);
#define lora_batch_options_init(options) lora_batch_options_init(options, sizeof *(options))

/** Errors: ARGUMENT, MEMORY. */
LORA_API lora_status lora_batch_create(const lora_model *model, const lora_batch_options *options, lora_batch **out);
LORA_API void lora_batch_free(lora_batch *batch);

/** Runs what the next pieces of `count` different sessions wait for: the last token of each, and as much of the prompts
 *  as prompt_tokens allows, shared evenly. statuses[i]: LORA_OK, CANCELLED (lora_session_cancel was called before),
 *  STATE (no answer is under way), or what kept it from running (MEMORY, BACKEND); one that fails does not touch the
 *  others. left[i]: tokens of its prompt that still have to be run; 0: its next piece is ready. Log-probabilities are
 *  those of the session alone, but for the last bits, since sums of many rows may be added up in another order, or
 *  activations keep 16 bits before a bf16 base, and for the rounding of prompts (lora_session_prompt), which there is
 *  none of in a run that answers too. Sessions whose adapters replace different whole tensors (modules_to_save, biases)
 *  run one after another. Nothing is allocated once
 *  adapters of the largest rank have been seen. Errors, with nothing run: ARGUMENT (too many, NULL, one given twice),
 *  MISMATCH (a session of another model). */
LORA_API lora_status lora_batch_run(lora_batch *batch, lora_session *const *sessions, size_t count,
                                    lora_status *statuses, int64_t *left);

/** Set struct_size first. */
typedef struct lora_session_info {
    size_t struct_size;
    int64_t length;            /**< tokens in the context */
    int64_t context_length;
    int64_t prompt_tokens;     /**< of the last prompt */
    int64_t generated_tokens;  /**< since then */
    double prefill_seconds;    /**< of the last prompt */
    double decode_seconds;     /**< since then */
    uint64_t kv_cache_bytes;
    uint64_t kv_shared_bytes;  /**< of these, what sessions forked from one another hold together now */
} lora_session_info;
LORA_API lora_status lora_session_get_info(const lora_session *session, lora_session_info *info);

LORA_END_DECLS
#endif
