"""`python -m training`: from files of documents and summaries to a model; see `training.program`.

python -m training --data.train train.csv --model led-tiny --output out/mine
python -m training prepare --config run.yaml
python -m training evaluate out/mine --data held_out.jsonl
"""

import sys

from training.program import main

if __name__ == "__main__":
    sys.exit(main())
