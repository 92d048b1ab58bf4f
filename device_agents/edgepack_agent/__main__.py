"""Entry of the zipapp: `serve` for a host, `worker PARENT BYTES` for one of its own children."""

import sys
from pathlib import Path
from typing import List


def main(argv: List[str]) -> int:
    """Run the role that `argv` names; exit code 2 for any other."""
    archive = str(Path(__file__).resolve().parent.parent)
    sys.dont_write_bytecode = True  # no file outside the agent's home
    if argv[1:] == ["serve"]:
        from edgepack_agent import serve

        return serve.main(archive)
    if argv[1:2] == ["worker"] and len(argv) == 4:
        from edgepack_agent import worker

        return worker.main(int(argv[2]), int(argv[3]))
    sys.stderr.write("usage: python3 -I %s serve\n" % archive)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
