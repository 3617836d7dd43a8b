"""One torch thread per worker: the comparisons with ``seem`` are small."""

import torch

torch.set_num_threads(1)
