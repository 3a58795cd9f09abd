"""A file written by export is what llama.cpp computes. Skipped where PyTorch, gguf or llama-cpp-python are not
installed.
"""

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (training/requirements.txt)")
pytest.importorskip("gguf", reason="gguf is not installed (training/requirements.txt)")
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (training/requirements.txt)")

from repairmodel import tokenizer
from repairmodel.cases import Case
from repairmodel.evaluate import span_of
from repairmodel.export import compare, write
from repairmodel.llama import Llama
from repairmodel.model import RepairModel
from repairmodel.prompt import Codec
from repairmodel.proposer import Proposer
from repairmodel.shape import Shape
from repairmodel.spans import SpanV2, pointer_mask

SHAPE = Shape(vocabulary=1024, width=64, layers=3, q_rank=32, kv_rank=32, dense=64, experts=4, used=2, expert=32)
TEXTS = [
    f"def f{n}(a, b):\n    c = a + {n}\n    if c > b:\n        return a - b\n    return c * {n % 4}" for n in range(40)
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], RepairModel, Codec, Path]:
    """A random model in both types."""
    folder = tmp_path_factory.mktemp("export")
    random.seed(0)
    words = ["".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(900)]
    tokenizer.train([*TEXTS, *(w + " " + w for w in words)], 1024).save(str(folder / "tokenizer.json"))
    codec = Codec(folder / "tokenizer.json")
    torch.manual_seed(0)
    model = RepairModel(SHAPE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=parameter.shape[-1] ** -0.5) if parameter.ndim > 1 else parameter.add_(
                0.1 * torch.randn_like(parameter)
            )
        for layer in model.experts():
            layer.bias.normal_(std=0.05)
    paths = {kind: folder / f"{kind}.gguf" for kind in ("f32", "q8_0")}
    for kind, path in paths.items():
        write(path, model.state_dict(), SHAPE, codec, kind, "random")
    return paths, model, codec, folder / "tokenizer.json"


def test_f32_logits_agree_token_by_token(files: tuple[dict[str, Path], RepairModel, Codec, Path]) -> None:
    """The graph, the stored layouts and the tokenizer are those of PyTorch."""
    paths, model, codec, _ = files
    worst, same, divergence = compare(paths["f32"], model, codec, TEXTS, count=4)
    assert worst < 1e-3
    assert same == 1.0
    assert divergence < 1e-6


def test_quantized_file_stays_close(files: tuple[dict[str, Path], RepairModel, Codec, Path]) -> None:
    """Q8_0 may move probabilities a little (a random model is the worst case), not what the model says."""
    paths, model, codec, _ = files
    _, same, divergence = compare(paths["q8_0"], model, codec, TEXTS, count=4)
    assert same > 0.6
    assert divergence < 0.05


def test_proposals_are_distinct_best_first_and_obey_the_mask(
    files: tuple[dict[str, Path], RepairModel, Codec, Path],
) -> None:
    """Even a random model's answers are valid edits, each once, none of them the line as it was."""
    paths, _, _, path = files
    llama = Llama(paths["q8_0"], cells=4096, sequences=34, threads=1)
    span = span_of(llama, path)
    assert isinstance(span, SpanV2)
    case = Case(kind="x", lines=TEXTS[0].split("\n"), line=1, wanted="", source="")
    proposer = Proposer(llama, span, 16)
    answers = proposer.answers(case.lines, case.line)
    assert len(answers) > 3
    assert len({a.text for a in answers}) == len(answers)
    assert [a.score for a in answers] == sorted((a.score for a in answers), reverse=True)
    assert TEXTS[0] not in {a.text for a in answers}
    again = proposer.answers(case.lines, case.line)
    assert [a.text for a in again] == [a.text for a in answers]


def test_mask_lets_pointers_come_in_order() -> None:
    """First P0..Pn, then none before the first, then text."""
    vocabulary, pointer = 200, 200 - 64
    assert pointer_mask([], 3, vocabulary, 6).nonzero()[0].tolist() == [pointer, pointer + 1, pointer + 2, pointer + 3]
    assert pointer_mask([pointer + 2], 3, vocabulary, 6).nonzero()[0].tolist() == [pointer + 2, pointer + 3]
    after = pointer_mask([pointer, pointer], 3, vocabulary, 6)
    assert after[1]
    assert after[6]
    assert not after[pointer:].any()
    assert not after[2:6].any()
