"""`python -m training`: from files of documents and summaries to a model; see `training.program`.

python -m training --data.train train.csv --model led-tiny --output out/mine
python -m training prepare --config run.yaml
python -m training evaluate out/mine --data held_out.jsonl
"""

import os
import sys

from training.program import STOPPED, main
from training.run.backend import hand_over_programs

if __name__ == "__main__":
    status = main()
    if status in STOPPED:
        # Everything is on the disk. To take down a program that is half traced took 18 seconds, which a machine that
        # is about to vanish may not give.
        hand_over_programs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
