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
"""Records as a report takes them, of a model that was never run."""

import os

import numpy as np
from act import draw, results, runtime

CLASSES = ['circle', 'square', 'star']


def evaluation(**fields):
    """A record of paddle_inference_eval.py."""
    made = results.new_record(
        'paddle_inference_eval.py',
        ['paddle_inference_eval.py', '--model_path', 'output/detector'])
    made.update(runtime.environment())
    made.update(model_name='detector',
                model_dir='inference_model/detector',
                model_hash='0' * 64,
                config='configs/detector.yml',
                precision='fp32',
                device='CPU',
                backend='onednn',
                batch_size=1,
                threads=1,
                dataset='annotations.json',
                num_images=200,
                map=60.891,
                ap50=78.97,
                per_class=dict(zip(CLASSES, (50.5, 60.25, 71.0))),
                latency_stable=True,
                model_size_mb=5.125,
                peak_memory_mib=543.0,
                decode_ms=1.0,
                preprocess_ms=2.0,
                inference_ms=30.0,
                postprocess_ms=0.25)
    made.update(latency(30.0))
    made.update(fields)
    return made


def latency(median):
    """Its fields, of times around a median."""
    times = [median * (0.8 + 0.004 * at) for at in range(101)]
    return dict(latency_ms_percentiles=times,
                latency_ms_mean=median,
                latency_ms_p50=times[50],
                latency_ms_p90=times[90],
                latency_ms_p99=times[99],
                latency_ms_min=times[0],
                latency_ms_max=times[100],
                latency_runs=100)


def compared(**fields):
    """One of an int8 model that was compared with the former."""
    made = evaluation(model_dir='output/detector',
                      precision='int8',
                      map=60.732,
                      per_class=dict(zip(CLASSES, (50.75, 58.25, 71.0))),
                      model_size_mb=2.5,
                      reference_model_dir='inference_model/detector',
                      map_difference=-0.159,
                      map_difference_low=-0.4,
                      map_difference_high=0.081,
                      agreement_ap=97.04,
                      latency_ratio=0.501,
                      size_ratio=0.488,
                      int8_convs_expected=65,
                      int8_convs_ran=65,
                      changed_images=['000001.jpg', '000002.png'],
                      pictures=['pictures/000001.jpg', 'pictures/000002.png'],
                      **latency(15.0))
    made.update(fields)
    return made


def compression(**fields):
    """A record of run.py."""
    made = results.new_record('run.py', ['run.py', '--config_path', 'd.yml'])
    made.update(runtime.environment())
    made.update(model_name='detector',
                model_dir='output/detector',
                reference_model_dir='inference_model/detector',
                strategy='qat',
                algo='hist',
                train_iterations=3,
                best_iteration=2,
                train_seconds=12.5,
                final_loss=0.25)
    made.update(fields)
    return made


LOG = ('loss,iteration,learning_rate,images_per_second\n'
       '0.5,1,0.01,3.0\n0.375,2,0.01,3.1\n0.25,3,0.001,2.9\n')


def save(record, *place):
    """Write a record, and the pictures that it names. Returns its path."""
    path = os.path.join(*map(str, place))
    results.write_json(record, path)
    for at, name in enumerate(record.get('pictures') or ()):
        picture = np.full((40, 60 + at, 3), 60 * at, np.uint8)
        draw.write_image(os.path.join(os.path.dirname(path), name), picture)
    return path


def save_all(place):
    """Below a directory: an evaluation with its reference, one in bf16, and
    the compression. Returns the paths of the three rows, fp32, bf16, int8."""
    made = [
        save(evaluation(), place, 'int8', 'record_reference.json'),
        save(
            evaluation(precision='bf16',
                       map=60.81,
                       float_precision='bf16',
                       **latency(20.0)), place, 'bf16', 'record.json'),
        save(compared(), place, 'int8', 'record.json')
    ]
    path = save(compression(), place, 'detector', 'record.json')
    with open(os.path.join(os.path.dirname(path), 'train_log.csv'),
              'w',
              encoding='utf-8') as f:
        f.write(LOG)
    return made
