#!/usr/bin/env python3
"""What `sparkvision bench data` calls decode_resize, in Pillow; scripts/bench runs both by turns.

bench-peer-data.py make DIR              writes 64 JPEGs of 500 x 375 pixels, of waves and noise
bench-peer-data.py run DIR FILTER COUNT  says "ready", then decodes and resizes the first COUNT images of DIR for every line
                                         "go" on standard input and prints a line of JSON; FILTER is bilinear or bicubic
"""

import io, json, pathlib, re, sys, time
from PIL import Image, ImageChops

what, folder = sys.argv[1], pathlib.Path(sys.argv[2])

if what == "make":
    for i in range(64):
        waves = [Image.radial_gradient("L").rotate(5 * i + 40 * c).resize((500, 375)) for c in range(3)]
        noise = [Image.effect_noise((500, 375), 40) for _ in range(3)]
        bands = [ImageChops.add(w, n, scale=2) for w, n in zip(waves, noise)]
        Image.merge("RGB", bands).save(folder / f"{i:03}.jpeg", quality=90)
    sys.exit()

names = sorted(p for p in folder.rglob("*") if re.search(r"\.(jpe?g|png)$", p.name, re.I))[:int(sys.argv[4])]
files = [name.read_bytes() for name in names]
kind = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}[sys.argv[3]]


def once():
    """Shorter side 256, centre 224: torchvision's Resize and CenterCrop."""
    start = time.perf_counter()
    for data in files:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        shorter = min(image.size)
        image = image.resize(tuple(256 * side // shorter for side in image.size), kind)
        left, top = ((side - 224) // 2 for side in image.size)
        image.crop((left, top, left + 224, top + 224))
    return (time.perf_counter() - start) / len(files)


once(), once()
print("ready", flush=True)
while sys.stdin.readline() == "go\n":
    peak = pathlib.Path("/proc/self/status")
    resident = 1024 * int(re.search(r"VmHWM:\s*(\d+)", peak.read_text())[1]) if peak.exists() else None
    line = {"step_seconds_median": once(), "peak_resident_bytes": resident}
    print(json.dumps(line, separators=(",", ":")), flush=True)
