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
"""Whether a detector's export computes what the network in ppdet does, at
several input sizes.

    python benchmarks/export_equality.py -c MODEL.yml [--weights W] \\
        --sizes 320x416 480x640 [--static]

The exported program runs operator by operator, and with Paddle Inference and
its graph passes (native, without oneDNN), one thread each. Detections are
matched, as scores that nearly tie may change ranks; --unmatched allows Paddle
Inference some without a partner. DINO needs that: queries get their content by
rank, so that two which change places become two others.

Without --weights they are drawn with seed 0. With --static one model is
exported for each size and folded. A miss is exit code 1. Results:
benchmarks/results/export_equality_NAME.json.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(
    0, os.path.join(os.path.dirname(HERE), 'deploy', 'auto_compression'))

# More threads add up in another order. Read when paddle is imported.
os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np  # noqa: E402
from act import cli, runtime  # noqa: E402
from act.config import CpuSection  # noqa: E402
from act.errors import CheckFailed, UserError  # noqa: E402
from act.files import write_whole  # noqa: E402
from act.postprocess import split_outputs  # noqa: E402
from act.predictor import Predictor, plan  # noqa: E402
from act.program.model import Model, ModelFiles, static_mode  # noqa: E402


def size(text):
    """argparse type for HxW."""
    try:
        height, width = (cli.positive(part) for part in text.split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError("'%s' is not HEIGHTxWIDTH" %
                                         text) from None
    return height, width


def parse_args():
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('-c',
                        '--config',
                        required=True,
                        type=cli.path,
                        help='ppdet configuration (YAML)')
    parser.add_argument('--weights', help='.pdparams file or URL')
    parser.add_argument('--sizes',
                        nargs='+',
                        required=True,
                        type=size,
                        metavar='HxW')
    cli.add_flag(parser, '--static', help='export for each size, and fold')
    parser.add_argument('--score_tolerance', type=float, default=1e-4)
    parser.add_argument('--box_tolerance',
                        type=float,
                        default=0.05,
                        help='in pixels (default: 0.05)')
    parser.add_argument('--unmatched',
                        type=int,
                        default=0,
                        help='detections that Paddle Inference may have '
                        'without a partner (default: 0)')
    parser.add_argument('--ppdet_dir',
                        default='',
                        help='PaddleDetection checkout to use')
    parser.add_argument('--work_dir',
                        type=cli.path,
                        help='keep the random weights and the exported models '
                        'there')
    parser.add_argument('--output_json',
                        type=cli.path,
                        help='file for the result')
    cli.add_overrides(parser, 'the ppdet configuration')
    return parser.parse_args()


def random_weights(model, feed, seed=0):
    """A model's state, numpy arrays by name. Nothing in it is constant, and
    batch norm has the statistics of what it gets: as made, a detector says the
    same of every image."""
    import paddle
    draw = np.random.RandomState(seed)
    state = {}
    for name, value in model.state_dict().items():
        value = np.array(value)
        if value.size > 1 and np.ptp(value) == 0:
            scale = 0.1 if value.ndim < 2 else 0.3 * np.prod(
                value.shape[1:])**-0.5
            value += (scale * draw.randn(*value.shape)).astype(value.dtype)
        if name.endswith('_variance'):
            value = np.abs(value)
        state[name] = value
    model.set_state_dict(state)
    model.eval()
    norms = [
        part for part in model.sublayers()
        if isinstance(part, paddle.nn.layer.norm._BatchNormBase)
    ]
    for norm in norms:
        norm.training, norm._momentum = True, 0.0
    with paddle.no_grad():
        model({k: paddle.to_tensor(v) for k, v in feed.items()})
    return {k: np.array(v) for k, v in model.state_dict().items()}


def feed_of(height, width, seed=0):
    """Inputs that a detector may ask for; the scale tells height from width."""
    draw = np.random.RandomState(seed)
    # Normalised pixels, smooth in part, as pictures are.
    coarse = draw.randn(1, 3, height // 16 + 1, width // 16 + 1)
    image = np.kron(coarse, np.ones(
        (16,
         16)))[:, :, :height, :width] + 0.3 * draw.randn(1, 3, height, width)
    return {
        'image': image.astype(np.float32),
        'im_shape': np.array([[height, width]], np.float32),
        'scale_factor': np.array([[0.8, 1.25]], np.float32),
    }


def match(ours, theirs, score_tolerance, box_tolerance):
    """Compare two sets of detections of one image.

    Args:
        ours, theirs: (n, 6): class, score, x1, y1, x2, y2.
        score_tolerance, box_tolerance: what pairs may differ by; the latter in
            pixels.

    Returns:
        dict: `boxes`; the largest difference of `score` and `box` among pairs;
        `moved`, pairs whose ranks differ; `at_the_cut`, detections without a
        partner whose score is that of the last one kept; `unmatched`, those
        that nothing excuses.
    """
    from scipy.optimize import linear_sum_assignment
    result = {
        'boxes': len(ours),
        'score': 0.0,
        'box': 0.0,
        'moved': 0,
        'at_the_cut': 0
    }
    alone = [], []
    for label in np.union1d(ours[:, 0], theirs[:, 0]):
        rows = [np.flatnonzero(side[:, 0] == label) for side in (ours, theirs)]
        a, b = ours[rows[0]], theirs[rows[1]]
        score = np.abs(a[:, None, 1] - b[None, :, 1])
        box = np.abs(a[:, None, 2:] - b[None, :, 2:]).max(-1)
        cost = np.maximum(score / score_tolerance, box / box_tolerance)
        for i, j in zip(*linear_sum_assignment(np.minimum(cost, 1e3))):
            if cost[i, j] <= 1:
                result['score'] = max(result['score'], float(score[i, j]))
                result['box'] = max(result['box'], float(box[i, j]))
                result['moved'] += int(rows[0][i] != rows[1][j])
                rows[0][i] = rows[1][j] = -1
        for found, left in zip(alone, rows):
            found += [r for r in left if r >= 0]
    for side, found in zip((ours, theirs), alone):
        last = side[:, 1].min() if len(side) else 0
        result['at_the_cut'] += int((side[found, 1] - last
                                     <= score_tolerance).sum())
    result['unmatched'] = len(alone[0]) + len(alone[1]) - result['at_the_cut']
    return result


def main():
    args = parse_args()
    paddle = runtime.import_paddle()
    runtime.import_ppdet(args.ppdet_dir or None)
    name = os.path.splitext(os.path.basename(args.config))[0]
    rows = []
    with work_folder(args.work_dir) as folder:
        model, file = network(args, folder)
        directory = None
        for height, width in args.sizes:
            row = {'size': [height, width]}
            if args.static or not directory:
                directory = os.path.join(folder, '%dx%d' % (height, width))
                folded = export(args, file, directory,
                                (height, width) if args.static else None)
                if folded:
                    row['folded'] = folded
            feed = feed_of(height, width)
            with paddle.no_grad():
                wanted = model({
                    k: paddle.to_tensor(v)
                    for k, v in feed.items()
                })
            for way, run in (('program', run_program), ('inference',
                                                        run_inference)):
                start = time.perf_counter()
                found, _ = split_outputs(run(directory, feed), directory)
                row[way] = match(found, np.asarray(wanted['bbox']),
                                 args.score_tolerance, args.box_tolerance)
                # Equal outputs prove nothing if they are all the same.
                row[way]['spread'] = [
                    float(np.ptp(found[:, 1])),
                    float(np.ptp(found[:, 2:], 0).max())
                ] if len(found) else [0.0, 0.0]
                row[way]['seconds'] = round(time.perf_counter() - start, 2)
                print('%dx%d %-9s  %s' % (height, width, way, '  '.join(
                    '%s %s' % (k, '%.3g and %.3g px' %
                               tuple(v) if k == 'spread' else '%.3g' % v)
                    for k, v in row[way].items())),
                      flush=True)
            if 'folded' in row:
                print('    ' + row['folded'])
            rows.append(row)
    record = {
        'model': name,
        'weights': args.weights or 'random, seed 0',
        'static': args.static,
        'tolerances': [args.score_tolerance, args.box_tolerance],
        'environment': runtime.environment(),
        'sizes': rows
    }
    path = args.output_json or os.path.join(
        HERE, 'results', 'export_equality_%s%s.json' %
        (name, '_static' * args.static))
    write_whole(path, (json.dumps(record, indent=2) + '\n').encode())
    print('written: %s' % path)
    bad = [
        '%dx%d' % tuple(r['size']) for r in rows
        if r['program']['unmatched'] > 0
        or r['inference']['unmatched'] > args.unmatched
    ]
    flat = [
        '%dx%d' % tuple(r['size']) for r in rows
        if r['program']['spread'][0] <= 10 *
        args.score_tolerance or r['program']['spread'][1] <= 10 *
        args.box_tolerance
    ]
    if flat:
        raise CheckFailed('detections that are all alike, so that nothing is '
                          'shown, at %s: give --weights' % ', '.join(flat))
    if bad:
        raise CheckFailed('detections without a partner at ' + ', '.join(bad))


@contextlib.contextmanager
def work_folder(path):
    """A directory that stays, or one that goes."""
    if path:
        os.makedirs(path, exist_ok=True)
        yield path
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield folder


def run_program(directory, feed):
    """Outputs of a model as it was saved, without graph passes."""
    paddle = runtime.import_paddle()
    model = Model.load(ModelFiles(directory))
    with static_mode(paddle):
        return paddle.static.Executor(paddle.CPUPlace()).run(
            model.program,
            feed={n: feed[n]
                  for n in model.inputs()},
            fetch_list=model.outputs(),
            scope=model.scope)


def run_inference(directory, feed):
    """Outputs of a model under Paddle Inference, without oneDNN."""
    made = plan(ModelFiles(directory),
                CpuSection(),
                precision='fp32',
                mkldnn=False,
                threads=1)
    return Predictor(made).run(feed)


def network(args, folder):
    """The network as ppdet makes it, in evaluation mode, and the file of its
    weights."""
    import paddle
    from act import weights
    from ppdet.core.workspace import create, load_config, merge_config
    cfg = load_config(args.config)
    merge_config(cli.parse_overrides(args.opt))
    paddle.set_device('cpu')
    paddle.seed(0)
    model = create(cfg.architecture)
    if args.weights:
        file = weights.locate(args.weights)
    else:
        file = os.path.join(folder, 'random.pdparams')
        paddle.save(random_weights(model, feed_of(*args.sizes[0])), file)
    weights.load(model, file)
    model.eval()
    return model, file


def export(args, file, directory, fixed):
    """Export in a process of its own: a ppdet configuration can be made a
    network of only once. Returns what folding did."""
    command = [
        sys.executable,
        os.path.join(os.path.dirname(HERE), 'deploy', 'auto_compression',
                     'export.py'), '-c', args.config, '--save_dir', directory,
        '--ppdet_dir', args.ppdet_dir
    ]
    if fixed:
        command += ['--input_size', *map(str, fixed)]
    # The last -o of a command line counts.
    command += ['-o', *args.opt, 'weights=' + file]
    done = subprocess.run(command,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          universal_newlines=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ['no message'])[-1]
        raise UserError(said.replace('error: ', '', 1))
    return next(
        (line[len('folded: '):]
         for line in done.stdout.splitlines() if line.startswith('folded: ')),
        None)


if __name__ == '__main__':
    sys.exit(cli.run(main))
