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
"""Run by the Python that has Paddle 2.6.2: a small data set, the demo's
detector in float and int8, and what it detects there.

    python reference.py DIRECTORY
"""

import json
import os
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TESTS)

from conftest import YAML, run_script  # noqa: E402

# The model, and the precision that it runs in.
FORMS = (('float', 'fp32'), ('float', 'bf16'), ('int8', 'int8'), ('int8',
                                                                  'fp32'))


def overrides(place):
    """Of the shipped YAML, for what lies in `place`."""
    return {
        'Global': {
            'model_dir': os.path.join(place, 'float')
        },
        'Reader': {
            'dataset_dir': os.path.join(place, 'shapes')
        },
        'Quantization': {
            'strategy': 'ptq',
            'algo': 'avg',
            'calibration_images': 6,
            'weight_rounding': 'nearest'
        }
    }


def detect(place, model, precision, **options):
    """A model run over the validation images.

    Returns:
        (detections of each image, plan).
    """
    from act import config, data, inference, predictor
    from act.program.model import ModelFiles
    settings = config.load(YAML, overrides(place))
    reader = data.open_reader(settings.Reader)
    plan = predictor.plan(ModelFiles(os.path.join(place, model)),
                          settings.Deploy.cpu,
                          precision=precision,
                          threads=2,
                          **options)
    found, = inference.run([predictor.Predictor(plan)], reader.pipeline,
                           reader.val().records)
    return found.detections, plan


def accuracy_of(place, detections):
    """mAP in percent."""
    from act import accuracy, config, data
    settings = config.load(YAML, overrides(place))
    evaluator = accuracy.CocoEvaluator.of(
        data.open_reader(settings.Reader).val())
    evaluator.process(detections)
    return 100 * evaluator.evaluate().map


def main(place):
    import numpy as np
    from act import config, plan
    from act.compress import job
    from demo import shapes
    shapes.generate(os.path.join(place, 'shapes'), train=12, val=24, seed=7)
    done = run_script('export.py', '-c', 'demo/picodet_s_320_lcnet.yml',
                      '--save_dir', os.path.join(place, 'float'))
    assert done.returncode == 0, done.stderr
    job.compress(config.load(YAML, overrides(place)),
                 os.path.join(place, 'int8'), ['test'])
    said = {'passes': sorted(plan.cpu_passes())}
    for model, precision in FORMS:
        name = '%s_%s' % (model, precision)
        detections, made = detect(place, model, precision)
        np.savez(os.path.join(place, name + '.npz'),
                 **{str(d.image_id): d.boxes
                    for d in detections})
        said[name] = {
            'map': accuracy_of(place, detections),
            'rewrites': made.rewrites
        }
    with open(os.path.join(place, 'said.json'), 'w', encoding='utf-8') as f:
        json.dump(said, f)


if __name__ == '__main__':
    main(*sys.argv[1:])
