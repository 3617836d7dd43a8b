"""Shape checks on the whole package, and one torch thread a worker."""

from jaxtyping import install_import_hook

install_import_hook("seem", "beartype.beartype")

import torch  # noqa: E402 - the hook must stand before the package is first imported

torch.set_num_threads(1)
