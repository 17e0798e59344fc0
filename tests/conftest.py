"""What every test runs under: no network, one thread, examples that CI can repeat."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# Before anything imports torch or huggingface_hub; subprocesses inherit it.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Statistics of the tiny models are shared by the tests of a run, and nobody's own cache is touched.
os.environ["TERSOR_CACHE"] = tempfile.mkdtemp(prefix="tersor-tests-")

from hypothesis import settings

atexit.register(shutil.rmtree, os.environ["TERSOR_CACHE"], ignore_errors=True)

# No deadline: the machine is shared. Derandomized under CI, so that a failure there is the change's own.
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
