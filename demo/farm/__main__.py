"""`python -m demo.farm --port 8900`: a render farm to try remote jobs with, in a process of its own."""

import argparse
import logging
import sys

from demo.farm.server import Farm


def main() -> int:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m demo.farm", description=__doc__)
    parser.add_argument("--port", type=int, default=8900, help="on the loopback; 0 for any that is free")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        farm = Farm(arguments.port)
    except OSError as error:
        sys.stderr.write(f"The farm cannot listen on port {arguments.port}: {error.strerror}\n")
        return 1
    with farm:
        logging.getLogger(__name__).info("The farm listens at %s", farm.url)
        try:
            farm.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
