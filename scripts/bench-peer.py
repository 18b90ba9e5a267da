#!/usr/bin/env python3
"""The step that `sparkvision bench step` times, in eager PyTorch; scripts/bench runs both by turns.

bench-peer.py model=NAME batch=N image=N precision=float32|bfloat16 mode=training|inference threads=N steps=N
              format=contiguous|channels-last

Says "ready" after two warm-up steps, then runs `steps` steps for every line "go" on standard input and prints a line of
JSON. Models: densenet121, densenet121-3d, deit-tiny; one without the published number of parameters is refused.
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


def peak_resident():
    status = pathlib.Path("/proc/self/status")
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) if status.exists() else None


key = dict(word.split("=", 1) for word in sys.argv[1:])
batch, image, steps, threads = (int(key[name]) for name in ("batch", "image", "steps", "threads"))
name, training = key["model"], key["mode"] == "training"
torch.set_num_threads(threads)
dims, channels, classes = (3, 1, 2) if name.endswith("-3d") else (2, 3, 1000)
model = ViT(image) if name == "deit-tiny" else densenet(dims, channels, classes)
published = {"densenet121": 7978856, "densenet121-3d": 11244674,
             "deit-tiny": 5717416 + 192 * ((image // 16) ** 2 - 14 ** 2)}[name]  # a position for every patch
parameters = sum(p.numel() for p in model.parameters())
if parameters != published:
    sys.exit(f"Cannot bench the peer's {name}: it has {parameters} parameters (must be {published})")
layout = torch.contiguous_format
if key["format"] == "channels-last":
    layout = torch.channels_last if dims == 2 else torch.channels_last_3d
model = model.to(memory_format=layout).train(training)
x = torch.randn(batch, channels, *[image] * dims).to(memory_format=layout)
y = torch.randint(classes, (batch,))
sgd = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
autocast = torch.autocast("cpu", torch.bfloat16, enabled=key["precision"] == "bfloat16")


def step():
    start = time.perf_counter()
    if training:
        sgd.zero_grad()
        with autocast:
            loss = F.cross_entropy(model(x), y)
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
