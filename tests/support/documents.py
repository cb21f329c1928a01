"""The checkpoints that README, docs and examples speak of, as tiny models in their places."""

import tfmodels

ARTICLES = [
    "A window slides over a long document. Each token sees its neighbours, and all of the global tokens. " * 4,
    "a short document about windows",
]
ABSTRACTS = ["Long documents in Keras.", "About windows."]
# Lengths of documents are divided by this where snippets run: what compiles is smaller, and nothing else is different.
SHRINK = 32
LED_NAME, LONGT5_NAME = "allenai/led-base-16384", "google/long-t5-tglobal-base"


def make_checkpoints(folder):
    """Write a tiny LED and a tiny LongT5, with tokenizers, where a program in `folder` finds the public names."""
    led_tokenizer = tfmodels.LEDTokenizer.train_from_iterator(ARTICLES * 3, 300)
    led = tfmodels.LEDForConditionalGeneration(
        tfmodels.LEDConfig(
            vocab_size=led_tokenizer.vocab_size,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            attention_window=8,
            max_global_tokens=8,
            max_encoder_position_embeddings=16384 // SHRINK,
            max_decoder_position_embeddings=256,  # targets of 256 tokens are not divided
        )
    )
    longt5_tokenizer = tfmodels.LongT5Tokenizer.train_from_iterator(ARTICLES * 3, 130)
    longt5 = tfmodels.LongT5ForConditionalGeneration(
        tfmodels.LongT5Config(
            vocab_size=longt5_tokenizer.vocab_size,
            d_model=16,
            d_kv=8,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            local_radius=7,
            global_block_size=4,
            decoder_start_token_id=0,
        )
    )
    for name, model, tokenizer in ((LED_NAME, led, led_tokenizer), (LONGT5_NAME, longt5, longt5_tokenizer)):
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
