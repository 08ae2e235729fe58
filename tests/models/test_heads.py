"""The head on frozen features: its contract, its stochastic passes, and whose features it needs."""

import pytest
import torch

from data.names import Refused
from heuristics.core.evidence import from_logits
from models.heads import Head
from models.stochastic import shared_masks


@pytest.fixture(params=[0, 7])
def head(request):
    torch.manual_seed(0)
    made = Head(12, 3, 0.5, request.param, of="these").eval()
    made.mean.fill_(0.2), made.std.fill_(2.0)
    return made


IMAGES = torch.rand(5, 12, 1, 1)


def test_the_contract_of_classifiers(head):
    assert torch.equal(head(IMAGES), head.head(head.features(IMAGES))) and head(IMAGES).shape == (5, 3)
    assert head.features(IMAGES).shape[1] == head.classifier.in_features


def test_a_pass_is_dropout_with_one_mask_for_all_images(head):
    """The mask in the weights is the mask on the features."""
    features = head.features(IMAGES)
    with shared_masks(head, 3) as set_pass, torch.no_grad():
        passes = list(head.passes(features, 40, set_pass))
        for k in (0, 1, 35):
            set_pass(k)
            assert torch.allclose(passes[k], head.head(features), atol=1e-5)
        assert set(head.dropout(torch.ones_like(features)).unique().tolist()) == {0.0, 2.0}
    assert len(passes) == 40 and not torch.allclose(passes[0], passes[1])
    assert isinstance(head.dropout, torch.nn.Dropout)


def test_passes_differ_but_not_between_equal_images(head):
    same = IMAGES[:1].expand(4, -1, -1, -1)
    with torch.no_grad():
        found = from_logits(head, same, frozenset({"mc_mean", "mc_std"}), 6, 1)
    assert (found["mc_std"] > 0).any()
    assert torch.allclose(found["mc_mean"], found["mc_mean"][:1].expand_as(found["mc_mean"]), atol=1e-6)


def test_weights_of_other_features_are_refused(head):
    other = Head(12, 3, 0.5, 0, of="those")
    with pytest.raises(Refused, match="belongs to the features these, not to those"):
        other.load_state_dict(Head(12, 3, 0.5, 0, of="these").state_dict())
