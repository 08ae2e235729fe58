"""What the processes of one run exchange, and that a training step of two comes to that of one."""

import numpy as np
import pytest
import torch
from torch import nn

from data.names import Refused
from experiments.learning import parallel
from experiments.learning.dividing import divided, own_rows, sum_gradients
from experiments.learning.parallel import group, shared
from experiments.learning.randomness import torch_seeded
from tests.experiments.several import together


def test_one_device_gives_back_what_it_was_given():
    assert group().size == 1 and own_rows(5) == slice(0, 5)
    asked = []
    made = shared(lambda number, item: asked.append(item) or item * 2, [1, 2, 3])
    assert next(made) == 2 and asked == [1], "nothing is computed before it is asked for"
    assert [*made] == [4, 6] and parallel.first_says(value := object()) is value
    model = nn.Linear(2, 1)
    with divided(model):
        assert not model._forward_hooks and not model._forward_pre_hooks
    sum_gradients(model)
    assert model.weight.grad is None


@pytest.mark.parametrize(("size", "n"), [(2, 0), (2, 1), (2, 5), (3, 4), (3, 7)])
def test_each_device_does_every_nth_item_and_all_get_all(size, n):
    def work():
        mine = []

        def square(number, item):
            mine.append(item)
            return {"square": torch.tensor([item**2]), "number": np.int64(number)}

        found = [(int(each["square"]), int(each["number"])) for each in shared(square, list(range(n)))]
        return mine, found

    made = together(work, size)
    assert [mine for mine, _ in made] == [list(range(rank, n, size)) for rank in range(size)]
    assert all(found == [(i**2, i) for i in range(n)] for _, found in made)


def test_what_one_device_refuses_all_refuse_at_the_first_item_that_is_wrong():
    def work():
        seen = []

        def half(number, item):
            if item % 2:
                raise Refused(f"{item} is odd")
            return item // 2

        try:
            for made in shared(half, [0, 2, 4, 7, 9, 10]):
                seen.append(made)
        except Refused as refused:
            return seen, str(refused)

    assert together(work) == [([0, 1, 2], "7 is odd")] * 2


def test_the_first_process_decides_and_unlike_weights_are_found_out():
    def work():
        own = parallel.group().rank
        said = parallel.first_says({"picks": np.arange(3) + own, "rows": [torch.full((2,), float(own))]})
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        parallel.require_alike(model, "the weights")
        with torch.no_grad():
            model.weight[0, 0] += 1e-7 * own
        with parallel.alone():
            parallel.require_alike(model, "the weights")
        with pytest.raises(Refused, match="the devices of this run disagree on the weights of cycle 3"):
            parallel.require_alike(model, "the weights of cycle 3")
        return said["picks"].tolist(), said["rows"][0].tolist()

    assert together(work) == [([0, 1, 2], [0.0, 0.0])] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_rows_of_every_type_travel(dtype):
    def work():
        return parallel.rows_of_all((torch.arange(6).reshape(2, 3) + 6 * group().rank).to(dtype))

    for found in together(work):
        assert found.dtype == dtype and torch.equal(found, torch.arange(12).reshape(4, 3).to(dtype))


def network(dim):
    """Convolutions with batch norm, both kinds of dropout, and a batch norm without weights."""
    torch.manual_seed(3)
    convolution, norm, dropout = (
        (nn.Conv2d, nn.BatchNorm2d, nn.Dropout2d) if dim else (nn.Conv2d, nn.BatchNorm2d, nn.Dropout)
    )
    layers = [convolution(3, 8, 3), norm(8), nn.ReLU(), dropout(0.3), convolution(8, 6, 1), norm(6, affine=False)]
    return nn.Sequential(*layers, nn.Dropout(0.2), convolution(6, 4, 1))


def pictures():
    rng = np.random.default_rng(1)
    images = torch.from_numpy(rng.normal(3, 2, (6, 3, 9, 7))).float()  # far from zero: sums of squares cancel
    return images.contiguous(memory_format=torch.channels_last), torch.from_numpy(rng.integers(0, 4, (6, 7, 5)))


def dice(logits, truth):
    """A loss that is no mean over images."""
    probs = logits.softmax(1)
    known = nn.functional.one_hot(truth, 4).permute(0, 3, 1, 2)
    return 1 - (2 * (probs * known).sum((0, 2, 3)) / (probs + known).sum((0, 2, 3))).mean()


def weighted(logits, truth):
    return nn.functional.cross_entropy(logits, truth, torch.tensor([0.1, 5.0, 1.0, 0.0]))


def steps_of(loss, dim, precision=None, steps=3):
    """Losses, gradients and buffers of some steps."""
    model, (images, truth) = network(dim).train(), pictures()
    optimizer, losses = torch.optim.SGD(model.parameters(), 0.1, 0.9), []
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        with torch_seeded(0, 0, "dropout", step):
            with divided(model), torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
                logits = model(images)
                assert len(logits) == 6, "all rows, on every device"
                value = loss(logits.float(), truth)
            value.backward()
        sum_gradients(model)
        optimizer.step()
        losses.append(float(value))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return losses, [p.grad for p in model.parameters()], state


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("loss", [dice, weighted])
@pytest.mark.parametrize("dim", [1, 0])
def test_a_step_of_several_devices_is_that_of_one(loss, dim, size):
    losses, gradients, state = steps_of(loss, dim)
    made = together(lambda: steps_of(loss, dim), size)
    for found, theirs, theirs_after in made:
        assert found == pytest.approx(losses, abs=1e-6)
        for gradient, expected in zip(theirs, gradients, strict=True):
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
        for name, expected in state.items():
            torch.testing.assert_close(theirs_after[name], expected, rtol=1e-5, atol=1e-6)
    for name, tensor in made[0][2].items():
        assert torch.equal(tensor, made[-1][2][name]), "and to the last bit the same on all of them"


def test_dropped_paths_of_timm_are_drawn_for_the_whole_batch():
    from timm.layers import DropPath

    def kept():
        model = nn.Sequential(nn.Identity(), DropPath(0.5)).train()
        with torch_seeded(0, 0, "dropout", 0), divided(model):
            return model(torch.ones(12, 1))[:, 0].tolist()

    alone = kept()
    assert 0 < alone.count(0) < 12 and together(kept) == [alone] * 2
