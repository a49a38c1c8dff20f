"""What a flow sees of data that are no short row of summaries: curves, and sets of learners."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sbirules.support.borrowed import torch_as_found
from sbirules.support.robust import centre_and_spread

__all__ = ["EMBEDDINGS", "SetEmbedding", "embedding"]

EMBEDDINGS = ("cnn", "transformer")
FEATURES = 20  # of any embedding
HEADS, TOKEN = 4, 32  # of the transformer
SHORTEST = 16  # values of a curve that the convolutions need


def embedding(kind: str, length: int) -> nn.Module:
    """sbi's one-dimensional CNN or transformer over a curve of that many values.

    Raises:
        ValueError: If the curve is too short.
    """
    with torch_as_found():
        from sbi.neural_nets.embedding_nets import CNNEmbedding

    if length < SHORTEST:
        raise ValueError(
            f"embedding={kind!r} is for curves of at least {SHORTEST} values, such as learning_curve(60), "
            f"got {length}; leave it out."
        )
    return CNNEmbedding(input_shape=(length,), output_dim=FEATURES) if kind == "cnn" else _CurveTransformer()


class _CurveTransformer(nn.Module):
    """sbi's transformer over the values of a curve `(n, T)`, one token each."""

    def __init__(self) -> None:
        with torch_as_found():
            from sbi.neural_nets.embedding_nets import TransformerEmbedding

        super().__init__()
        self.token = nn.Linear(1, TOKEN)
        self.net = TransformerEmbedding(
            feature_space_dim=TOKEN,
            final_emb_dimension=FEATURES,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            intermediate_size=2 * TOKEN,
            attention_dropout=0.0,
            is_causal=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(self.token(x[..., None]))
        return out


class SetEmbedding(nn.Module):
    """A set of learners, whatever their order and number: the mean of what a network makes of each, and their number.

    Deep sets (Zaheer et al. 2017). sbi's PermutationInvariantEmbedding does the same, but mixes up the numbers of
    learners within a batch if a learner has more than one summary.

    Arguments:
        columns: Numbers for each learner; the last is 1 for a learner and 0 for an empty place.
        hidden: Units of the hidden layers.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, columns: int, hidden: int = 64) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(columns - 1))
        self.register_buffer("sd", torch.ones(columns - 1))
        self.each = nn.Sequential(
            nn.Linear(columns - 1, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden)
        )
        self.whole = nn.Sequential(nn.Linear(hidden + 1, hidden), nn.SiLU(), nn.Linear(hidden, FEATURES))

    def standardise_by(self, x: Tensor) -> SetEmbedding:
        """Takes mean and s.d. from sets `(n, L, columns)`."""
        rows = x[x[..., -1] > 0][:, :-1]
        mean, sd = centre_and_spread(rows)
        self.mean.copy_(mean)
        self.sd.copy_(torch.where(sd > 0, sd, torch.inf))  # what is constant tells nothing
        return self

    def forward(self, x: Tensor) -> Tensor:
        """`(n, L, columns)` to `(n, FEATURES)`."""
        there = x[..., -1:]
        count = there.sum(dim=-2)
        each = self.each((x[..., :-1] - self.mean) / self.sd) * there
        pooled = each.sum(dim=-2) / count.clamp(min=1.0)
        out: Tensor = self.whole(torch.cat([pooled, torch.log(count.clamp(min=1.0))], dim=-1))
        return out
