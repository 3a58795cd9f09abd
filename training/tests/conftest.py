"""The package under test lies beside this folder and is not installed; what needs PyTorch or llama.cpp skips itself."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
