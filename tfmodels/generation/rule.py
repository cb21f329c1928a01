"""What a rule on the next token is."""

from collections.abc import Callable

from tfmodels.backend.types import Tensor

Processor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens int32 (R, T), position int32 scalar, scores float32 (R, V)) -> scores, for R rows.

`position` is the place of the token to be chosen: `tokens[:, :position]` are those so far. The scores are
log-probabilities in beam search and logits otherwise, as the reference has it; minus infinity forbids.
"""

FORBIDDEN = float("-inf")
