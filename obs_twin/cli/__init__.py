"""The command line."""

import os

# As in the engine: on matrices as small as ours NumPy's own threads only wait for each other. Read when NumPy is
# imported. PyTorch, which trains voices, keeps all cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
