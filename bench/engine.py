"""One model, a hundred agents: our engine beside others that run the same GGUF, in one command.

    python bench/engine.py [--model PATH] [--rows head-1k,decode] [--rounds 3] [--quick] [--example]

Peers: `llama-server` and `llama-batched-bench`, built from the llama.cpp that llama-cpp-python vendors and linked
against its libraries (the first run fetches and builds them; `--llama-server` and `--batched-bench` take others),
`Llama.create_completion`, and with `--example` the batching example server of llama-cpp-python's source distribution
(what it imports: `pip install -e .[bench]`).

What makes it fair: the same file, threads, and token ids; fresh processes, with the model loaded before the time
begins; as many tokens generated as were asked for, past the model's end tokens; likeliest tokens, except where a rate
is compared; peers with the best of several settings; sides in turn, medians over the rounds. Servers are asked over
loopback and stream their answers; ours is called in its process, as a swarm does, and streams too. CPU seconds stand
beside wall time, because they tell more where the machine is busy with other things.

Nothing leaves the machine but the download, and every process ends with the command.
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from engines import processes, table, text
from engines.build import Wanted, programs
from engines.contest import Result, contest
from engines.rows import SHAPES, Row, rows
from engines.shapes import work

from swarmcode.engine import machine, models
from swarmcode.errors import SurroundingsError, SwarmcodeError


def say(line: str) -> None:
    """Progress."""
    print(f"  {line}", file=sys.stderr, flush=True)


def measure(options: argparse.Namespace) -> list[Result]:
    """Runs the rows that were asked for, and prints each as it comes."""
    model = models.resolve(options.model)
    threads = options.threads or machine.cpus()
    wanted = Wanted(
        server=options.llama_server,
        batched_bench=options.batched_bench,
        folder=options.build,
        example=options.example,
        jobs=options.jobs,
    )
    found = programs(wanted, say)
    every = rows(model.path, threads, found, quick=options.quick, layout=options.layout)
    chosen = [row for row in every if row.key in options.rows]
    most = max(row.shape.text for row in chosen)
    corpus = processes.aside(text.tokens, model.path, most)
    if len(corpus) < most:
        raise SurroundingsError(f"the standard library has only {len(corpus):,} tokens", "leave out some rows")
    print(f"{model.path.name}, {model.size / 2**20:.0f} MiB; {threads} threads of {platform.machine()}; ", end="")
    print(f"{options.rounds} rounds{'; QUICK: small shapes, a look and no measurement' if options.quick else ''}")
    print(f"{found.origin}\n")
    for row in chosen:
        print(f"{row.title:<24}{table.work(row.shape)}")
    print(f"\n{table.HEAD}")
    results = []
    for row in chosen:
        results.append(one(row, corpus, options))
        print(table.line(results[-1]), flush=True)
    print(f"\n{table.DETAIL}")
    for result in results:
        print("\n".join(table.details(result)))
    return results


def one(row: Row, corpus: Sequence[int], options: argparse.Namespace) -> Result:
    return contest(row, work(row.shape, corpus), options.rounds, options.limit, say)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="repair", help="path of a GGUF, or a name (default: the embedded one)")
    parser.add_argument("--rows", type=_rows, default=tuple(SHAPES), help=f"some of {','.join(SHAPES)}")
    parser.add_argument("--rounds", type=_positive, default=3)
    parser.add_argument("--quick", action="store_true", help="small shapes, for a look")
    parser.add_argument("--threads", type=_positive, default=0, help="for every engine (default: as many as there are)")
    parser.add_argument("--layout", choices=("streams", "flash", "unified"), default="", help="of our KV cache")
    parser.add_argument("--limit", type=_positive, default=1800, help="seconds after which a peer is stopped")
    parser.add_argument("--example", action="store_true", help="also llama-cpp-python's example server")
    parser.add_argument("--llama-server", type=Path, metavar="PATH")
    parser.add_argument("--batched-bench", type=Path, metavar="PATH")
    parser.add_argument("--build", type=Path, metavar="DIR", help="where the peers are built, or were")
    parser.add_argument("--jobs", type=_positive, default=1, help="compilers at once")
    return parser.parse_args(argv)


def _positive(value: str) -> int:
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return number


def _rows(value: str) -> tuple[str, ...]:
    keys = tuple(filter(None, value.split(",")))
    unknown = sorted(set(keys) - set(SHAPES))
    if unknown or not keys:
        raise argparse.ArgumentTypeError(f"no row {', '.join(unknown)!r}; there are {', '.join(SHAPES)}")
    return keys


def main() -> int:
    processes.end_on_signals()
    # Our engine's setting for threads that wait: without it peers would suffer from whatever else the machine does.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        measure(arguments())
    except SwarmcodeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
