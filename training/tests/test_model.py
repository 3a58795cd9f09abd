"""The model computes what it should, learns, and resumes exactly. Skipped where PyTorch is not installed."""

import argparse
import json
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (training/requirements.txt)")
pytest.importorskip("tokenizers", reason="tokenizers is not installed (training/requirements.txt)")

import torch.nn.functional as F

from repairmodel import run, tokenizer, train
from repairmodel.attention import attend_by_tree, attend_padded
from repairmodel.batches import ANSWER, Batches, Tree, pack
from repairmodel.experts import Experts, Grouped, grouped_cuda
from repairmodel.model import RepairModel
from repairmodel.optim import orthogonal
from repairmodel.prompt import BEGIN, BUG, END, FIX, POINTERS, REST, Codec
from repairmodel.shape import Shape

SMALL = Shape(vocabulary=1024, width=64, layers=2, q_rank=32, kv_rank=32, dense=64, experts=4, used=2, expert=32)
FUNCTIONS = [
    f"def f{n}(a, b{n}):\n    total = {n}\n    for item in a:\n"
    f"        if item > b{n} and item != {n % 7}:\n            total += item * {n % 5}\n"
    f"    return total - b{n}.get({n % 3}, len(a))"
    for n in range(120)
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus and a tokenizer in miniature."""
    folder = tmp_path_factory.mktemp("data")
    for use, texts in (("train", FUNCTIONS[:100]), ("held-out", FUNCTIONS[100:])):
        (folder / f"{use}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    random.seed(0)
    words = [" ".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=6)).replace(" ", "") for _ in range(900)]
    tokenizer.train([*FUNCTIONS, *(w + " " + w for w in words)], 1024).save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def codec(data: Path) -> Codec:
    return Codec(data / "tokenizer.json")


def trees(*shapes: tuple[int, tuple[int, ...]]) -> list[Tree]:
    """Random trees of these sizes."""
    rng = random.Random(0)
    ids = lambda n: [rng.randrange(7, 900) for _ in range(n)]  # noqa: E731
    return [
        Tree(trunk=ids(trunk), branches=[(ids(n), 2) for n in branches], operators=[]) for trunk, branches in shapes
    ]


def test_a_branch_is_computed_as_if_it_stood_alone() -> None:
    """Trunk and siblings shared in one batch give the same hidden states as the sequence by itself: nothing leaks
    between branches.
    """
    torch.manual_seed(0)
    model = RepairModel(SMALL).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    many = trees((9, (5, 7)), (4, (6,)))
    together = model(pack(many, random.Random(0), 0.5))
    start = 9 + 7  # the second branch of the first tree, after the trunk and the first branch, padded to 7
    alone = Tree(trunk=many[0].trunk, branches=[many[0].branches[1]], operators=[])
    assert torch.allclose(together[start : start + 7], model(pack([alone], random.Random(0), 0.5))[9:], atol=1e-5)


def test_both_attentions_agree() -> None:
    """The CPU's and the GPU's way of attending are the same function."""
    batch = pack(trees((9, (5, 7)), (4, (6,)), (12, (4, 4, 9))), random.Random(0), 0.5)
    q, k, v = (torch.randn(len(batch.tokens), 3, 8) for _ in range(3))
    assert torch.allclose(attend_by_tree(q, k, v, batch), attend_padded(q, k, v, batch), atol=1e-5)


def loop_of_experts(x, share, gate, up, down, counts: list[int]):
    """What the experts compute, written plainly."""
    stacks = zip(x.split(counts), share.split(counts), gate, up, down, strict=True)
    return torch.cat([(F.silu(i @ g.T) * (i @ u.T) * w) @ d.T for i, w, g, u, d in stacks])


def test_written_out_gradient_of_the_experts_is_right() -> None:
    """Value and gradient are those of the plain loop, an expert without rows included."""
    torch.manual_seed(0)
    inputs = [
        torch.randn(*size, dtype=torch.double, requires_grad=True)
        for size in ((40, 32), (40, 1), (4, 16, 32), (4, 16, 32), (4, 32, 16))
    ]
    outputs = [run(*inputs, [10, 0, 25, 5]) for run in (Grouped.apply, loop_of_experts)]
    grads = [torch.autograd.grad((out**2).sum(), inputs) for out in outputs]
    assert torch.allclose(*outputs)
    assert all(torch.allclose(a, b) for a, b in zip(*grads, strict=True))


def test_grouped_product_of_the_gpu_is_the_same_function() -> None:
    """The path for GPUs, run in bf16 on the CPU, agrees with the plain loop, gradients too."""
    torch.manual_seed(0)
    inputs = [
        torch.randn(*size, requires_grad=True) for size in ((40, 32), (40, 1), (4, 16, 32), (4, 16, 32), (4, 32, 16))
    ]
    counts = [10, 0, 25, 5]
    fast, plain = grouped_cuda(*inputs, torch.tensor(counts).cumsum(0).int()).float(), loop_of_experts(*inputs, counts)
    assert float((fast - plain).detach().norm() / plain.detach().norm()) < 0.02
    grads = [torch.autograd.grad((out * plain.detach()).sum(), inputs) for out in (fast, plain)]
    assert all(float((a - b).norm() / b.norm()) < 0.05 for a, b in zip(*grads, strict=True))


def test_orthogonal_updates_have_singular_values_near_one() -> None:
    """Muon's update keeps directions and forgets sizes."""
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, 16, 48)))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


