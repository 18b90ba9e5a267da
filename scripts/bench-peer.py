#!/usr/bin/env python3
"""The step that `sparkvision bench step` times, in eager PyTorch; scripts/bench runs both by turns.

bench-peer.py model=NAME batch=N image=N precision=float32|bfloat16 mode=training|inference threads=N steps=N
              format=contiguous|channels-last

Says "ready" after two warm-up steps, then runs `steps` steps for every line "go" on standard input and prints a line of
JSON. Models: densenet121, densenet121-3d, deit-tiny, cbam-resnet50, segformer-b0; one without the published number of parameters is refused. And scan:
a selective scan of image tokens, 384 channels and 16 states, token after token, forward and backward, in float32.
"""

import json, pathlib, re, statistics, sys, time
import torch
from torch import nn
import torch.nn.functional as F


class Layer(nn.Sequential):
    def forward(self, x):
        return torch.cat([x, super().forward(x)], 1)


def densenet(dims, channels, classes, width=64, growth=32):
    """DenseNet-121: torchvision's for images, MONAI's for volumes."""
    conv, norm, mean, largest, globally = (
        getattr(nn, f"{kind}{dims}d") for kind in ("Conv", "BatchNorm", "AvgPool", "MaxPool", "AdaptiveAvgPool"))

    def unit(i, o, k):
        return norm(i), nn.ReLU(True), conv(i, o, k, padding=k // 2, bias=False)

    parts = [conv(channels, width, 7, 2, 3, bias=False), norm(width), nn.ReLU(True), largest(3, 2, 1)]
    for block, layers in enumerate((6, 12, 24, 16)):
        if block:
            parts += [*unit(width, width // 2, 1), mean(2, 2)]
            width //= 2
        for _ in range(layers):
            parts.append(Layer(*unit(width, 4 * growth, 1), *unit(4 * growth, growth, 3)))
            width += growth
    parts += [norm(width), nn.ReLU(True), globally(1), nn.Flatten(), nn.Linear(width, classes)]
    return nn.Sequential(*parts)


class Block(nn.Module):
    """One layer of a vision transformer; the norm stands before."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.norm1, self.norm2 = heads, nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """DeiT-Ti without distillation."""

    def __init__(self, image, patch=16, dim=192, depth=12, heads=3, classes=1000):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.position = nn.Parameter(torch.randn(1, (image // patch) ** 2 + 1, dim) * 0.02)
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(dim, 1e-6), nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class Cbam(nn.Module):
    """Convolutional block attention: channels are gated first, then pixels."""

    def __init__(self, channels, reduction=16):
        super().__init__()
        narrow = channels // reduction
        self.mlp = nn.Sequential(nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels))
        self.spatial = nn.Sequential(nn.Conv2d(2, 1, 7, padding=3, bias=False), nn.BatchNorm2d(1))

    def forward(self, x):
        x = x * torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))[:, :, None, None]
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial(pooled))


class Bottleneck(nn.Module):
    """ResNet's, with CBAM before the shortcut is added."""

    def __init__(self, i, inner, stride):
        super().__init__()
        o = 4 * inner
        self.body = nn.Sequential(
            nn.Conv2d(i, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(True),
            nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU(True),
            nn.Conv2d(inner, o, 1, bias=False), nn.BatchNorm2d(o), Cbam(o))
        same = stride == 1 and i == o
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), True)


def cbam_resnet50(classes):
    parts = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    width = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for j in range(blocks):
            parts.append(Bottleneck(width, 64 << stage, 2 if stage and not j else 1))
            width = 256 << stage
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def as_map(x, h, w):
    return x.transpose(1, 2).unflatten(2, (h, w))


def as_tokens(x):
    return x.flatten(2).transpose(1, 2)


class Reduced(nn.Module):
    """A block of SegFormer: attention to a smaller map, then an MLP with a depthwise convolution inside."""

    def __init__(self, dim, heads, ratio):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, 1e-6), nn.LayerNorm(dim, 1e-6)
        self.q, self.kv, self.proj = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.reduce = nn.Conv2d(dim, dim, ratio, ratio) if ratio > 1 else None
        self.norm = nn.LayerNorm(dim) if ratio > 1 else None
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.depthwise = nn.Conv2d(4 * dim, 4 * dim, 3, padding=1, groups=4 * dim)

    def forward(self, x, h, w):
        b, n, c = x.shape
        y = self.norm1(x)
        q = self.q(y).view(b, n, self.heads, -1).transpose(1, 2)
        if self.reduce:
            y = self.norm(as_tokens(self.reduce(as_map(y, h, w))))
        k, v = self.kv(y).view(b, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))
        y = self.depthwise(as_map(self.fc1(self.norm2(x)), h, w))
        return x + self.fc2(F.gelu(as_tokens(y)))


