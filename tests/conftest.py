"""What every test of this suite needs before TensorFlow is imported."""

from __future__ import annotations

import os

# oneDNN, on by default, shifts numbers and crashes on some ordinary float graphs (TensorFlow 2.21, CPU).
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
