"""`python -m accelerators`: programs compiled for TPUs and GPUs that are not there.

python -m accelerators check
python -m accelerators report --target v5e --only "led base encode"
"""

import argparse
import json
import sys
from pathlib import Path

from accelerators import targets
from accelerators.jobs import Job, is_chosen

_ERROR = 2


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parser().parse_args(arguments)
    targets.set_environment()
    try:
        return options.program(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return _ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m accelerators", allow_abbrev=False)
    programs = parser.add_subparsers(required=True)
    check = programs.add_parser("check", help="compile tiny models for TPUs, and refuse what must not be in them")
    check.set_defaults(program=_check)
    report = programs.add_parser("report", help="what compilers say about models of the size base")
    report.add_argument("--target", action="append", choices=tuple(targets.TARGETS), help="default: all TPUs")
    report.add_argument("--output", type=Path, default=Path("out/accelerators.json"), help="JSON, row by row")
    report.add_argument("--minutes", type=float, default=20, help="the most for one row (default: 20)")
    report.set_defaults(program=_report)
    row = programs.add_parser("row", help="one row of a report, as JSON")
    row.add_argument("target", choices=tuple(targets.TARGETS))
    row.add_argument("job", type=json.loads, help="the fields of a job, as JSON")
    row.set_defaults(program=_row)
    for each in (check, report):
        each.add_argument("--only", action="append", default=[], metavar="TEXT", help="programs whose names hold it")
    return parser


def _check(options: argparse.Namespace) -> int:
    from accelerators.check import cases, run

    chosen = [case for case in cases() if is_chosen(case.job, options.only)]
    if not chosen:
        raise ValueError(f"--only must be part of a program's name. Received: {options.only}")
    return run(chosen)


def _report(options: argparse.Namespace) -> int:
    from accelerators.report import jobs, run

    names = options.target or [name for name, target in targets.TARGETS.items() if target.kind == "tpu"]
    chosen = [(name, job) for name in names for job in jobs() if is_chosen(job, options.only)]
    if not chosen:
        raise ValueError(f"--only must be part of a program's name. Received: {options.only}")
    return run(chosen, options.output, options.minutes)


def _row(options: argparse.Namespace) -> int:
    from accelerators.report import make_row

    print(json.dumps(make_row(options.target, Job(**options.job))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
