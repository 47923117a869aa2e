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
"""The engines that a worker can hold. Each is loaded for one model, takes one
image's arrays, and is run; what is timed is `compute` alone."""

import collections
import os
from typing import Any, Dict, Iterable, List, Sequence

import numpy as np

Arrays = Dict[str, np.ndarray]


class OnnxRuntime:
    """ONNX Runtime's CPU provider; int8 is a model with Q/DQ nodes."""

    def __init__(self, model: str, precision: str, threads: int) -> None:
        """
        Args:
            model: an .onnx file.
            precision: fp32 or int8, which the file holds already.
            threads: of one operator; operators run one after another.
        """
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Else its threads spin on while another engine is timed.
        options.add_session_config_entry('session.force_spinning_stop', '1')
        self._session = onnxruntime.InferenceSession(
            model, options, providers=['CPUExecutionProvider'])
        self._binding = self._session.io_binding()
        self.inputs = [i.name for i in self._session.get_inputs()]
        self.version = 'onnxruntime %s' % onnxruntime.__version__

    def feed(self, arrays: Arrays) -> None:
        self._binding.clear_binding_inputs()
        for name in self.inputs:
            self._binding.bind_cpu_input(name, arrays[name])
        # Outputs of unknown shape are made anew by each run.
        self._binding.clear_binding_outputs()
        for output in self._session.get_outputs():
            self._binding.bind_output(output.name)

    def compute(self) -> None:
        self._session.run_with_iobinding(self._binding)

    def outputs(self) -> List[np.ndarray]:
        return self._binding.copy_outputs_to_cpu()

    def evidence(self) -> List[str]:
        """Nothing: it does not say which kernels it chose."""
        return []


class OpenVino:
    """OpenVINO's CPU plugin; int8 is a model that NNCF quantized."""

    def __init__(self, model: str, precision: str, threads: int,
                 shapes: Dict[str, Sequence[int]]) -> None:
        """
        Args:
            model: a .pdmodel or .xml file.
            precision: fp32 or int8 (the rest in fp32), bf16, or int8_bf16 (the
                rest in bf16, as it does by itself where the CPU has it).
            threads: how many.
            shapes: of the inputs, by name, for all images.
        """
        import openvino
        core = openvino.Core()
        network = core.read_model(model)
        network.reshape({n: list(s) for n, s in shapes.items()})
        self._model = core.compile_model(
            network, 'CPU', {
                'INFERENCE_NUM_THREADS': threads,
                'PERFORMANCE_HINT': 'LATENCY',
                'INFERENCE_PRECISION_HINT':
                'bf16' if 'bf16' in precision else 'f32',
                'ENABLE_CPU_PINNING': False,
            })
        self._request = self._model.create_infer_request()
        self.inputs = [i.get_any_name() for i in self._model.inputs]
        self.version = 'openvino %s' % openvino.__version__

    def feed(self, arrays: Arrays) -> None:
        # Copied: the plugin owns its memory, as Paddle does.
        for name in self.inputs:
            self._request.get_tensor(name).data[:] = arrays[name]

    def compute(self) -> None:
        self._request.infer()

    def outputs(self) -> List[np.ndarray]:
        return [
            np.array(self._request.get_tensor(o).data)
            for o in self._model.outputs
        ]

    def evidence(self) -> List[str]:
        """Kernels that it chose, see `counted`."""
        return counted(
            str(op.get_rt_info()['primitiveType'].value)
            for op in self._model.get_runtime_model().get_ops()
            if 'primitiveType' in op.get_rt_info())


class Paddle:
    """Paddle Inference with oneDNN, through this project."""

    def __init__(self, model: str, precision: str, threads: int, config: str,
                 rewrite: bool) -> None:
        """
        Args:
            model: directory of the model.
            precision: fp32, bf16 or int8.
            threads: how many.
            config: the compression YAML.
            rewrite: whether the program is rewritten to be faster.
        """
        from act import config as configuration
        from act import predictor, runtime
        runtime.import_paddle()
        self._predictor = predictor.Predictor(
            paddle_plan(configuration.load(config), model, precision, threads,
                        rewrite))
        self.inputs = self._predictor.inputs
        self.version = 'paddle %s' % runtime.version('paddlepaddle')

    def feed(self, arrays: Arrays) -> None:
        self._predictor.set_inputs(arrays)

    def compute(self) -> None:
        self._predictor.compute()

    def outputs(self) -> List[np.ndarray]:
        return self._predictor.outputs()

    def evidence(self) -> List[str]:
        """Nothing: oneDNN's log would slow what is timed."""
        return []

    def layers(self, arrays: Arrays) -> Dict[str, Any]:
        """Layers that shall run in int8 and that do, see `act.int8_check`, and
        how many places each rewrite changed."""
        from act import int8_check
        plan = self._predictor.plan
        count = int8_check.run(plan, arrays)
        return {
            'int8_asked':
            int8_check.expected(plan) +
            int8_check.expected_linear(plan) if plan.precision == 'int8' else 0,
            'int8_ran':
            count.int8 + count.linear_int8,
            'bf16_convs_ran':
            count.bf16,
            'fp32_convs_ran':
            count.fp32,
            'rewrites':
            dict(plan.rewrites),
        }


def paddle_plan(settings: Any, model: str, precision: str, threads: int,
                rewrite: bool) -> Any:
    """What `Paddle` runs: an `act.predictor.Plan`.

    Args:
        settings: an `act.config.Settings`.
        model, precision, threads, rewrite: see `Paddle`.
    """
    from act import predictor
    from act.program import faster
    from act.program.model import ModelFiles
    return predictor.plan(ModelFiles.named(settings.Global, model),
                          settings.Deploy.cpu,
                          precision=precision,
                          mkldnn=True,
                          threads=threads,
                          nms=settings.own_nms,
                          input_list=settings.Global.input_mapping,
                          where=settings.path,
                          rewrites=faster.ALL if rewrite else ())


KINDS = {'paddle': Paddle, 'onnxruntime': OnnxRuntime, 'openvino': OpenVino}


def counted(names: Iterable[str]) -> List[str]:
    """Names with their number before them, the most frequent first."""
    return [
        '%d %s' % (n, name)
        for name, n in collections.Counter(names).most_common()
    ]


def save_outputs(path: str, outputs: Sequence[np.ndarray]) -> None:
    """Write outputs, in their order, to an .npz file."""
    np.savez(path, *outputs)


def load_outputs(path: str) -> List[np.ndarray]:
    """Read what `save_outputs` wrote, and remove it."""
    with np.load(path) as found:
        outputs = [found['arr_%d' % i] for i in range(len(found.files))]
    os.remove(path)
    return outputs
