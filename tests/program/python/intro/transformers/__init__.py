"""As much of transformers as the introduction touches: a model of 384 numbers a word, read from the folder's config.json."""

import json
import os
import types

from torch import Tensor


def _load(path):
    with open(os.path.join(path, "config.json")) as file:
        return types.SimpleNamespace(**json.load(file))


class _Inputs(dict):
    def to(self, _device):
        return self


class AutoTokenizer:
    @classmethod
    def from_pretrained(cls, path):
        _load(path)
        return cls()

    def __call__(self, text, return_tensors):
        assert return_tensors == "pt"
        return _Inputs(input_ids=[[sum(word.encode()) for word in text.split() or [""]]])


class AutoModel:
    @classmethod
    def from_pretrained(cls, path, device_map):
        assert device_map == "auto"
        made = cls()
        made.config, made.device = _load(path), "cpu"
        return made

    def __call__(self, input_ids, output_hidden_states):
        assert output_hidden_states
        size = self.config.hidden_size
        states = [[[((word * 31 + i * 17) % 101 - 50) / 50 for i in range(size)] for word in row] for row in input_ids]
        return types.SimpleNamespace(hidden_states=[Tensor(states)])
