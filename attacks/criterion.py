"""When an example succeeds, and the attack loss (Chen et al. 2018, equations 3 and 6).

Shapes: B rows, K classes.
"""

import torch
from torch import Tensor


def margin(logits: Tensor, labels: Tensor, *, targeted: bool) -> Tensor:
    """The lead of the target's logit over every other, or of any other logit over the true class's.

    Parameters
    ----------
    logits : Tensor
        (B, K), of any sign.
    labels : Tensor
        (B,) integers: target classes if `targeted`, else true classes.

    Returns
    -------
    Tensor
        (B,): Z_t - max_{j != t} Z_j if `targeted`, else max_{j != t} Z_j - Z_t.
    """
    index = labels.unsqueeze(1)
    own = logits.gather(1, index).squeeze(1)
    others = logits.scatter(1, index, -torch.inf).max(dim=1).values
    return own - others if targeted else others - own


def succeeds(margin: Tensor, kappa: Tensor) -> Tensor:
    """(B,) bool: the margin is at least κ, strictly positive (a tie is no lead) and finite."""
    return (margin >= kappa) & (margin > 0) & margin.isfinite()


def attack_loss(margin: Tensor, kappa: Tensor) -> Tensor:
    """(B,) f = max(-margin, -κ): equation 3 for a targeted margin, equation 6 for an untargeted one."""
    return torch.maximum(-margin, -kappa)


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) Z_t - log Σ_{j ≠ t} exp Z_j: the log of a class's probability over that of all others together."""
    index = labels.unsqueeze(1)
    return logits.gather(1, index).squeeze(1) - logits.scatter(1, index, -torch.inf).logsumexp(1)


def logit_range(logits: Tensor, *, targeted: bool) -> Tensor:
    """(B,) the denominator of the DLR loss (Croce & Hein 2020, equations 6 and 7).

    The greatest logit less the third one, or less the mean of the third and fourth if targeted. With three classes
    there is no fourth; with two the loss would be constant, and the denominator is 1.
    """
    if logits.shape[1] == 2:
        return torch.ones_like(logits[:, 0])
    greatest = logits.topk(min(4 if targeted else 3, logits.shape[1]), dim=1).values
    return greatest[:, 0] - greatest[:, 2:].mean(1)
