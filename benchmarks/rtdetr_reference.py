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
"""Compare RT-DETR-L with figures read off PaddleDetection's implementation.

Weights and image come from random numbers by a rule, see `rule`, so that no
weights file is needed. The figures are a JSON of the state dict's names and
shapes and an npz of outputs: boxes, and the spatial means of the feature maps.

Example (in deploy/auto_compression):
    python ../../benchmarks/rtdetr_reference.py --params params.json \\
        --outputs seed0.npz
"""

import argparse
import hashlib
import json
import os
import sys
import zlib
from typing import Any, Dict, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

from act import cli  # noqa: E402

CONFIG = os.path.join(PROJECT, 'configs', 'models',
                      'rtdetr_hgnetv2_l_6x_coco.yml')
# What two runs of one network may differ by.
SCORE, PIXEL, MEAN = 1e-4, 0.05, 1e-3


def rule(name: str, shape: Sequence[int], seed: int) -> Any:
    """The values of one entry of the state dict, float32."""
    import numpy as np
    r = np.random.RandomState(
        zlib.crc32(('%d:%s' % (seed, name)).encode()) & 0x7fffffff)
    if name.endswith('_variance'):
        value = 1 + 0.1 * r.rand(*shape)
    elif name.endswith('_mean'):
        value = 0.1 * r.randn(*shape)
    elif len(shape) <= 1:
        value = (1 if name.endswith('weight') else 0) + 0.1 * r.randn(*shape)
    elif len(shape) == 4:
        value = r.randn(*shape) / np.sqrt(np.prod(shape[1:]))
    else:
        value = r.randn(*shape) / np.sqrt(shape[0])
    return np.asarray(value, 'float32')


def build(seed: int = 0, config: str = CONFIG) -> Any:
    """The model of a ppdet configuration, in evaluation, with weights by the
    rule."""
    from act import runtime
    runtime.import_ppdet()
    from ppdet.core.workspace import create, load_config
    model = create(load_config(config).architecture)
    model.eval()
    model.set_state_dict({
        name: rule(name, value.shape, seed)
        for name, value in model.state_dict().items()
    })
    return model


def outputs(model: Any, seed: int = 0, size: int = 640) -> Dict[str, Any]:
    """What the model makes of a random image of size x size pixels: `bbox`
    (queries, 6), `bbox_num` (1,), `backbone_0_mean` and so on (1, channels)."""
    import numpy as np
    import paddle
    image = np.random.RandomState(seed).rand(1, 3, size, size)
    inputs = {
        'image': paddle.to_tensor(image.astype('float32')),
        'im_shape': paddle.to_tensor([[float(size)] * 2]),
        'scale_factor': paddle.to_tensor([[1.0, 1.0]]),
    }
    result = {}

    def keep(what):

        def hook(layer, _, maps):
            for index, value in enumerate(maps):
                result['%s_%d_mean' % (what, index)] = value.mean([2, 3])

        return hook

    hooks = [
        model.backbone.register_forward_post_hook(keep('backbone')),
        model.neck.register_forward_post_hook(keep('encoder'))
    ]
    with paddle.no_grad():
        result.update(model(inputs))
    for hook in hooks:
        hook.remove()
    return {name: value.numpy() for name, value in result.items()}


def difference(found: Any, wanted: Any) -> Dict[str, float]:
    """Of boxes (n, 6), row against row: largest difference of `score` and
    `pixel`, and the number of rows whose `class` differs.

    Rows are put in pairs first, each with one alike: scores that differ in the
    last bit change places.
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment
    apart = np.abs(found[:, None] - wanted)  # (n, n, 6)
    cost = apart[..., 2:].max(-1) + 1e3 * (apart[..., 1] > SCORE) + \
        1e3 * (apart[..., 0] > 0)
    apart = apart[linear_sum_assignment(cost)]
    return {
        'class': int((apart[:, 0] > 0).sum()),
        'score': float(apart[:, 1].max()),
        'pixel': float(apart[:, 2:].max()),
    }


def digest(model: Any) -> str:
    """SHA-256 of the state dict's names and shapes, in order."""
    listed = [[k, list(v.shape)] for k, v in model.state_dict().items()]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def summary(model: Any, seed: int, size: int) -> Dict[str, Any]:
    """What tests compare: small enough to be committed."""
    made = outputs(model, seed, size)
    return {
        'entries': len(model.state_dict()),
        'sha256': digest(model),
        'seed': seed,
        'size': size,
        'means': {
            k: v[0, :4].tolist()
            for k, v in sorted(made.items()) if k.endswith('_mean')
        },
        'bbox': made['bbox'][:8].tolist(),
    }


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--params',
                        required=True,
                        type=cli.path,
                        help='JSON: {name: {shape, dtype}} in order')
    parser.add_argument('--outputs',
                        required=True,
                        type=cli.path,
                        help='npz: the outputs for that seed')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--save_weights',
                        type=cli.path,
                        help='also write the weights as this .pdparams file')
    parser.add_argument('--save_summary',
                        type=cli.path,
                        help='if all agrees, write what tests compare, for an '
                        'image of 256 x 256, as this JSON file')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import numpy as np
    import paddle
    from act.errors import CheckFailed, UserError
    from act.files import write_whole
    try:
        with open(args.params) as f:
            params = json.load(f)
        reference = dict(np.load(args.outputs))
    except (OSError, ValueError) as e:
        raise UserError('--params and --outputs: %s; give a JSON and an npz '
                        'file' % e) from None
    model = build(args.seed)
    state = {k: v.shape for k, v in model.state_dict().items()}
    same = list(state.items()) == [(k, v['shape']) for k, v in params.items()]
    print('state dict: %d entries, names, shapes and order %s' %
          (len(state), 'equal' if same else 'DIFFER'))
    if args.save_weights:
        paddle.save(model.state_dict(), args.save_weights)

    found = outputs(model, args.seed)
    boxes = difference(found['bbox'], reference['bbox'])
    print('boxes: %d rows; scores differ by up to %.2g (allowed %g), corners '
          'by %.2g pixels (%g), classes in %d rows' %
          (len(found['bbox']), boxes['score'], SCORE, boxes['pixel'], PIXEL,
           boxes['class']))
    means = 0.0
    for name in sorted(reference):
        if name.endswith('_mean'):
            error = float(np.abs(found[name] - reference[name]).max())
            print('%s: up to %.2g (%g)' % (name, error, MEAN))
            means = max(means, error)
    good = same and not boxes['class'] and boxes['score'] <= SCORE and \
        boxes['pixel'] <= PIXEL and means <= MEAN and \
        (found['bbox_num'] == reference['bbox_num']).all()
    if not good:
        raise CheckFailed('RT-DETR-L differs from the figures')
    if args.save_summary:
        content = {
            'made':
            'benchmarks/rtdetr_reference.py --save_summary, after '
            'scores agreed to %.1e, corners to %.1e pixels' %
            (boxes['score'], boxes['pixel'])
        }
        content.update(summary(model, args.seed, size=256))
        write_whole(args.save_summary,
                    (json.dumps(content, indent=1) + '\n').encode())


if __name__ == '__main__':
    sys.exit(cli.run(main))
