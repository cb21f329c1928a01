"""Ids and texts are those of transformers, for the same files."""

import random

import pytest


@pytest.mark.filterwarnings("ignore:This sequence already has")
def test_ids_are_those_of_transformers(with_reference, fuzz_texts, source_texts):
    tokenizer, reference = with_reference
    for text in fuzz_texts + source_texts:
        assert tokenizer.encode(text) == reference.encode(text), repr(text)


@pytest.mark.filterwarnings("ignore:This sequence already has")
def test_padding_and_truncation_are_those_of_transformers(with_reference, fuzz_texts):
    tokenizer, reference = with_reference
    texts = [*fuzz_texts[:600], "a</s>", "a</s>b c d e f g h", "a</s></s>", "a b</s></s>", "a</s></s></s>c"]
    for max_length in (2, 3, 4, 12):
        expected = reference(texts, max_length=max_length, padding="max_length", truncation=True, return_tensors="np")
        batch = tokenizer(texts, max_length=max_length)
        assert batch["input_ids"].tolist() == expected["input_ids"].tolist()
        assert batch["attention_mask"].tolist() == expected["attention_mask"].tolist()


@pytest.mark.parametrize("skip_special_tokens", [True, False])
def test_texts_are_those_of_transformers(with_reference, skip_special_tokens):
    tokenizer, reference = with_reference
    generator = random.Random(1)
    special_ids = tokenizer.all_special_ids
    for _ in range(500):
        ids = [
            generator.choice(special_ids) if generator.random() < 0.3 else generator.randrange(tokenizer.vocab_size)
            for _ in range(generator.randrange(1, 12))
        ]
        expected = reference.decode(ids, skip_special_tokens=skip_special_tokens)
        assert tokenizer.decode(ids, skip_special_tokens) == expected, ids


def test_special_ids_are_those_of_transformers(with_reference):
    tokenizer, reference = with_reference
    assert tokenizer.vocab_size == len(reference)
    assert tokenizer.all_special_ids == sorted(reference.all_special_ids)
    assert tokenizer.pad_token_id == reference.pad_token_id
    assert tokenizer.eos_token_id == reference.eos_token_id
    assert tokenizer.unk_token_id == reference.unk_token_id
