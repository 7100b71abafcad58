// Token embedding: row ids[i] of the table, scaled.
#include "src/model/pass_state.h"

lora_status lr_layer_embedding_forward(struct lr_pass *pass, lora_view y)
{
    const lr_module *module = lr_model_module(pass->model, -1, LR_SLOT_EMBED);
    return lr_ops(pass)->embed_forward(lr_device(pass), y, pass->binding->values[module->weight], pass->batch->ids,
                                       pass->model->stack.embedding_scale);
}

lora_status lr_layer_embedding_backward(struct lr_pass *pass, lora_view grad_y)
{
    const lr_module *module = lr_model_module(pass->model, -1, LR_SLOT_EMBED);
    const lora_view grad_table = pass->binding->gradients[module->weight];
    if (!lr_view_present(grad_table)) return LORA_OK;
    return lr_ops(pass)->embed_backward(lr_device(pass), grad_table, grad_y, pass->batch->ids,
                                        pass->model->stack.embedding_scale);
}
