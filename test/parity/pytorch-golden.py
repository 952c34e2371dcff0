"""Makes pytorch-golden.zip.pt and pytorch-golden.legacy.pt with torch.save: the oracle of src/io/pytorch.test.ts.

Run: python test/parity/pytorch-golden.py   (pip install torch; the version is printed and noted in the test)
"""
from collections import OrderedDict
from pathlib import Path

import torch

base = torch.arange(24, dtype=torch.float32)
model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
with torch.no_grad():
    for i, p in enumerate(model.parameters()):
        p.copy_(torch.arange(p.numel()).reshape(p.shape) + 10 * i)
state = OrderedDict(model.state_dict())
state._metadata = model.state_dict()._metadata
content = {
    "model": state,
    "parameter": model[0].weight,
    "transposed": base.reshape(4, 6).t(),
    "slice": base.reshape(4, 6)[1:3, 2:5],
    "scalar": torch.tensor(-7),
    "empty": torch.zeros(0, 3),
    "types": [torch.tensor([1, -2, 3], dtype=d) for d in (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8)],
    "bytes": torch.tensor([1, 255], dtype=torch.uint8),
    "bools": torch.tensor([True, False]),
    "epoch": 3,
    "lr": 1e-3,
    "name": "注意力",
    "betas": (0.9, 0.99),
    "none": None,
}
here = Path(__file__).parent
torch.save(content, here / "pytorch-golden.zip.pt")
torch.save(content, here / "pytorch-golden.legacy.pt", _use_new_zipfile_serialization=False)
print("torch", torch.__version__)
