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
"""Train a demo model from its recipe. Stopped and started again, it goes on
from the last whole epoch."""

import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from act import cli  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('recipe', help='e.g. demo/recipes/picodet_s.yml')
    parser.add_argument('--phase', help=argparse.SUPPRESS)
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def latest_epoch(directory: str) -> int:
    """Number of the last epoch that was saved whole, -1 if none was."""
    if not os.path.isdir(directory):
        return -1
    epochs = [
        int(name[:-len('.pdopt')]) for name in os.listdir(directory)
        if name.endswith('.pdopt') and name[:-len('.pdopt')].isdigit()
    ]
    # ppdet writes .pdparams, then .pdema, then .pdopt.
    return max(epochs, default=-1)


def train_phase(path: str, seed: int) -> None:
    """Train one phase; ppdet's configuration is global, so it is alone in its
    process."""
    import random

    import numpy as np
    from act import runtime, weights
    runtime.import_ppdet()
    import paddle
    from ops import deformable, depthwise
    from ppdet.core.workspace import load_config
    from ppdet.engine import Trainer
    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)
    paddle.set_device('cpu')
    cfg = load_config(path)
    trainer = Trainer(cfg, 'train')
    # Paddle trains these on a CPU with plain loops: two thirds of an iteration
    # of PicoDet, a third of one of a small RT-DETR.
    print('%d depthwise convolutions and %d deformable attentions accelerated' %
          (depthwise.accelerate(
              trainer.model), deformable.accelerate(trainer.model)))
    directory = os.path.join(cfg.save_dir, cfg.filename)
    epoch = latest_epoch(directory)
    if epoch >= 0:
        print('going on after epoch %d' % epoch)
        trainer.resume_weights(os.path.join(directory, str(epoch)))
    elif cfg.get('pretrain_weights'):
        parts = cfg.get('pretrain_part') or []
        parts = [parts] if isinstance(parts, str) else parts
        print(
            '%d of %d parameters and statistics taken from %s' % (weights.load(
                trainer.model, weights.locate(cfg.pretrain_weights),
                parts), len(trainer.model.state_dict()), cfg.pretrain_weights))
    trainer.train(False)


def save_half(source: str, target: str) -> None:
    """Store weights as fp16."""
    import numpy as np
    from act import pdparams, runtime
    paddle = runtime.import_paddle()
    state = pdparams.read(source)
    for name, value in state.items():
        if value.dtype == np.float32:
            state[name] = value.astype(np.float16)
            if not np.isfinite(state[name]).all():
                raise ValueError('%s does not fit in fp16' % name)
    paddle.save(state, target)


def main() -> None:
    args = parse_args()
    if args.phase:
        train_phase(args.phase, args.seed)
        return
    import shapes
    from act import config, runtime
    runtime.need_whole('demo/train.py')
    recipe = config.read_mapping(args.recipe)
    for settings in recipe['data']:
        shapes.generate(**settings)
    final = None
    for name in recipe['phases']:
        phase = config.beside(args.recipe, name)
        final = os.path.join('output', 'demo_training',
                             os.path.splitext(name)[0], 'model_final.pdparams')
        if not os.path.exists(final):
            subprocess.run([
                sys.executable,
                os.path.abspath(__file__), args.recipe, '--phase', phase,
                '--seed',
                str(args.seed)
            ],
                           check=True)
    target = config.beside(args.recipe, recipe['weights'])
    save_half(final, target)
    print('%s: %.2f MB' % (target, os.path.getsize(target) / 1e6))


if __name__ == '__main__':
    sys.exit(cli.run(main))
