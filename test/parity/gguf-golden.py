"""Makes gguf-golden.gguf with the Python package `gguf` (0.19.0, numpy 2.4): the oracle of src/io/gguf.test.ts.

Run: python test/parity/gguf-golden.py   (pip install gguf==0.19.0)
`source` holds values; `q.<TYPE>` their blocks as the package quantises them, or random blocks for the types it cannot quantise;
`f.<TYPE>` what the package makes of those blocks.
"""
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFWriter, quants

random = np.random.default_rng(7)
source = random.standard_normal((3, 256)).astype(np.float32)
source[0, :32] = 0
source[1, 5] = 100

writer = GGUFWriter(str(Path(__file__).with_name("gguf-golden.gguf")), "llama")
writer.add_uint32("golden.u32", 4_000_000_000)
writer.add_int32("golden.i32", -5)
writer.add_uint64("golden.u64", 2**63)
writer.add_float32("golden.f32", 0.5)
writer.add_bool("golden.bool", True)
writer.add_string("golden.string", "注意力 𝄞")
writer.add_array("golden.strings", ["a", "", "é"])
writer.add_array("golden.ints", [1, 2, -3])
writer.add_tensor("source", source)
for kind in (T.Q8_0, T.Q4_0):
    blocks = quants.quantize(source, kind)
    writer.add_tensor(f"q.{kind.name}", blocks, raw_dtype=kind)
    writer.add_tensor(f"f.{kind.name}", quants.dequantize(blocks, kind).astype(np.float32))
kinds = ((T.Q4_1, 20, (0, 2)), (T.Q4_K, 144, (0, 2)), (T.Q6_K, 210, (208,)), (T.Q5_0, 22, (0,)), (T.Q5_1, 24, (0, 2)))
for kind, size, halves in kinds + ((T.Q2_K, 84, (80, 82)), (T.Q3_K, 110, (108,)), (T.Q5_K, 176, (0, 2))):
    count = 3 * 256 // (32 if size < 32 else 256)
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for at in halves:
        blocks[:, at : at + 2] = random.standard_normal(count).astype("<f2").view(np.uint8).reshape(count, 2)
    blocks = blocks.reshape(3, -1)
    writer.add_tensor(f"q.{kind.name}", blocks, raw_dtype=kind)
    writer.add_tensor(f"f.{kind.name}", quants.dequantize(blocks, kind).astype(np.float32))
half = source.astype(np.float16)
writer.add_tensor("q.F16", half)
writer.add_tensor("f.F16", half.astype(np.float32))
bf16 = quants.quantize(source, T.BF16)
writer.add_tensor("q.BF16", bf16, raw_dtype=T.BF16)
writer.add_tensor("f.BF16", quants.dequantize(bf16, T.BF16).astype(np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
