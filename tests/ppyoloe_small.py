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
"""Makes a small PP-YOLOE+ with random weights, in a process of its own: ppdet's
configuration is global.

    python ppyoloe_small.py DIRECTORY

writes DIRECTORY/{nms,apart,joined}, the model exported in each form, and
dygraph.npz, what the network gives before export.
"""

import os
import sys
import zlib

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
SIDE, CLASSES = 96, 6
TRANSFORMS = '''
  - Decode: {}
  - Resize: {target_size: [%d, %d], keep_ratio: False, interp: 2}
  - NormalizeImage: {mean: [0., 0., 0.], std: [1., 1., 1.], norm_type: none}
  - Permute: {}
''' % (SIDE, SIDE)
CONFIG = '''
_BASE_: ['%s/configs/models/ppyoloe_plus_crn_l_80e_coco.yml']
depth_mult: 0.1
width_mult: 0.25
num_classes: %d
weights: none
TestDataset:
  !ImageFolder
    dataset_dir: '%s/demo'
    anno_path: label_list.txt
TestReader:
  inputs_def:
    image_shape: [3, %d, %d]
  sample_transforms:%s
  batch_size: 1
''' % (PROJECT, CLASSES, PROJECT, SIDE, SIDE, TRANSFORMS)
FORMS = {
    'nms': dict(exclude_nms=False, exclude_post_process=False),
    'apart': dict(exclude_nms=True, exclude_post_process=False),
    'joined': dict(exclude_nms=False, exclude_post_process=True),
}


def value_of(name, shape):
    """A random parameter, such that activations stay of one size."""
    chance = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith('_variance'):
        return 1 + 0.1 * chance.rand(*shape)
    if len(shape) <= 1:
        return name.endswith('weight') + 0.1 * chance.randn(*shape)
    # Class scores far apart, so that their order is not a matter of rounding.
    gain = 16 if 'pred_cls' in name else 1
    return gain * chance.randn(*shape) / np.sqrt(np.prod(shape[1:]))


def batch():
    """Two images as the network takes them, of two sizes in their files."""
    chance = np.random.RandomState(1)
    return {
        'image': chance.rand(2, 3, SIDE, SIDE).astype(np.float32),
        'im_shape': np.full((2, 2), SIDE, np.float32),
        'scale_factor': np.array([[0.5, 0.75], [1.25, 1.0]], np.float32),
    }


def main(directory):
    sys.path.insert(0, PROJECT)
    from act import errors, export, runtime, weights
    runtime.import_ppdet()
    import paddle
    from ppdet.core.workspace import load_config, merge_config
    from ppdet.engine import Trainer
    path = os.path.join(directory, 'small.yml')
    with open(path, 'w') as f:
        f.write(CONFIG)
    model = Trainer(load_config(path), mode='test').model
    file = os.path.join(directory, 'small.pdparams')
    paddle.save(
        {
            name:
            value.numpy() if 'proj_conv' in name else value_of(
                name, value.shape).astype(np.float32)
            for name, value in model.state_dict().items()
        }, file)
    weights.load(model, file)
    model.eval()
    model.yolo_head.exclude_nms = True
    with paddle.no_grad():
        found = model({k: paddle.to_tensor(v) for k, v in batch().items()})
    np.savez(os.path.join(directory, 'dygraph.npz'),
             boxes=found['bbox'].numpy(),
             scores=found['bbox_num'].numpy())
    for name, options in FORMS.items():
        export.export_model(path, os.path.join(directory, name),
                            dict(options, weights=file))
    merge_config({'exclude_nms': False, 'exclude_post_process': False})
    try:
        export.export_model(
            path, os.path.join(directory, 'none'), {
                'weights': file,
                'export': {
                    'nms': False
                },
                'exclude_post_process': False
            })
    except errors.UserError as e:
        print('refused: %s' % e)


if __name__ == '__main__':
    main(sys.argv[1])
