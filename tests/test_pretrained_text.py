"""CLIP and T5 as the text of SD3 and Flux: tiny random encoders in released folders, judged by diffusers' pipelines."""

import pytest
import torch

from flowlib.errors import InputError
from flowlib.pretrained.text import FluxText, SD3Text, load_text

CAPTIONS = ["a red circle", "a small blue square above a cat"]
WORDS = ["<pad>", "<unk>", "a", "red", "circle", "small", "blue", "square", "above", "</s>"]


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 9)])
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", model_max_length=77
    )


def clip(kind, width, projected):
    from transformers import CLIPTextConfig

    torch.manual_seed(width)
    config = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=projected,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=77,
        eos_token_id=9,
        pad_token_id=0,
    )
    return kind(config).eval()


def t5(width=40):
    from transformers import T5Config, T5EncoderModel

    torch.manual_seed(0)
    config = T5Config(vocab_size=len(WORDS), d_model=width, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return T5EncoderModel(config).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    folder = tmp_path_factory.mktemp("released")
    clip(CLIPTextModelWithProjection, 12, 8).save_pretrained(folder / "sd3" / "text_encoder")
    clip(CLIPTextModelWithProjection, 16, 10).save_pretrained(folder / "sd3" / "text_encoder_2")
    t5().save_pretrained(folder / "sd3" / "text_encoder_3")
    clip(CLIPTextModel, 12, 8).save_pretrained(folder / "flux" / "text_encoder")
    t5().save_pretrained(folder / "flux" / "text_encoder_2")
    for part in ("sd3/tokenizer", "sd3/tokenizer_2", "sd3/tokenizer_3", "flux/tokenizer", "flux/tokenizer_2"):
        tokenizer().save_pretrained(folder / part)
    return folder


def test_sd3_text_is_that_of_diffusers(folder):
    from diffusers import StableDiffusion3Pipeline

    model = load_text(folder / "sd3", "sd3")
    assert isinstance(model, SD3Text)
    text = model(model.tokenize(CAPTIONS))
    theirs = StableDiffusion3Pipeline(
        None, None, None, model.clip_l, model.tokenizers[0], model.clip_g, model.tokenizers[1], model.t5,
        model.tokenizers[2],
    )  # fmt: skip
    tokens, _, pooled, _ = theirs.encode_prompt(
        CAPTIONS, None, None, do_classifier_free_guidance=False, max_sequence_length=77
    )
    assert text.tokens.shape == (2, 154, 40)
    torch.testing.assert_close(text.tokens, tokens, rtol=0, atol=1e-6)
    torch.testing.assert_close(text.pooled, pooled, rtol=0, atol=1e-6)
    assert text.pooled.shape == (2, 18)
    assert not bool(text.tokens[:, :77, 28:].any())
    assert not torch.equal(text.pooled[0], text.pooled[1])
    without = SD3Text((model.clip_l, model.clip_g, None), model.tokenizers, width=40)
    rest = without(model.tokenize(CAPTIONS)).tokens
    assert torch.equal(rest[:, :77], text.tokens[:, :77])
    assert not bool(rest[:, 77:].any())


def test_flux_text_is_that_of_diffusers(folder):
    from diffusers import FluxPipeline

    model = load_text(folder / "flux", "flux", length=20)
    assert isinstance(model, FluxText)
    text = model(model.tokenize(CAPTIONS))
    theirs = FluxPipeline(None, None, model.clip, model.tokenizers[0], model.t5, model.tokenizers[1], None)
    tokens, pooled, _ = theirs.encode_prompt(CAPTIONS, None, max_sequence_length=20)
    torch.testing.assert_close(text.tokens, tokens, rtol=0, atol=1e-6)
    torch.testing.assert_close(text.pooled, pooled, rtol=0, atol=1e-6)
    assert text.tokens.shape == (2, 20, 40)


def test_each_encoder_is_dropped_on_its_own(folder):
    model = load_text(folder / "sd3", "sd3", dropout=0.464)
    ids = tuple(part.expand(1000, -1) for part in model.tokenize(CAPTIONS[:1]))
    whole = model(tuple(part[:1] for part in ids))
    text = model.train()(ids, torch.Generator().manual_seed(0))
    kept = torch.stack(
        [
            (text.tokens[:, :77, :12] != 0).any((1, 2)),
            (text.tokens[:, :77, 12:28] != 0).any((1, 2)),
            (text.tokens[:, 77:] != 0).any((1, 2)),
        ]
    )
    assert bool(((1 - kept.float().mean(1)) - 0.464).abs().max() < 0.05)
    assert abs(float((~kept).all(0).float().mean()) - 0.464**3) < 0.03  # all three: a tenth
    assert torch.equal((text.pooled[:, :8] != 0).any(1), kept[0])
    assert torch.equal((text.pooled[:, 8:] != 0).any(1), kept[1])
    all_kept = kept.all(0).nonzero()[0, 0]
    torch.testing.assert_close(text.tokens[all_kept], whole.tokens[0])
    torch.testing.assert_close(model.eval()(ids).tokens, whole.tokens.expand(1000, -1, -1))


def test_what_is_missing_is_told(tmp_path):
    with pytest.raises(InputError, match=r"folder: expected the folders text_encoder, .* got no .*text_encoder. Fetch"):
        load_text(tmp_path, "sd3")
    with pytest.raises(InputError, match=r"tokenizer_2 of black-forest-labs/FLUX.1-schnell, 10 GB"):
        load_text(tmp_path, "flux")
    with pytest.raises(InputError, match="name: expected sd3 or flux, got 'sdxl'"):
        load_text(tmp_path, "sdxl")
