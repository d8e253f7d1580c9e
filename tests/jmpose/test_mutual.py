import torch
import torch.nn.functional as F
from torch import nn

from jmpose.joint_learner import JointLearner, PlainJointFeature
from jmpose.mutual import OPEN_GATE, ChannelAttention, MutualBlock


def maps(count: int, *, c: int = 8, h: int = 6, w: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, h, w, generator=generator) for _ in range(count)]


def plain_projection(attention: ChannelAttention) -> ChannelAttention:
    with torch.no_grad():
        attention.project.weight.copy_(torch.eye(8)[:, :, None, None])
        attention.project.bias.zero_()
    return attention


def test_attention_mixes_the_channels_of_a_head() -> None:
    attention = plain_projection(ChannelAttention(8, heads=4))
    query, key, value = maps(3)
    out = attention(query, key, value)
    for head in range(4):
        rows = slice(2 * head, 2 * head + 2)
        q = F.normalize(query[:, rows].flatten(2), dim=-1)
        k = F.normalize(key[:, rows].flatten(2), dim=-1)
        weight = torch.softmax(q @ k.transpose(1, 2), -1)
        expected = weight @ value[:, rows].flatten(2)
        assert torch.allclose(out[:, rows].flatten(2), expected, atol=1e-6)


def test_attention_finds_the_equal_channel() -> None:
    attention = plain_projection(ChannelAttention(8, heads=1))
    (query, value) = maps(2, h=20, w=20)
    with torch.no_grad():
        attention.temperature.fill_(100.0)
    shuffled = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    out = attention(query, query[:, shuffled] * 3, value[:, shuffled])
    assert torch.allclose(out, value, atol=1e-3)


def test_attention_is_tied_to_no_size() -> None:
    block = MutualBlock(8, heads=2)
    for h, w in ((4, 3), (9, 7)):
        motion, joint = block(*maps(2, h=h, w=w))
        assert motion.shape == joint.shape == (2, 8, h, w)


def test_block_is_convolution_plus_crossed_attention_times_gate() -> None:
    block = MutualBlock(8, heads=2).eval()
    motion, joint = maps(2)
    with torch.no_grad():
        block.gate.weight.zero_()
        block.gate.bias.copy_(torch.tensor([100.0] * 8 + [0.0] * 8))  # opens motion, half-opens joint
    new_motion, new_joint = block(motion, joint)
    x_m, x_j = block.motion_conv(motion), block.joint_conv(joint)
    q_m, k_m, v_m = block.motion_qkv(x_m).chunk(3, 1)
    q_j, k_j, v_j = block.joint_qkv(x_j).chunk(3, 1)
    assert torch.allclose(new_motion, x_m + block.motion_attention(q_m, k_j, v_j), atol=1e-6)
    assert torch.allclose(new_joint, (x_j + block.joint_attention(q_j, k_m, v_m)) / 2, atol=1e-6)


def test_each_stream_hears_the_other() -> None:
    block = MutualBlock(8, heads=2).eval()
    motion, joint, other = maps(3)
    assert not torch.allclose(block(motion, joint)[0], block(motion, other)[0], atol=1e-4)
    assert not torch.allclose(block(motion, joint)[1], block(other, joint)[1], atol=1e-4)


def test_joint_learner_samples_the_flow_where_the_context_says() -> None:
    learner = JointLearner(12, 8, groups=2, dilation=1).eval()
    (motion,) = maps(1)
    context = torch.randn(2, 12, 6, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(learner(context, motion), learner(context + 1, motion))  # before any training
    with torch.no_grad():
        learner.sampling.offset_branch[-1].weight.normal_()
    assert not torch.allclose(learner(context, motion), learner(context + 1, motion), atol=1e-4)
    # Whatever the context, no motion gives no joint feature.
    still = learner(context, torch.zeros_like(motion))
    assert still.abs().max().item() == 0


def test_plain_joint_feature_ignores_the_context() -> None:
    plain = PlainJointFeature(8).eval()
    (motion,) = maps(1)
    assert torch.equal(plain(torch.zeros(2, 12, 6, 5), motion), plain(torch.ones(2, 12, 6, 5), motion))


def test_identity_start_hands_on_what_it_is_given() -> None:
    block = MutualBlock(8, heads=2, identity_start=True).eval()
    motion, joint = (x.abs() for x in maps(2))
    open_gate = torch.sigmoid(torch.tensor(OPEN_GATE))
    for given, got in zip((motion, joint), block(motion, joint), strict=True):
        assert torch.allclose(got, open_gate * given, atol=1e-6)
    learner = JointLearner(4, 8, groups=2, dilation=1, identity_start=True).eval()
    assert torch.equal(learner(maps(1, c=4)[0], motion), motion)


def test_everything_that_starts_as_identity_learns() -> None:
    torch.manual_seed(0)
    both = nn.ModuleDict(
        {
            "block": MutualBlock(8, heads=2, identity_start=True),
            "learner": JointLearner(4, 8, groups=2, dilation=1, identity_start=True),
        }
    )
    optimizer = torch.optim.SGD(both.parameters(), lr=0.1)
    before = {name: p.clone() for name, p in both.named_parameters()}
    motion, context = maps(1)[0].abs(), maps(1, c=4)[0]
    for _ in range(4):  # what is multiplied by a 0 moves once that 0 has moved
        optimizer.zero_grad()
        new = both["block"](motion, both["learner"](context, motion))
        sum((x * torch.randn_like(x)).sum() for x in new).backward()
        optimizer.step()
    assert [name for name, p in both.named_parameters() if torch.equal(p, before[name])] == []
