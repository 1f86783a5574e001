"""The benchmark: `tox run -e bench`, or a part of it with `-- --only calls,legacy`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "servers")]

if __name__ == "__main__":
    from command import main

    sys.exit(main())
