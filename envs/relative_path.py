"""Name the package's sources relative to the environment, in the file by which Python finds an editable install.

Python reads that file in the locale's encoding, before anything can set another: with an absolute path in it, an
environment in a folder with other letters than ASCII ends in a UnicodeDecodeError under `LC_ALL=C`. Relative, the
folder may also be moved.
"""

import os
import sysconfig
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "src"
SITE = Path(sysconfig.get_paths()["purelib"])

for file in SITE.glob("__editable__.arbitrage-*.pth"):
    file.write_bytes(os.fsencode(os.path.relpath(SOURCES, SITE.resolve())) + b"\n")
