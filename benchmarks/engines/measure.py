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
"""Runs the engines of one model in turn on the same images."""

import os
import sys
import time
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence

import limits
import numpy as np
from act import data, latency
from act.errors import UserError
from tqdm import tqdm

from . import engine
from .models import BENCHMARKS, PROJECT
from .protocol import EngineError, Worker


@dataclass(frozen=True)
class Variant:
    """An engine in a precision.

    model: the method of `models.Models` that makes what it takes.
    precision: what it computes in, as the engine of `engine.KINDS` takes it.
    """
    name: str
    kind: str
    model: str
    precision: str
    rewrite: Optional[bool] = None  # for kind paddle

    @property
    def peer(self) -> bool:
        return self.kind != 'paddle'


REFERENCE = Variant('paddle fp32', 'paddle', 'float_model', 'fp32', False)
VARIANTS = (
    REFERENCE,
    Variant('ours fp32', 'paddle', 'float_model', 'fp32', True),
    Variant('ours bf16', 'paddle', 'float_model', 'bf16', True),
    Variant('ours int8', 'paddle', 'int8_model', 'int8', True),
    Variant('onnxruntime fp32', 'onnxruntime', 'onnx_model', 'fp32'),
    Variant('onnxruntime int8', 'onnxruntime', 'onnxruntime_int8', 'int8'),
    Variant('openvino fp32', 'openvino', 'float_file', 'fp32'),
    Variant('openvino bf16', 'openvino', 'float_file', 'bf16'),
    Variant('openvino int8', 'openvino', 'openvino_int8', 'int8'),
    # What it does by itself on a CPU with bf16.
    Variant('openvino int8+bf16', 'openvino', 'openvino_int8', 'int8_bf16'),
)
# With more than one thread, OpenMP's threads wait awake for the next work so
# long (KMP_BLOCKTIME, 200 ms) after a run, and would disturb the next engine.
PAUSE = 0.3


class Images:
    """Images as the model's inputs, in files that every worker reads."""

    def __init__(self,
                 directory: str,
                 reader: data.Reader,
                 records: Sequence[data.ImageRecord],
                 inputs: List[str],
                 mapping: Optional[Dict[str, str]],
                 one_size: bool = True) -> None:
        """
        Args:
            directory: where the files are written.
            reader: whose transforms are used.
            records: the images.
            inputs, mapping: see `data.feed`.
            one_size: whether all must become one size.

        Raises:
            UserError: they become different sizes, and must not.
        """
        os.makedirs(directory, exist_ok=True)
        self.paths: List[str] = []
        self.shapes: Dict[str, Sequence[int]] = {}
        self.batches: List[Dict[str, np.ndarray]] = []
        for index, record in enumerate(records):
            batch = reader.pipeline([record])
            path = os.path.join(directory, '%05d.npz' % index)
            arrays = data.feed(batch, inputs, mapping, reader.file)
            np.savez(path, **arrays)
            shapes = {n: list(a.shape) for n, a in arrays.items()}
            if one_size and self.shapes not in ({}, shapes):
                raise UserError(
                    '%s: engines are compared on images of one size, found '
                    '%s and %s; give the row a reader whose Resize makes one' %
                    (reader.file, self.shapes, shapes))
            self.shapes = shapes
            self.paths.append(path)
            # Post-processing wants all but the pixels.
            self.batches.append({
                k: v
                for k, v in batch.items() if k != 'image'
            })

    def __len__(self) -> int:
        return len(self.paths)


class Runner:
    """A variant's worker, what it measured and what it found."""

    def __init__(self, variant: Variant, python: str, directory: str,
                 arguments: Mapping[str, Any], threads: int) -> None:
        """
        Args:
            variant: which.
            python: interpreter of its virtual environment.
            directory: for logs and outputs.
            arguments: of the engine.
            threads: how many.

        Raises:
            EngineError: the engine cannot load the model.
        """
        self.variant = variant
        self.wall: List[float] = []
        self.cpu: List[float] = []
        self.outputs: Dict[int, List[np.ndarray]] = {}
        name = variant.name.replace(' ', '_')
        self._file = os.path.join(directory, name + '.npz')
        env = limits.environment(threads)
        env['PYTHONPATH'] = os.pathsep.join([BENCHMARKS, PROJECT])
        self._worker = Worker([python, '-m', 'engines.worker'], env,
                              os.path.join(directory, name + '.log'))
        try:
            self.loaded = self._worker.ask('load',
                                           kind=variant.kind,
                                           **arguments)
        except EngineError:
            self.close()
            raise

    def run(self, index: int, path: str, timed: bool) -> None:
        """One image; its outputs are kept the first time.

        Raises:
            EngineError: it failed.
        """
        self._worker.ask('feed', path=path)
        found = self._worker.ask('run')
        if timed:
            self.wall.append(found['wall_ms'])
            self.cpu.append(found['cpu_ms'])
        if index not in self.outputs:
            self._worker.ask('outputs', path=self._file)
            self.outputs[index] = engine.load_outputs(self._file)

    def evidence(self) -> List[str]:
        """Kernels, as far as the engine says."""
        try:
            return self._worker.ask('evidence')
        except EngineError:  # it ran; what it says is beside the point
            return []

    def figures(self) -> Dict[str, Any]:
        """Of the timed runs, in ms."""
        found = latency.summarize(self.wall, self.cpu, warmup=0)
        return {
            'p50_ms': found.p50,
            'p10_ms': float(np.percentile(self.wall, 10)),
            'p90_ms': found.p90,
            'cpu_ms': found.cpu_ms,
            'runs': found.runs,
            'stable': found.stable,
            'load_seconds': self.loaded['seconds'],
            'version': self.loaded['version'],
        }

    def layers(self, path: str) -> Dict[str, Any]:
        """What the layers of one image's run computed in.

        Raises:
            EngineError: it cannot tell.
        """
        return self._worker.ask('layers', path=path)

    def close(self) -> None:
        self._worker.close()


def python_of(variant: Variant, peers_python: str) -> str:
    """The interpreter that a variant's worker runs in."""
    return peers_python if variant.peer else sys.executable


def rounds(runners: List[Runner], images: Images, *, warmup: int, runs: int,
           seconds: float, threads: int, title: str) -> Dict[str, str]:
    """Run all engines in turn, image by image; the order alternates.

    Args:
        runners: those that fail are closed and taken out of the list.
        images: taken again from the first when all were seen.
        warmup: rounds not timed.
        runs: rounds timed; at least all images are seen.
        seconds: no further round begins after these, unless an engine has
            not been timed three times.
        threads: of each engine.
        title: of the progress bar.

    Returns:
        {variant's name: why it failed}.
    """
    errors: Dict[str, str] = {}
    start = time.monotonic()
    for at in tqdm(range(warmup + max(runs, len(images))),
                   desc=title,
                   unit='round'):
        if at >= warmup + 3 and time.monotonic() - start > seconds:
            break
        index = at % len(images)
        for runner in list(reversed(runners) if at % 2 else runners):
            if threads > 1:
                time.sleep(PAUSE)
            try:
                runner.run(index, images.paths[index], at >= warmup)
            except EngineError as e:
                errors[runner.variant.name] = str(e)
                runner.close()
                runners.remove(runner)
    return errors
