"""As much of torch as the introduction touches, so that its test needs no gigabytes. A Tensor is nested lists."""

import contextlib
import math


@contextlib.contextmanager
def no_grad():
    yield


class Tensor:
    def __init__(self, values):
        self.values = values

    def mean(self, dim):
        assert dim == 1
        return Tensor([[sum(column) / len(column) for column in zip(*batch)] for batch in self.values])

    def squeeze(self):
        return Tensor(self.values[0]) if len(self.values) == 1 else self

    def unsqueeze(self, _dim):
        return Tensor([self.values])

    def __getitem__(self, index):
        return Tensor(self.values[index])

    def tolist(self):
        return self.values

    def __float__(self):
        return float(self.values[0])

    def to(self, _device):
        return self


def tensor(values):
    return Tensor(values)


def cosine_similarity(a, b):
    a, b = a.values[0], b.values[0]
    dot = sum(x * y for x, y in zip(a, b))
    return Tensor([dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))])
