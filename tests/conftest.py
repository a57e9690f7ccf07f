"""A tiny encoder and the bundle that the real training makes of it, so that no test needs the network."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from data.files import read_labelled
from model.policy import Policy
from model.scorer import Scorer
from model.triage import Triage

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """What a shell starts in the background ignores SIGINT, and so would the processes that tests interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a BERT of random weights: 2 layers, 32 wide, its vocabulary from the sample."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-base")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    texts = [mention.text for mention in read_labelled(SAMPLE / "train.csv")]
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=2000, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle, trained for real on the sample from the tiny encoder; its float32 twin lies at ``-fp32``."""
    from training.job import TrainJob
    from training.recipe import load_recipe
    from training.train import train

    out = tmp_path_factory.mktemp("tiny") / "bundle"
    train(
        TrainJob(
            train=(SAMPLE / "train.csv",),
            dev=SAMPLE / "heldout.csv",
            brands=SAMPLE / "brands.toml",
            out=out,
            recipe=load_recipe(None, base=str(tiny_base), epochs=8, learning_rate=5e-3, precision="float32"),
            keep_fp32=True,
        )
    )
    return out


@pytest.fixture(scope="session")
def tiny_triage(tiny_bundle: Path) -> Triage:
    """The tiny bundle with the default policy."""
    return Triage(Scorer.load(tiny_bundle), Policy.load(None))
