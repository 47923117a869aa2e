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
"""Makes the peers' models: Paddle's to ONNX, and both peers' int8 forms.

    python -m engines.convert onnx MODEL_DIR RESULT.onnx
    python -m engines.convert onnxruntime_int8 MODEL.onnx RESULT.onnx IMAGES
    python -m engines.convert openvino_int8 MODEL.onnx RESULT.xml IMAGES [TYPE]

IMAGES is a directory with one .npz a calibration image. Runs in the peers'
virtual environment.
"""

import argparse
import glob
import os
import tempfile
import zlib
from typing import Any, Dict, Iterator, List

import numpy as np

# The last that paddle2onnx 1.3.1 writes without warnings about RT-DETR and
# DINO; it knows grid_sample.
OPSET = 16
# Of ONNX Runtime's default set what holds weights, and what stands between two
# of those and would else be computed in float. Box decoding in int8 would make
# boxes coarse: its operators are none of these, but for Add and Concat.
OP_TYPES = ['Conv', 'MatMul', 'Gemm', 'MaxPool', 'GlobalAveragePool', 'Resize']


def to_onnx(model_dir: str, result: str) -> None:
    """Convert an inference model of Paddle's.

    Args:
        model_dir: directory with model.pdmodel and model.pdiparams.
        result: the .onnx file.
    """
    # See act.runtime.prepare: Paddle's own zlib, and protobuf's parser.
    zlib.decompress(zlib.compress(b'bind zlib'))
    os.environ['PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION'] = 'python'
    import paddle2onnx
    paddle2onnx.export(os.path.join(model_dir, 'model.pdmodel'),
                       os.path.join(model_dir, 'model.pdiparams'),
                       result,
                       opset_version=OPSET,
                       verbose=False)


def _images(directory: str) -> Iterator[Dict[str, np.ndarray]]:
    for path in sorted(glob.glob(os.path.join(directory, '*.npz'))):
        with np.load(path) as found:
            yield {k: found[k] for k in found.files}


def onnxruntime_int8(model: str, result: str, images: str) -> None:
    """Static quantization with Q/DQ nodes: activations u8 (what x86's VNNI
    takes), weights s8 by channel."""
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
        quantize_static(prepared,
                        result,
                        Reader(),
                        quant_format=QuantFormat.QDQ,
                        op_types_to_quantize=OP_TYPES,
                        per_channel=True,
                        activation_type=QuantType.QUInt8,
                        weight_type=QuantType.QInt8)


def openvino_int8(model: str,
                  result: str,
                  images: str,
                  model_type: str = '') -> None:
    """NNCF's post-training quantization of the operators that it chooses.

    Args:
        model_type: transformer, or nothing; see `nncf.ModelType`.
    """
    import nncf
    import openvino
    network = openvino.Core().read_model(model)
    names = [i.get_any_name() for i in network.inputs]
    items: List[Dict[str, np.ndarray]] = list(_images(images))
    made = nncf.quantize(
        network,
        nncf.Dataset(items, lambda item: {n: item[n]
                                          for n in names}),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType(model_type) if model_type else None,
        subset_size=len(items))
    os.makedirs(os.path.dirname(result), exist_ok=True)
    openvino.save_model(made, result, compress_to_fp16=False)


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
