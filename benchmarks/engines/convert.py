# Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
r"""Makes the peers' models: Paddle's to ONNX, and both peers' int8 forms.

    python -m engines.convert onnx MODEL.pdmodel RESULT.onnx IMAGES
    python -m engines.convert onnxruntime_int8 MODEL.onnx RESULT.onnx IMAGES \
        DEPTHWISE
    python -m engines.convert openvino_int8 MODEL.pdmodel RESULT.xml IMAGES \
        DEPTHWISE TYPE

IMAGES is a directory with one .npz a calibration image; DEPTHWISE int8 or fp32,
what depthwise convolutions compute in; TYPE the model's as NNCF knows it, or
empty. Runs in the peers' virtual environment.

OpenVINO reads Paddle's format itself. Its reader takes NMS too, where the ONNX
form has a Squeeze without axes, which the CPU plugin refuses.
"""

import argparse
import glob
import os
import tempfile
import zlib
from typing import Any, Dict, Iterator, List, Set

import numpy as np

# The first with grid_sample, of which deformable attention is made.
OPSET = 16
# Of ONNX Runtime's default set what holds weights, and what may stand between
# two of those. Box decoding, of none of these types, stays in float.
OP_TYPES = ['Conv', 'MatMul', 'Gemm', 'MaxPool', 'GlobalAveragePool', 'Resize']


def to_onnx(model: str, result: str, images: str) -> None:
    """Convert an inference model of Paddle's, for inputs of one shape.

    Args:
        model: its .pdmodel file; the .pdiparams file lies beside it.
        result: the .onnx file.
        images: directory of images; all are of the shape of the first.
    """
    # See act.runtime.prepare: Paddle's own zlib, and protobuf's parser.
    zlib.decompress(zlib.compress(b'bind zlib'))
    os.environ['PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION'] = 'python'
    import onnx
    import paddle2onnx
    from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed
    paddle2onnx.export(model,
                       os.path.splitext(model)[0] + '.pdiparams',
                       result,
                       opset_version=OPSET,
                       verbose=False)
    made = onnx.load(result)
    for name, value in next(_images(images)).items():
        make_input_shape_fixed(made.graph, name, value.shape)
    onnx.save(made, result)


def _images(directory: str) -> Iterator[Dict[str, np.ndarray]]:
    for path in sorted(glob.glob(os.path.join(directory, '*.npz'))):
        with np.load(path) as found:
            yield {k: found[k] for k in found.files}


def onnxruntime_int8(model: str, result: str, images: str,
                     depthwise: str) -> None:
    """Static quantization with Q/DQ nodes: activations u8 (what x86's VNNI
    takes), weights s8 by channel."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):

        def __init__(self) -> None:
            self._left = _images(images)

        def get_next(self) -> Any:
            return next(self._left, None)

    with tempfile.TemporaryDirectory(dir=os.path.dirname(result)) as work:
        prepared = os.path.join(work, 'prepared.onnx')
        # Symbolic shapes of detectors' post-processing are beyond it.
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        groups = {
            node.name: attribute.i
            for node in nodes
            for attribute in node.attribute
            if node.op_type == 'Conv' and attribute.name == 'group'
        }
        left = [name for name, n in groups.items() if n > 1]
        quantize_static(prepared,
                        result,
                        Reader(),
                        quant_format=QuantFormat.QDQ,
                        op_types_to_quantize=OP_TYPES,
                        nodes_to_exclude=left if depthwise == 'fp32' else [],
                        per_channel=True,
                        activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8)


def openvino_int8(model: str, result: str, images: str, depthwise: str,
                  model_type: str) -> None:
    """NNCF's post-training quantization of the operators that it chooses, but
    for what comes after the last layer: with box decoding in int8, PicoDet-S
    loses 17 points of mAP.

    Args:
        model_type: transformer, or empty; see `nncf.ModelType`.
    """
    import nncf
    import openvino
    network = openvino.Core().read_model(model)
    items: List[Dict[str, np.ndarray]] = list(_images(images))
    network.reshape({n: list(v.shape) for n, v in items[0].items()})
    made = nncf.quantize(
        network,
        nncf.Dataset(items),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(
            types=['GroupConvolution'] if depthwise == 'fp32' else [],
            names=_after_layers(network, model_type == 'transformer'),
            # A model may have none.
            validate=False),
        model_type=nncf.ModelType(model_type) if model_type else None,
        subset_size=len(items))
    os.makedirs(os.path.dirname(result), exist_ok=True)
    openvino.save_model(made, result, compress_to_fp16=False)


def _after_layers(network: Any, transformer: bool) -> List[str]:
    """Names of the operators that no layer reads the results of, even through
    others: convolutions, and products if it is a transformer."""
    layers = {'Convolution', 'GroupConvolution'}
    if transformer:
        layers.add('MatMul')
    before: Set[str] = set()
    after = []
    for op in reversed(network.get_ordered_ops()):
        name = op.get_friendly_name()
        readers = [
            target.get_node() for output in op.outputs()
            for target in output.get_target_inputs()
        ]
        if any(r.get_type_name() in layers or r.get_friendly_name() in before
               for r in readers):
            before.add(name)
        elif op.get_type_name() not in layers | {'Constant', 'Result'}:
            after.append(name)
    return after


MAKERS = {
    'onnx': to_onnx,
    'onnxruntime_int8': onnxruntime_int8,
    'openvino_int8': openvino_int8,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('what', choices=sorted(MAKERS))
    parser.add_argument('arguments', nargs='+')
    args = parser.parse_args()
    MAKERS[args.what](*args.arguments)


if __name__ == '__main__':
    main()
