#!/usr/bin/env python3
"""Writes the folders beside this file: random cross-encoders of a few thousand weights, and what transformers computes with them.

usage: make.py [OUT_DIR]        needs torch, transformers >= 5 and tokenizers; seconds on a CPU, nothing is downloaded

NAME/config.json, model.safetensors     a ...ForSequenceClassification, float32
NAME/tokenizer.json                     bert: WordPiece, pairs with type ids; xlm_roberta: Unigram, pairs behind </s></s>
NAME/expected.json                      {"pairs": [{"query", "text", "ids", "type_ids", "logits": [...]}]}; ids alone where
                                        the folder has no tokenizer. The last pair of a tokenizer is cut to max_length.
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers as t
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

VOCABULARY = 96
MAX_LENGTH = 24
TEXTS = ["the cat sat on the mat", "where is the cat?", "a dog barked at the moon", "cats and dogs", "Paris is a city",
         "what is the capital of France?", "the capital is Paris", ""]
PAIRS = [(TEXTS[1], TEXTS[0]), (TEXTS[1], TEXTS[2]), (TEXTS[5], TEXTS[6]), (TEXTS[5], ""), ("", TEXTS[4]),
         (" ".join(TEXTS[:3]), " ".join(TEXTS) * 2)]
encoder = dict(vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=2,
               max_position_embeddings=64)
models_ = {
    "bert": (t.BertForSequenceClassification, t.BertConfig(**encoder, pad_token_id=0, num_labels=1)),
    "xlm_roberta": (t.XLMRobertaForSequenceClassification, t.XLMRobertaConfig(**encoder, type_vocab_size=1, pad_token_id=1, num_labels=1)),
    "distilbert": (t.DistilBertForSequenceClassification, t.DistilBertConfig(vocab_size=VOCABULARY, dim=16, hidden_dim=24, n_heads=2, n_layers=2, max_position_embeddings=64, num_labels=3)),
    "mpnet": (t.MPNetForSequenceClassification, t.MPNetConfig(**encoder, pad_token_id=1, num_labels=2)),
    "qwen3": (t.Qwen3ForSequenceClassification, t.Qwen3Config(vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1, head_dim=8, num_hidden_layers=2, max_position_embeddings=64, pad_token_id=0, num_labels=1)),
}


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(TEXTS, trainers.UnigramTrainer(vocab_size=VOCABULARY, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return tokenizer


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for number, (name, (kind, config)) in enumerate(models_.items()):
        config._attn_implementation = "eager"
        model = kind(config).eval()
        random = torch.Generator().manual_seed(number)
        for key, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=random)
            around = 1.0 if weight.dim() == 1 and "norm" in key.lower() and key.endswith("weight") else 0.0
            weight.data = around + (0.2 * noise if weight.dim() == 1 else 1.5 * noise / weight.shape[-1] ** 0.5)
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
        pairs = []
        tokenizer = {"bert": wordpiece, "xlm_roberta": unigram}.get(name, lambda: None)()
        if tokenizer:
            tokenizer.save(str(folder / "tokenizer.json"))
            (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": MAX_LENGTH}) + "\n")
            tokenizer.enable_truncation(MAX_LENGTH, strategy="longest_first")
            for query, text in PAIRS:
                encoded = tokenizer.encode(query, text)
                pairs.append({"query": query, "text": text, "ids": encoded.ids, "type_ids": encoded.type_ids})
        else:
            draw = torch.Generator().manual_seed(7)
            for length in (3, 9, 20):
                pairs.append({"ids": torch.randint(3, VOCABULARY, (length,), generator=draw).tolist()})
        for pair in pairs:
            given = {"input_ids": torch.tensor([pair["ids"]]), "attention_mask": torch.ones(1, len(pair["ids"]), dtype=torch.long)}
            if name == "bert":
                given["token_type_ids"] = torch.tensor([pair["type_ids"]])
            pair["logits"] = model(**given).logits[0].tolist()
        (folder / "expected.json").write_text(json.dumps({"pairs": pairs}) + "\n")
        print(name, [[round(x, 3) for x in pair["logits"]] for pair in pairs])


if __name__ == "__main__":
    main()
