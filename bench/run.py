"""Run the benchmarks, print every figure beside its floor, its goal and its last value, and keep the result."""

import argparse
import sys
from pathlib import Path

import uvloop

from bench import cold, footprint, hook, namespaces, objects, rules, storm, warm, write_docs
from bench.figures import Result, load, save, table, this_machine

RESULT = Path(__file__).with_name("result.json")
CASES = {
    "warm": warm,
    "hook": hook,
    "cold": cold,
    "storm": storm,
    "objects": objects,
    "rules": rules,
    "footprint": footprint,
    "namespaces": namespaces,
}


async def measure(names: list[str], *, quick: bool) -> Result:
    machine = this_machine()
    figures = []
    for name in names:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        figures += await CASES[name].measure(quick=quick)
    return Result(machine, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"only these of: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="take a few samples only, to try a benchmark out")
    parser.add_argument("--result", type=Path, default=RESULT, help="the file to compare with and to replace")
    parser.add_argument("--write-docs", action="store_true", help="only write docs/performance.md from the file")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    earlier = load(options.result) if options.result.exists() else None
    if options.write_docs:
        if earlier is None:
            parser.error(f"{options.result} does not exist")
        write_docs.write(earlier)
        return
    result = uvloop.run(measure(options.cases or list(CASES), quick=options.quick))
    print("\n".join(table(result, earlier)))
    # A part of the figures, or figures of a few samples, must not take the place of a whole result.
    if not options.cases and not options.quick:
        save(result, options.result)
        print(f"\nwritten: {options.result}; docs/performance.md: make bench-docs")


if __name__ == "__main__":
    main()
