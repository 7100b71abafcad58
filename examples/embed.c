// liblora in forty lines: load a base, train an adapter, ask it, merge it.       embed MODEL DATA.jsonl OUTPUT
#include <lora/lora.h>
#include <stdio.h>
#define CHECK(call) if ((call) != LORA_OK) return fprintf(stderr, "%s\n", lora_error_message()), 1

static int32_t show(const lora_piece *piece, void *user) {
    return user || fwrite(piece->text, 1, piece->text_length, stdout) != piece->text_length;
}

int main(int argc, char **argv) {
    lora_context *context; lora_model *model, *merged; lora_dataset *data; lora_adapter *adapter;
    lora_trainer *trainer; lora_session *session;
    const char *path = argc > 3 ? argv[2] : "", *question = "[{\"role\":\"user\",\"content\":\"Hello!\"}]";
    CHECK(lora_context_create(&context, NULL));
    CHECK(lora_model_load(context, argc > 3 ? argv[1] : "", NULL, &model));
    CHECK(lora_dataset_load(context, lora_model_tokenizer(model), &path, 1, NULL, &data));

    lora_adapter_options lora; lora_adapter_options_init(&lora); lora.lora_alpha = 32; // r = 8, q_proj and v_proj
    lora_trainer_options training; lora_trainer_options_init(&training); training.max_steps = 20;
    CHECK(lora_adapter_create(model, &lora, &adapter));
    CHECK(lora_trainer_create(adapter, data, &training, &trainer));
    lora_step_info step = {.struct_size = sizeof step};
    while (!step.done) {                                             // the host owns the loop
        CHECK(lora_trainer_step(trainer, &step));
        printf("step %d loss %.4f\n", (int)step.step, step.loss);
    }
    lora_trainer_free(trainer);
    CHECK(lora_adapter_save(adapter, argv[3], 1));                   // a PEFT directory

    char prompt[4096]; size_t length, count; int32_t ids[1024];
    lora_adapter_use use = {.adapter = adapter, .weight = 1};
    CHECK(lora_tokenizer_render_chat(lora_model_tokenizer(model), NULL, question, NULL, 1, prompt, sizeof prompt,
                                     &length));
    CHECK(lora_tokenizer_encode(lora_model_tokenizer(model), prompt, length, 0, ids, 1024, &count));
    CHECK(lora_session_create(model, NULL, &session));
    CHECK(lora_session_set_adapters(session, &use, 1));
    CHECK(lora_session_prompt(session, ids, count, NULL));
    CHECK(lora_session_generate(session, show, NULL));
    CHECK(lora_model_merge(model, &use, 1, LORA_TYPE_KEEP, NULL, &merged)); // W + B A alpha / r, a model of its own
    lora_session_free(session); lora_adapter_free(adapter); lora_dataset_free(data);
    return lora_model_free(merged), lora_model_free(model), lora_context_free(context), 0;
}
