"""Trains the example base model's tokenizer (byte-level BPE) on a corpus of make_corpus.py and writes tokenizer.json
and tokenizer_config.json. Needs the `tokenizers` package."""
import argparse
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# Words with one leading space, single digits, runs of other signs, line breaks.
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = ("{% for message in messages %}"
                 "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
                 "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus")
    parser.add_argument("--size", type=int, default=6144)
    parser.add_argument("--output", default="config")
    options = parser.parse_args()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=options.size, special_tokens=SPECIAL, min_frequency=3,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
                                  max_token_length=12)

    def texts():
        with open(options.corpus, encoding="utf-8") as file:
            for line in file:
                text = json.loads(line)["text"]
                for special in SPECIAL:
                    text = text.replace(special, "\n")
                yield text

    tokenizer.train_from_iterator(texts(), trainer)
    output = pathlib.Path(options.output)
    tokenizer.save(str(output / "tokenizer.json"))
    added = {str(i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                      "special": True}
             for i, t in enumerate(SPECIAL)}
    settings = {"added_tokens_decoder": added, "bos_token": None, "eos_token": "<|im_end|>",
                "pad_token": "<|endoftext|>",
                "unk_token": None, "model_max_length": 512, "tokenizer_class": "PreTrainedTokenizerFast",
                "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE}
    (output / "tokenizer_config.json").write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n",
                                                  encoding="utf-8")
    print("vocabulary", tokenizer.get_vocab_size())


if __name__ == "__main__":
    main()