class SegFormerB0(nn.Module):
    """Encoder MiT-B0 and the all-MLP head; without drop path and dropout."""

    def __init__(self, classes=150, dims=(32, 64, 160, 256), heads=(1, 2, 5, 8), ratios=(8, 4, 2, 1), width=256):
        super().__init__()
        before = (3, *dims)
        self.patches = nn.ModuleList(
            nn.Conv2d(before[s], dims[s], 3 if s else 7, 2 if s else 4, 1 if s else 3) for s in range(4))
        self.embedded = nn.ModuleList(nn.LayerNorm(dim) for dim in dims)
        self.blocks = nn.ModuleList(
            nn.ModuleList(Reduced(dims[s], heads[s], ratios[s]) for _ in range(2)) for s in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(dim, 1e-6) for dim in dims)
        self.linears = nn.ModuleList(nn.Linear(dim, width) for dim in dims)
        self.fuse = nn.Sequential(nn.Conv2d(4 * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True))
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        levels = []
        for patch, embedded, blocks, norm, linear in zip(
                self.patches, self.embedded, self.blocks, self.norms, self.linears):
            x = patch(x)
            h, w = x.shape[2:]
            x = embedded(as_tokens(x))
            for block in blocks:
                x = block(x, h, w)
            x = norm(x)
            levels.append(as_map(linear(x), h, w))
            x = as_map(x, h, w)
        size = levels[0].shape[2:]
        levels = [levels[0]] + [F.interpolate(level, size, mode="bilinear") for level in levels[1:]]
        return self.classify(self.fuse(torch.cat(levels[::-1], 1)))


class Scan(nn.Module):
    """The selective scan as a loop over the tokens, which autograd differentiates."""

    def __init__(self, batch, length, channels=384, states=16):
        super().__init__()
        draw = lambda *shape: nn.Parameter(torch.randn(*shape))
        self.u, self.delta, self.z = (draw(batch, channels, length) for _ in range(3))
        self.b, self.c, self.d = draw(batch, states, length), draw(batch, states, length), draw(channels, 1)
        self.a = nn.Parameter(-torch.arange(1.0, states + 1).repeat(channels, 1))
        self.bias = nn.Parameter(torch.full((channels, 1), -4.5))

    def forward(self, weights):
        step = F.softplus(self.delta + self.bias)
        decay = torch.exp(step[..., None] * self.a[:, None])  # (B, E, L, N)
        drive = (step * self.u)[..., None] * self.b.transpose(1, 2)[:, None]
        h, sums = torch.zeros_like(drive[:, :, 0]), []
        for t in range(step.shape[2]):
            h = decay[:, :, t] * h + drive[:, :, t]
            sums.append(torch.einsum("ben,bn->be", h, self.c[:, :, t]))
        y = (torch.stack(sums, 2) + self.d * self.u) * F.silu(self.z)
        return (y * weights).sum()


def peak_resident():
    status = pathlib.Path("/proc/self/status")
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) if status.exists() else None


key = dict(word.split("=", 1) for word in sys.argv[1:])
batch, image, steps, threads = (int(key[name]) for name in ("batch", "image", "steps", "threads"))
name, training = key["model"], key["mode"] == "training"
torch.set_num_threads(threads)
dims, channels, classes = (3, 1, 2) if name.endswith("-3d") else (2, 3, 1000)
makers = {"deit-tiny": lambda: ViT(image), "cbam-resnet50": lambda: cbam_resnet50(classes), "segformer-b0": SegFormerB0,
          "scan": lambda: Scan(batch, image)}
model = makers.get(name, lambda: densenet(dims, channels, classes))()
published = {"densenet121": 7978856, "densenet121-3d": 11244674,
             "cbam-resnet50": 28089624, "segformer-b0": 3752694,
             "deit-tiny": 5717416 + 192 * ((image // 16) ** 2 - 14 ** 2)}.get(name)  # a position for every patch
parameters = sum(p.numel() for p in model.parameters())
if name != "scan" and parameters != published:
    sys.exit(f"Cannot bench the peer's {name}: it has {parameters} parameters (must be {published})")
layout = torch.contiguous_format
if key["format"] == "channels-last":
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
model = model.to(memory_format=layout).train(training)
x = torch.randn(*(batch, 384, image) if name == "scan" else (batch, channels, *[image] * dims)).to(memory_format=layout)
if name == "segformer-b0":  # as in bench step: the sum of the scores with random weights
    y = torch.randn(batch, 150, image // 4, image // 4).to(memory_format=layout)
    loss_of = lambda scores: (scores * y).sum()
elif name == "scan":
    loss_of = lambda loss: loss
else:
    y = torch.randint(classes, (batch,))
    loss_of = lambda scores: F.cross_entropy(scores, y)
sgd = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)  # as RandomStep: weights hardly move
autocast = torch.autocast("cpu", torch.bfloat16, enabled=key["precision"] == "bfloat16")


def step():
    start = time.perf_counter()
    if training:
        sgd.zero_grad()
        with autocast:
            loss = loss_of(model(x))
        loss.backward()
        sgd.step()
    else:
        with torch.inference_mode(), autocast:
            model(x)
    return time.perf_counter() - start


step(), step()
print("ready", flush=True)
while sys.stdin.readline() == "go\n":
    seconds = statistics.median(step() for _ in range(steps))
    line = {"step_seconds_median": seconds, "peak_resident_bytes": peak_resident()}
    print(json.dumps(line, separators=(",", ":")), flush=True)
