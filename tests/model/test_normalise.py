"""The normaliser: what is masked, what is left, and what holds for any text whatever."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.schema import brand_key
from model.brands import Brand, Brands
from model.normalise import MASKS, OTHER, TARGET, URL, NormalisedText, Word, join, normalise

BRANDS = Brands.load()
NO_BRANDS = Brands({}, "")

PIECES = [
    *("@", "#", "&", ";", "'", "’", ".", "-", "_", "[", "]", "<", ">", "|", "/", ":", "!", "!!!!!", "....", " ", "  "),
    *("\n", "\t", "\x00", "\x1f", "\x7f", "\x85", "\u00ad", "\u200b", "\u200d", "\u2028", "\u202e", "\ufe0f", "\ufeff"),
    *("&amp;", "amp;", "&lt;", "&#39;", "&#38;", "&#x26;", "#38;", "&#8203;", "&#769;", "&semi", "&nosuch;", "&#0;"),
    *("&nbsp;", "&frac12;", "&#55296;", "&ampamp;"),
    *("\u0301", "\u0327", "\u0338", "\u20e3", "\u3099", "é", "e", "ﷺ", "½", "ß", "İ", "ŉ", "\u0345", "ᄀ", "ᅡ", "你好"),
    *("😡", "🍎", "👍🏽", "👨‍👩‍👧", "🇬🇧", "1️⃣", "❤️", "🏻", "™", "…", "＠", "＃", "［TARGET］"),
    *("Apple", "apple", "APPLE's", "Appple", "@AppleSupport", "#boycottApple", "apple pie", "iPhone", "App", "le"),
    *("AT&T", "at t", "Wells", "Fargo", "wells-----fargo", "Sprint", "sprint", "McDonald's", "united states", "S"),
    *("[TARGET]", "[OTHER]", "[URL]", "[SEP]", "[CLS]", "[PAD]", "</s>", "<s>", "<|endoftext|>", "__company__"),
    *("__other__", "http://", "https://t.co/x", "htttp://x.y", "www.", "a@b.co", "x", "aaa", "oh", "1", "@116450"),
    *("\ud83d", "\udd25"),
]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
TEXTS = st.one_of(
    ANY_TEXT,
    st.lists(st.one_of(st.sampled_from(PIECES), ANY_TEXT.map(lambda text: text[:3])), max_size=14).map("".join),
)
GIVEN_BRANDS = st.one_of(
    st.none(),
    st.sampled_from(["Apple", "@Apple", "AT&T", "Ask_WellsFargo", "McDonald's", "__company__", "@116450", "Norvane"]),
    st.sampled_from(["S", "x", "!!!", "_", "@", "()", "\u200b", "\ud83d", "face", "AppleSupport", "Sprint", "Name(N)"]),
    ANY_TEXT,
)


def read(text: str, brand: str | None = None) -> str:
    return normalise(text, brand, BRANDS).text


# What holds for any text


@settings(max_examples=400, deadline=None)
@given(TEXTS, GIVEN_BRANDS)
@example("&am&#769;p;", None)
@example("&" + "amp;" * 40 + "lt;", None)
@example("&#82" * 30 + "&#8203;" + "03;" * 30, "Apple")
@example("e" + "\u0301\u0316" * 60, None)
@example("Sprint is bad", "Norvane")
@example("#www.apple.com #http://x #___.apple", "Apple")
@example("@🏻apple ww🏻w.apple.com", "Apple")
@example("S's's's", "S")
@example("my Delll", None)
@example("t#__.co/x y#___,z @#__ apple", "Apple")
@example("#http://x", None)
@example("#t.co/x", None)
def test_normalising_twice_is_normalising_once(text: str, brand: str | None) -> None:
    once = normalise(text, brand, BRANDS)
    assert normalise(once.text, brand, BRANDS).text == once.text
    assert normalise(once.text, once.target, BRANDS).text == once.text


@settings(max_examples=400, deadline=None)
@given(TEXTS, GIVEN_BRANDS)
def test_words_are_never_missing_and_stand_in_order_in_the_source(text: str, brand: str | None) -> None:
    normalised = normalise(text, brand, BRANDS)
    assert normalised.text.strip()
    assert join(normalised.words) == normalised.text
    assert all(0 <= word.start <= word.end <= len(text) for word in normalised.words)
    starts = [word.start for word in normalised.words]
    assert starts == sorted(starts)
    ends = [word.end for word in normalised.words]
    assert ends == sorted(ends)


@settings(max_examples=400, deadline=None)
@given(TEXTS, GIVEN_BRANDS)
def test_no_text_spells_a_special_token(text: str, brand: str | None) -> None:
    bare = read(text, brand)
    for mask in MASKS:
        bare = bare.replace(mask, "")
    for token in ("[SEP]", "[CLS]", "[PAD]", "[UNK]", "[MASK]", "[TARGET]", "[OTHER]", "[URL]", "<s>", "</s>", "<|"):
        assert token not in bare


@settings(max_examples=400, deadline=None)
@given(TEXTS, GIVEN_BRANDS)
def test_what_is_read_is_legible(text: str, brand: str | None) -> None:
    result = read(text, brand)
    assert result.isprintable()
    assert "  " not in result
    result.encode()


@settings(deadline=None)
@given(TEXTS, st.sampled_from(["Apple", "Norvane", "AT&T", "Ask_WellsFargo", "@116450"]))
def test_a_given_target_is_always_in_the_text_and_comes_back_as_given(text: str, brand: str) -> None:
    normalised = normalise(text, brand, BRANDS)
    assert TARGET in [word.text for word in normalised.words]
    assert normalised.target == brand


WORDS = st.text("bcdghjkqvxz", min_size=2, max_size=7).filter(lambda word: not re.search(r"(.)\1\1", word))
NAMES = st.lists(st.text("aeimnoprstuw", min_size=3, max_size=8), min_size=1, max_size=3).map(" ".join)
SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.upper,
    str.title,
    lambda name: f"@{name.replace(' ', '')}",
    lambda name: f"@{name.replace(' ', '_')}",
    lambda name: f"@{name.replace(' ', '')}Support",
    lambda name: f"@Ask{name.title().replace(' ', '')}",
    lambda name: f"#{name.replace(' ', '_')}",
    lambda name: f"#{name.title().replace(' ', '')}",
    lambda name: f"#{name.title().replace(' ', '')}Fail",
    lambda name: f"#Boycott{name.title().replace(' ', '')}",
    lambda name: f"{name}'s",
    lambda name: f"{name.upper()}’S",
    lambda name: name.replace(" ", "-"),
    lambda name: name.replace(" ", "&amp;"),
    lambda name: name.replace(" ", ""),
    lambda name: f"({name})",
    lambda name: f"“{name}”,",
    "\u200b".join,
    lambda name: "".join(chr(ord(letter) + 0xFEE0) if letter != " " else letter for letter in name),
]


@settings(deadline=None)
@given(st.lists(WORDS, max_size=4), NAMES, st.sampled_from(SPELLINGS), st.lists(WORDS, max_size=4))
def test_a_target_is_masked_wherever_and_however_it_stands(
    before: list[str], name: str, spelling: Callable[[str], str], after: list[str]
) -> None:
    normalised = normalise(" ".join([*before, spelling(name), *after]), name, NO_BRANDS)
    masks = [word for word in normalised.words if word.text == TARGET]
    assert len(masks) == 1
    assert masks[0].end > masks[0].start
    assert brand_key(name) not in brand_key(normalised.text.replace(TARGET, " "))


@settings(deadline=None)
@given(st.lists(WORDS, max_size=8))
def test_plain_words_are_read_as_they_stand(words: list[str]) -> None:
    text = "  ".join(words)
    normalised = normalise(text, None, NO_BRANDS)
    assert [word.text for word in normalised.words] == (words or ["..."])
    assert all(text[word.start : word.end] == word.text for word in normalised.words if words)


# What is masked


@pytest.mark.parametrize(
    ("brand", "text", "expected"),
    [
        ("Apple", "my apple is broken", "my [TARGET] is broken"),
        ("Apple", "my APPLE's screen", "my [TARGET] 's screen"),
        ("Apple", "my AAPL shares and iPhones", "my [TARGET] shares and iPhones"),
        ("Apple", "love my iPhone and my app store", "love my [TARGET] and my [TARGET]"),
        ("Apple", "@applesupport help", "[TARGET] help"),
        ("Apple", "@AppleMusic help", "[TARGET] help"),
        ("Apple", "@fan of #AppleWatch #AppleFan", "[OTHER] of [TARGET] Fan"),
        ("Apple", "#boycottapple now", "boycott [TARGET] now"),
        ("Apple", "#BoycottApple!", "Boycott [TARGET] !"),
        ("Apple", "apple.com/store", "[TARGET] .com/store"),
        ("@Apple", "apple", "[TARGET]"),
        ("AppleSupport", "apple and @Apple", "[TARGET] and [TARGET]"),
        ("AT&T", "at&t, AT&amp;T and @ATT", "[TARGET] , [TARGET] and [TARGET]"),
        ("AT&T", "look at t shirts", "[TARGET] look at t shirts"),
        ("Marks & Spencer", "marks & spencer, Marks and Spencer, M&S", "[TARGET] , [TARGET] , [TARGET]"),
        ("Ask_WellsFargo", "wells fargo, wells-fargo WELLSFARGO", "[TARGET] , [TARGET]"),
        ("american", "@AmericanAir > American Airlines", "[TARGET] > [TARGET]"),
        ("Apple iPhone X", "the iphone X and apple", "the [TARGET] X and [TARGET]"),
        ("PlayStation5(PS5)", "my PS5 or PlayStation5", "my [TARGET] or [TARGET]"),
        ("Toys'R'Us", "toys'r'us, Toys R Us", "[TARGET] , [TARGET]"),
        ("Nestlé", "NESTLE and nestlé's", "[TARGET] and [TARGET] 's"),
        ("X", "leaving X, #X is dead, xylophone", "leaving [TARGET] , [TARGET] is dead, xylophone"),
        ("Yahoo!", "yahoo! is down", "[TARGET] ! is down"),
        ("116450", "@116450 thanks", "[TARGET] thanks"),
        ("@116450", "@116450 thanks", "[TARGET] thanks"),
    ],
)
def test_the_target_is_masked(brand: str, text: str, expected: str) -> None:
    assert read(text, brand) == expected


@pytest.mark.parametrize(
    ("brand", "text", "expected"),
    [
        ("McDonald's", "McDonald's fries", "[TARGET] fries"),
        ("McDonald's", "mcdonalds, McDonald’s and @McDonalds", "[TARGET] , [TARGET] and [TARGET]"),
        (None, "a McDonald's and a Domino's Pizza", "a [OTHER] and a [OTHER]"),
        ("Trader Joe's", "trader joe's, TRADER JOE’S, Trader Joes", "[TARGET] , [TARGET] , [TARGET]"),
        ("Kohl's Cash", "my Kohl's Cash", "my [TARGET]"),
        ("Kohl", "Kohl's", "[TARGET] 's"),
    ],
)
def test_a_possessive_that_is_the_names_own_goes_with_the_name(brand: str | None, text: str, expected: str) -> None:
    assert read(text, brand) == expected


@pytest.mark.parametrize("brand", ["!!!", "()", "@", "&", "_", "☕", "\u200b", "\ud83d", "\u0301", ".", "[TARGET]x"])
def test_a_brand_without_letters_goes_in_front(brand: str) -> None:
    assert read("so bad", brand) == "[TARGET] so bad"
    assert BRANDS.target(brand).key


@pytest.mark.parametrize("brand", ["", "  ", "\n"])
def test_a_blank_brand_is_none(brand: str) -> None:
    assert normalise("so bad", brand, BRANDS) == NormalisedText((Word("so", 0, 2), Word("bad", 3, 6)), None)


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("so bad", None, "so bad"),
        ("hey @someone", "someone", "hey [TARGET]"),
        ("hey @someone and @Verizon", "Verizon", "hey [OTHER] and [TARGET]"),
        ("hey @Sprint and @Verizon", "Sprint", "hey [TARGET] and [OTHER]"),
        ("@116450 thanks", "116450", "[TARGET] thanks"),
        ("my Apple, Verizon", None, "my [OTHER] , [OTHER]"),
        ("hey @app\u200ble", "apple", "hey [TARGET]"),
        ("hey ＠apple", "apple", "hey [TARGET]"),
        ("mail me@apple.com", None, "mail [URL]"),
    ],
)
def test_without_a_brand_the_first_listed_handle_is_the_target_or_else_the_first(
    text: str, target: str | None, expected: str
) -> None:
    normalised = normalise(text, None, BRANDS)
    assert (normalised.target, normalised.text) == (target, expected)


def test_whose_it_is_depends_on_the_target() -> None:
    text = "Leaving @ATT for @VerizonSupport"
    assert read(text, "AT&T") == "Leaving [TARGET] for [OTHER]"
    assert read(text, "Verizon") == "Leaving [OTHER] for [TARGET]"
    assert read(text, "Norvane") == "[TARGET] Leaving [OTHER] for [OTHER]"


@pytest.mark.parametrize(
    ("brand", "text", "expected"),
    [
        ("Apple", "an apple pie from Apple", "an apple pie from [TARGET]"),
        ("Apple", "Big Apple and apple  juice", "[TARGET] Big Apple and apple juice"),
        ("Target", "target has the best target audience", "[TARGET] has the best target audience"),
        (
            "Costco",
            "Target was cheaper at Costco, but Target lost it",
            "Target was cheaper at [TARGET] , but [OTHER] lost it",
        ),
        ("Costco", "my target for Costco", "my target for [TARGET]"),
        ("Costco", "I eat an apple at Costco", "I eat an apple at [TARGET]"),
        ("Orange", "orange juice for the Orange team", "orange juice for the [TARGET] team"),
        ("United", "in the United States with United", "in the United States with [TARGET]"),
        ("United", "in the united kingdom on @united", "in the united kingdom on [TARGET]"),
        ("Norvane", "Sprint is bad", "[TARGET] [OTHER] is bad"),
    ],
)
def test_a_brand_that_is_a_common_word_is_masked_with_care(brand: str, text: str, expected: str) -> None:
    assert read(text, brand) == expected


def test_the_placeholder_of_anonymous_corpora_is_the_target() -> None:
    assert read("__company__ lost my bag, @__company__ and __competitor__", "__company__") == (
        "[TARGET] lost my bag, [TARGET] and [OTHER]"
    )
    assert read("__company__ lost my bag", "Norvane") == "[TARGET] lost my bag"
    assert read("no company answers", "__company__") == "[TARGET] no company answers"


def test_urls_and_addresses_are_one_mask() -> None:
    assert (
        read("see https://t.co/abc, www.x.io or t.co/x at me.you+1@mail.example.com!")
        == f"see {URL} or {URL} at {URL} !"
    )
    assert read("a@b is no address") == f"a {TARGET} is no address"


def test_masks_typed_by_the_author_are_masks() -> None:
    assert read("[TARGET] and [OTHER] [OTHER] and [target]") == f"{TARGET} and {OTHER} and [target ]"


def test_emoji_become_words_that_keep_the_place_of_the_emoji() -> None:
    text = "soooo done 😡😡👍🏽 🇬🇧"
    words = normalise(text, None, BRANDS).words
    assert [(word.text, text[word.start : word.end]) for word in words] == [
        ("soo", "soooo"),
        ("done", "done"),
        ("pouting face", "😡😡"),
        ("thumbs up sign", "👍"),
    ]


def test_repeats_are_cut_short() -> None:
    assert read("noooo!!!!!! why??? .. . ..... 1000000 ha ha ha ha") == "noo!!! why??? .. . 1000000 ha ha ha ha"
    assert read("@a @b @c hi", "Norvane") == f"{TARGET} {OTHER} hi"


def test_spans_lead_back_through_entities_and_hidden_characters() -> None:
    text = "x &amp;amp; y\u200bz &lt;3 cafe\u0301 AT&amp;T"
    words = normalise(text, "AT&T", BRANDS).words
    assert [(word.text, text[word.start : word.end]) for word in words] == [
        ("x", "x"),
        ("&", "&amp;amp;"),
        ("yz", "y\u200bz"),
        ("<", "&lt;"),
        ("3", "3"),
        ("café", "cafe\u0301"),
        (TARGET, "AT&amp;T"),
    ]


@pytest.mark.parametrize("text", ["\u200b", "\ud83d", "🏻", "🇬🇧", "#___", "\x00"])
def test_a_text_with_nothing_to_read_is_still_read(text: str) -> None:
    assert read(text) == "..."
    assert read(text, "Apple") == TARGET


def test_an_invisible_brand_does_not_hide_the_others() -> None:
    assert read("Verizon @Verizon @me", "\u200b") == f"{TARGET} {OTHER}"


def test_a_brand_with_products_is_cut_out_of_a_hashtag_the_same_way_in_every_process() -> None:
    brands = Brands({"best": Brand(names=("Best", "Shop", "Tops"))}, "")
    # Both "best" and "shop" fit; the order of a set of strings differs between processes.
    assert normalise("#bestofshop", "Best", brands).text == "[TARGET] ofshop"
    assert brands.target("Best").hashtag_names == ("best", "shop", "tops")


# Work


def _seconds(text: str, brand: str | None) -> float:
    """Of the processor for one text, at least, of three times; the collector would look at other tests' objects."""
    took = []
    gc.disable()
    try:
        for _ in range(3):
            start = time.process_time()
            normalise(text, brand, NO_BRANDS)
            took.append(time.process_time() - start)
    finally:
        gc.enable()
    return min(took)


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "a",
            "ab",
            "a.a.",
            "@",
            "#A",
            "#a",
            "a ",
            "a-",
            "'s",
            "a's ",
            "&",
            "amp;",
            "&amp;",
            "&#82",
            "[SEP]",
            " ",
            "\n",
        ),
        *("e\u0301", "\u0301\u0316", "😡", "👍🏽 ", "ﷺ", "½", "a@", "a@b.", "www.", "support", "@asksupport ", "x.x@"),
    ],
)
def test_work_grows_with_the_text_and_no_faster(unit: str) -> None:
    small, large = (unit * (size // len(unit)) for size in (4_000, 16_000))
    # Four times the text is four times the work, and would be sixteen times if it were quadratic.
    assert any(_seconds(large, brand) < 8 * _seconds(small, brand) + 0.01 for brand in ("a", None))


@pytest.mark.parametrize("brand", ["a" * 20_000, "a " * 10_000, "(a)" * 7_000, "support" * 3_000, "a's " * 5_000])
def test_a_very_long_brand_costs_little(brand: str) -> None:
    assert len(BRANDS.target(brand).prefixes) <= 200
    text = "a a #a @a " * 100
    assert any(_seconds(text, brand) < 20 * _seconds(text, "a") + 0.1 for _ in range(2))
