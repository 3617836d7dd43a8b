"""The surroundings of a reading: random generators restored, modes of the caller left outside, dtypes held."""

import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


@contextmanager
def untouched() -> Iterator[None]:
    """Gradients on, autocast and inference mode off; all random generators restored, whatever happens."""
    with ExitStack() as stack:
        stack.callback(torch.random.set_rng_state, torch.random.get_rng_state())
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002 - somebody else's generator
        stack.callback(random.setstate, random.getstate())
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            stack.callback(torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # what a forward warns of, it has warned of in training
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if "torch._dynamo" in sys.modules:  # only then can something be compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


class Promoted(TorchFunctionMode):
    """A forward computes in one dtype throughout, where it casts its rows or makes tensors in a narrower one.

    Args:
        dtype: The dtype.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def _widened(self, value: Any) -> Any:
        narrow = isinstance(value, torch.dtype) and value.is_floating_point and value.itemsize < self.dtype.itemsize
        return self.dtype if narrow else value

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call with every narrower dtype replaced, and widen the result."""
        kwargs = {key: self._widened(value) for key, value in (kwargs or {}).items()}
        args = tuple(self._widened(value) for value in args)
        if func in (Tensor.float, Tensor.half, Tensor.bfloat16):
            return args[0].to(self.dtype)
        made = func(*args, **kwargs)
        if isinstance(made, Tensor) and made.is_floating_point() and self._widened(made.dtype) != made.dtype:
            return made.to(self.dtype)
        return made
