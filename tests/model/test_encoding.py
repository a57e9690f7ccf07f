"""Encoding: head and tail of what is too long, and the same tokens when only the ends are tokenised."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from model.brands import Brands
from model.encoding import Encoder
from model.errors import BundleError
from model.normalise import Word, join, normalise

NO_BRANDS = Brands({}, "")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def wordpiece() -> Tokenizer:
    """An uncased WordPiece tokenizer that knows letters, as BERT's knows words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[TARGET]", "[OTHER]", "[URL]"]
    vocabulary = [*special, *LETTERS, *(f"##{letter}" for letter in LETTERS), *"!?.,-'&"]
    tokenizer = Tokenizer(models.WordPiece({token: index for index, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(special)
    return tokenizer


TOKENIZER = wordpiece()


def test_what_fits_is_encoded_whole() -> None:
    encoder = Encoder(TOKENIZER, 8)
    words = normalise("@me a b! c", None, NO_BRANDS).words
    ids, truncated = encoder.encode(words)
    assert [TOKENIZER.id_to_token(number) for number in ids] == ["[CLS]", "[TARGET]", "a", "b", "!", "c", "[SEP]"]
    assert not truncated


def test_of_what_does_not_fit_head_and_tail_are_kept() -> None:
    words = normalise("a b c d e f g h", None, NO_BRANDS).words
    ids, truncated = Encoder(TOKENIZER, 7).encode(words)
    assert [TOKENIZER.id_to_token(number) for number in ids] == ["[CLS]", "a", "b", "c", "g", "h", "[SEP]"]
    assert truncated


def test_exactly_the_longest_is_not_truncated() -> None:
    words = normalise("a b c d e", None, NO_BRANDS).words
    assert Encoder(TOKENIZER, 7).encode(words) == ([2, 7, 8, 9, 10, 11, 3], False)
    assert Encoder(TOKENIZER, 6).encode(words)[1]


WORD_LISTS = st.lists(
    st.builds(
        Word,
        st.sampled_from(
            ["a", "b", "cat", "don't", "é", "\u0301", "\u20e3", "!", ".", "[TARGET]", "party popper", "你好"]
        ),
        st.just(0),
        st.just(1),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(WORD_LISTS, st.integers(2, 9))
@example([Word("\u0301", 0, 1)] * 9 + [Word(letter, 0, 1) for letter in "abcdefgh"] + [Word("\u0301", 0, 1)] * 9, 4)
@example([Word("a", 0, 1, True), Word("\u0301", 0, 1, True)] * 30, 4)
def test_tokenising_only_the_ends_gives_the_same_ids(words: list[Word], max_tokens: int) -> None:
    whole = TOKENIZER.encode(join(words)).ids
    tail = max_tokens // 2
    expected = whole if len(whole) <= max_tokens else whole[: max_tokens - tail] + whole[-tail:]
    assert Encoder(TOKENIZER, max_tokens).encode(words) == (expected, len(whole) > max_tokens)


@settings(max_examples=300, deadline=None)
@given(WORD_LISTS, st.integers(2, 9), st.integers(0, 5), st.integers(0, 99))
def test_ends_with_something_to_spare_are_enough_where_some_words_are_left_out(
    words: list[Word], max_tokens: int, length: int, place: int
) -> None:
    encoder = Encoder(TOKENIZER, max_tokens)
    ends = list(encoder.outermost(words, spare=length))
    start = place % (len(words) + 1)
    if start > len(ends) // 2:  # counted from the end, so that the same words are left out of both
        start -= len(words)
    less, ends_less = words[:], ends[:]
    for some in (less, ends_less):
        first = start if start >= 0 else max(0, len(some) + start)
        del some[first : first + length]
    if abs(start) <= len(ends) // 2:
        assert encoder.encode(ends_less) == encoder.encode(less)


def test_truncation_and_padding_saved_in_a_tokenizer_are_switched_off(tmp_path: Path) -> None:
    tokenizer = wordpiece()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = Encoder.load(tmp_path / "tokenizer.json", 12)
    assert encoder.encode([Word(letter, 0, 1) for letter in "abcdef"]) == ([2, 7, 8, 9, 10, 11, 12, 3], False)


@pytest.mark.parametrize("content", ["", "{}", "not json"])
def test_a_file_that_is_no_tokenizer_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(BundleError, match="is not a tokenizer") as caught:
        Encoder.load(path, 12)
    assert "\n" not in str(caught.value)