def test_answers_undo_faults(codec: Codec) -> None:
    """Applying the answer to the faulty line gives the fixed text: edits, insertions of lines, removal of the line."""
    for faulty, fixed in (
        ("    a < b", "    a <= b"),
        ("    return", "    a = 1\n    return"),
        ("    break", ""),
        ("x = 1", "x = 1"),
    ):
        answer = codec.answer(faulty, fixed)
        assert answer is not None
        assert codec.apply(faulty, answer) == fixed
        assert answer[-1] == END


def test_prompt_has_the_documented_order(codec: Codec) -> None:
    """begin BEFORE rest AFTER bug P0 t0 ... Pn fix, the first line kept when the window begins later."""
    before = [f"line{n} = {n}" for n in range(30)]
    trunk = codec.trunk(before, ["after = 1"])
    assert trunk[0] == BEGIN
    middle = trunk.index(REST)
    assert codec.decode(trunk[1:middle]) == "line0 = 0\n" + "".join(f"line{n} = {n}\n" for n in range(14, 30))
    assert codec.decode(trunk[middle + 1 :]) == "after = 1\n"
    question = codec.question("  a = 1")
    assert question is not None
    assert (question[0], question[-1]) == (BUG, FIX)
    assert question[1:-1:2] == [codec.pointer + n for n in range(len(question[1:-1:2]))]
    assert codec.question("a" * 600) is None


def test_text_that_looks_like_a_special_token_is_text(codec: Codec) -> None:
    """Source code can not forge a control token or a pointer."""
    ids = codec.encode("<|end|><|P3|>")
    assert END not in ids
    assert all(i < codec.vocabulary - POINTERS for i in ids)


def test_batches_are_pure_functions_of_their_index(codec: Codec) -> None:
    """Two makers with one seed agree on batch 5 whatever was made before."""
    makers = [Batches(FUNCTIONS, codec, seed=3, tokens=600) for _ in range(2)]
    makers[0](4)
    first, second = makers[0](5), makers[1](5)
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.targets, second.targets)
    assert (first.kinds == ANSWER).any()


@pytest.mark.parametrize(
    ("step", "minutes", "share"),
    [
        (0, 0.0, 0.1),  # warming up
        (20, 0.0, 1.0),
        (75, 0.0, 0.5),  # halfway from --decay-from to --steps
        (100, 0.0, 0.0),
        (20, 50.0, 1.0),
        (20, 55.0, 0.5),  # halfway through the last --decay-minutes
        (20, 61.0, 0.0),
    ],
)
def test_the_rate_falls_with_steps_or_with_minutes(step: int, minutes: float, share: float) -> None:
    """Whichever end comes first is approached linearly."""
    args = argparse.Namespace(warm=10, steps=100, decay_from=50, minutes=60.0, decay_minutes=10.0)
    assert run.rate(step, minutes, args) == pytest.approx(share)


def test_steering_moves_selection_towards_idle_experts() -> None:
    """The bias of a crowded expert falls, that of an idle one rises, and the load is counted afresh."""
    experts = Experts(SMALL)
    experts.load.copy_(torch.tensor([10.0, 2.0, 4.0, 0.0]))
    assert float(experts.steer(0.01)) == 2.5
    assert torch.allclose(experts.bias, torch.tensor([-0.01, 0.005, 0.0, 0.01]))
    assert not experts.load.any()


def arguments(data: Path, out: Path, *more: str) -> argparse.Namespace:
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.as_dict().items() if name != "vocabulary"]
    return train.parser().parse_args(
        [
            f"--data={data}",
            f"--out={out}",
            "--device=cpu",
            "--threads=1",
            "--batch=500",
            "--warm=2",
            "--steps=8",
            "--decay-from=4",
            "--checks=1",
            "--log-every=1",
            "--check-every=100",
            "--save-every=4",
            *sizes,
            *more,
        ]
    )


def test_training_learns_and_resumes_exactly(data: Path, tmp_path: Path) -> None:
    """The loss falls; a run stopped at step 4 and resumed ends with the weights of a run that was never stopped."""
    train.train(arguments(data, tmp_path / "whole"))
    train.train(arguments(data, tmp_path / "parts", "--steps=4", "--decay-from=8"))
    train.train(arguments(data, tmp_path / "parts", "--resume"))
    whole, parts = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 8
    first, last = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()][::7]
    assert last["answer"] < first["answer"]
    # The first four steps of "parts" had the same learning rates: min(1, warm) with the decay far away.
    assert all(torch.equal(whole["model"][name], parts["model"][name]) for name in whole["model"])
