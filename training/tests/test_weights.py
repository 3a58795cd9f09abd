"""A file that was exported can be trained further: the same ids, the same logits."""

import json
import random
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (training/requirements.txt)")
gguf = pytest.importorskip("gguf", reason="gguf is not installed (training/requirements.txt)")
pytest.importorskip("tokenizers", reason="tokenizers is not installed (training/requirements.txt)")
pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (training/requirements.txt)")

from repairmodel.run import Run
from repairmodel.shape import Shape

SHAPE = Shape(vocabulary=1024, width=64, layers=3, q_rank=32, kv_rank=32, dense=64, experts=4, used=2, expert=32)
TEXTS = [
    f"def f{n}(a, b):\n    c = a + {n}\n    if c > b:\n        return a - b\n    return c * {n % 4}" for n in range(40)
]

from repairmodel import tokenizer, train
from repairmodel.batches import Batches
from repairmodel.export import write
from repairmodel.model import RepairModel
from repairmodel.prompt import Codec
from repairmodel.weights import average, read


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RepairModel, Codec]:
    """A random model and its folder: tokenizer.json, f32.gguf, q8_0.gguf."""
    folder = tmp_path_factory.mktemp("weights")
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(900)]
    tokenizer.train([*TEXTS, *(f"{word} {word}" for word in words)], SHAPE.vocabulary).save(f"{folder}/tokenizer.json")
    codec = Codec(folder / "tokenizer.json")
    torch.manual_seed(0)
    model = RepairModel(SHAPE).eval()
    for value in model.state_dict().values():
        value.add_(0.2 * torch.randn_like(value))
    for kind in ("f32", "q8_0"):
        write(folder / f"{kind}.gguf", model.state_dict(), SHAPE, codec, kind, "random")
    return folder, model, codec


def logits(model: RepairModel, codec: Codec) -> torch.Tensor:
    batch = Batches(TEXTS, codec, seed=2, tokens=400)(0)
    with torch.no_grad():
        return model.logits(model(batch))


def test_f32_weights_come_back_bit_for_bit(exported: tuple[Path, RepairModel, Codec]) -> None:
    """Export, read: the same sizes and the same tensors, hence equal logits."""
    folder, model, codec = exported
    shape, state = read(folder / "f32.gguf")
    again = RepairModel(shape).eval()
    again.load_state_dict(state)
    assert shape.as_dict() == pytest.approx(SHAPE.as_dict())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert torch.allclose(logits(again, codec), logits(model, codec), atol=1e-5)


def test_quantized_weights_come_back_as_the_file_has_them(exported: tuple[Path, RepairModel, Codec]) -> None:
    """Q8_0 is off by its rounding, half of a 127th of a block's largest value, and no more."""
    folder, model, _ = exported
    _, state = read(folder / "q8_0.gguf")
    for name, value in model.state_dict().items():
        assert float((state[name] - value).abs().max()) <= 0.6 / 127 * float(value.abs().max())


def test_the_tokenizer_of_a_file_gives_the_same_ids(exported: tuple[Path, RepairModel, Codec], tmp_path: Path) -> None:
    """Whatever the text, specials and pointers included."""
    folder, _, codec = exported
    tokenizer.from_file(folder / "f32.gguf").save(str(tmp_path / "tokenizer.json"))
    again = Codec(tmp_path / "tokenizer.json")
    assert again.vocabulary == codec.vocabulary
    for text in [*TEXTS, "<|end|> <|P3|>", "\tnaïve = 'é'\n", "x" * 70]:
        assert again.encode(text) == codec.encode(text)
        assert again.decode(again.encode(text)) == codec.decode(codec.encode(text))
    names = [codec.tokenizer.id_to_token(i) for i in range(codec.vocabulary)]
    assert [again.tokenizer.id_to_token(i) for i in range(codec.vocabulary)] == names


def test_training_goes_on_from_a_file(exported: tuple[Path, RepairModel, Codec], tmp_path: Path) -> None:
    """`--from` starts with the sizes and weights of the file; a tokenizer of another size is refused."""
    folder, model, _ = exported
    for use in ("train", "held-out"):
        (folder / f"{use}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    flags = [f"--from={folder / 'f32.gguf'}", f"--out={tmp_path}", "--device=cpu", "--batch=300", "--checks=1"]
    started = Run(train.parser().parse_args([f"--data={folder}", *flags]))
    state = started.model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    tokenizer.train(TEXTS, 400).save(str(tmp_path / "tokenizer.json"))
    for use in ("train", "held-out"):
        shutil.copy(folder / f"{use}.jsonl", tmp_path)
    with pytest.raises(ValueError, match="the tokenizer has 400 ids, the weights 1024"):
        Run(train.parser().parse_args([f"--data={tmp_path}", *flags]))


def test_another_model_is_refused(tmp_path: Path) -> None:
    """The message says what the file would have to be."""
    writer = gguf.GGUFWriter(str(tmp_path / "other.gguf"), "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ValueError, match="protocol version 2"):
        read(tmp_path / "other.gguf")


def test_averaging_is_the_mean() -> None:
    """Of each tensor by itself."""
    mean = average([{"a": torch.tensor([1.0, 3.0])}, {"a": torch.tensor([3.0, 5.0])}])
    assert mean["a"].tolist() == [2.0, 4.0]
