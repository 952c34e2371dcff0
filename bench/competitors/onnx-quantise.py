"""Writes an ONNX file again with matrices of 8 bits (dynamic: the other operand is rounded at run time), or of 4 in blocks of 32.
onnx-quantise.py int8|int4 FROM TO"""

import sys

bits, source, target = sys.argv[1:]
if bits == "int8":
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(source, target, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
else:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantiser = MatMulNBitsQuantizer(onnx.load(source), block_size=32, is_symmetric=True, accuracy_level=4)
    quantiser.process()
    quantiser.model.save_model_to_file(target)
