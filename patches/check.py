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
"""Check the patches against a PaddleDetection checkout.

    python patches/check.py --ppdet CHECKOUT [--branch release/2.7]

For each branch: its Python files go to a temporary repository (the checkout is
only read), the smallest call that shows the fault runs there, `git am` applies
the patch, and the call runs again. It must fail before and pass after. Files
for which no patch is needed must pass as they are. Exit code 1 on a miss.
"""

import inspect
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(
    0, os.path.join(os.path.dirname(HERE), 'deploy', 'auto_compression'))

from act import cli, runtime  # noqa: E402
from act.errors import CheckFailed, UserError  # noqa: E402

# Patch, branches, the calls that show the fault.
PATCHES = (
    ('0001-dino-stack-0d-sizes.patch', ('release/2.6', 'release/2.6.1'),
     ('dino', )),
    ('0002-group-detr-mask-dino-stack-0d-sizes.patch',
     ('release/2.6.1', 'release/2.7'), ('group_detr', 'mask_dino')),
    ('0003-group-detr-mask-dino-sizes-from-shape.patch',
     ('release/2.7.1', 'develop'), ('group_detr', 'mask_dino')),
)
# Looked at, and free of the fault.
SOUND = (
    ('dino', ('release/2.7', 'release/2.7.1', 'develop')),
    ('deformable', ('release/2.6', 'release/2.6.1', 'release/2.7',
                    'release/2.7.1', 'develop')),
)
CLASSES = {
    'dino': 'DINOTransformer',
    'deformable': 'DeformableTransformer',
    'group_detr': 'GroupDINOTransformer',
    'mask_dino': 'MaskDINO',
}
# What is small differs in name from release to release.
SMALL = {
    'num_classes': 3,
    'hidden_dim': 32,
    'num_queries': 10,
    'nhead': 2,
    'num_encoder_layers': 1,
    'num_decoder_layers': 1,
    'dim_feedforward': 16,
    'enc_dim_feedforward': 16,
    'dec_dim_feedforward': 16,
    'num_levels': 3,
    'num_feature_levels': 3,
}
CHANNELS = ('in_feats_channel', 'backbone_feat_channels',
            'backbone_num_channels')
TOLERANCE = 1e-5


def call(name):
    """Run a small transformer and export it, with the ppdet on the path.

    Returns:
        {'dygraph', 'dynamic', 'fixed': '' or the error in one line}; the
        latter two are exports by the sizes of their inputs.
    """
    paddle = runtime.import_paddle()
    import importlib
    module = importlib.import_module(
        'ppdet.modeling.transformers.%s_transformer' % name)
    kind = getattr(module, CLASSES[name])
    known = inspect.signature(kind.__init__).parameters
    arguments = {k: v for k, v in SMALL.items() if k in known}
    maps = [(8, 16), (16, 8), (32, 4)]
    if name == 'mask_dino':
        # It takes the level below too, for the masks.
        maps = [(8, 32)] + maps
    arguments[next(c for c in CHANNELS if c in known)] = [c for c, _ in maps]
    paddle.seed(0)
    network = kind(**arguments)
    network.eval()
    inputs = {
        'f%d' % i: paddle.rand([1, c, s, s])
        for i, (c, s) in enumerate(maps)
    }

    class Wrapped(paddle.nn.Layer):

        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, inputs):
            out = self.network([inputs[k] for k in sorted(inputs)])
            return [t for t in out if t is not None]

    wrapped = Wrapped()
    wrapped.eval()
    result, wanted = {}, None
    try:
        with paddle.no_grad():
            wanted = flat(wrapped(inputs))
        result['dygraph'] = ''
    except Exception as e:
        result['dygraph'] = one_line(e)
    for sizes in ('dynamic', 'fixed'):
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, 'model')
                spec = {
                    k:
                    paddle.static.InputSpec(v.shape if sizes == 'fixed' else
                                            [None, v.shape[1], None, None],
                                            name=k)
                    for k, v in inputs.items()
                }
                paddle.jit.save(
                    paddle.jit.to_static(wrapped, input_spec=[spec]), path)
                found = flat(
                    paddle.jit.load(path)(*[inputs[k] for k in sorted(inputs)]))
            apart = float('inf') if wanted is None else max(
                float((a - b).abs().max()) for a, b in zip(found, wanted))
            result[sizes] = '' if apart <= TOLERANCE else \
                'outputs differ from dygraph by %g' % apart
        except Exception as e:
            result[sizes] = one_line(e)
    return result


def flat(outputs):
    """The float tensors of nested lists."""
    if isinstance(outputs, (list, tuple)):
        return [t for o in outputs for t in flat(o)]
    return [outputs
            ] if outputs is not None and 'float' in str(outputs.dtype) else []


def one_line(error):
    """What an error of Paddle's says is wrong, cut to 90 characters."""
    lines = [
        line.strip() for line in str(error).splitlines()
        if line.strip() and '[Hint' not in line
    ]
    told = [line for line in lines if re.search(r'Error\b|\(Invalid', line)]
    kind = type(error).__name__
    said = (told or lines or [''])[-1].replace(kind + ': ', '')
    return ('%s: %s' % (kind, said))[:90]


def git(directory, *arguments, **kwargs):
    return subprocess.run(['git', '-C', directory] + list(arguments),
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE,
                          **kwargs)


def revision(checkout, branch):
    """The branch in a checkout, local or of its origin; None if neither."""
    for name in ('refs/heads/', 'refs/remotes/origin/'):
        if git(checkout, 'rev-parse', '--verify', '--quiet',
               name + branch).returncode == 0:
            return name + branch
    return None


def extract(checkout, commit, directory):
    """A repository of its own with the Python files of ppdet."""
    found = git(checkout, 'archive', commit, '--', ':(glob)ppdet/**/*.py')
    if found.returncode:
        raise UserError("--ppdet '%s': %s holds no ppdet (%s)" %
                        (checkout, commit, found.stderr.decode().strip()))
    os.makedirs(directory)
    with tarfile.open(fileobj=BytesIO(found.stdout)) as archive:
        archive.extractall(directory)
    git(directory, 'init', '-q', check=True)
    git(directory, 'config', 'user.name', 'check', check=True)
    git(directory, 'config', 'user.email', 'check@localhost', check=True)
    git(directory, 'add', '-A', check=True)
    git(directory, 'commit', '-qm', 'base', check=True)


def called(name, directory):
    """`call` in a process with the ppdet of a directory."""
    done = subprocess.run(
        [sys.executable,
         os.path.abspath(__file__), '--call', name],
        env=dict(os.environ, PYTHONPATH=directory),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True)
    lines = done.stdout.strip().splitlines()
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ['no message'])[-1]
        return {'import': said}
    return json.loads(lines[-1])


def summary(result):
    """What failed of a call, in one line; '' if all went well."""
    return '; '.join('%s: %s' % item for item in result.items() if item[1])


def check_branch(checkout, branch, folder):
    """Rows (branch, file, patch, before, after, ok) of one branch."""
    commit = revision(checkout, branch)
    if not commit:
        return [(branch, '', '', 'no such branch here', '', False)]
    rows = []
    tree = os.path.join(folder, branch.replace('/', '_'))
    extract(checkout, commit, tree)
    for name, branches in SOUND:
        if branch in branches:
            found = summary(called(name, tree))
            rows.append((branch, name, '', found or 'passes', '', not found))
    for patch, branches, names in PATCHES:
        if branch not in branches:
            continue
        before = {name: called(name, tree) for name in names}
        applied = git(tree, 'am', '-q', os.path.join(HERE, patch))
        for name in names:
            if applied.returncode:
                after = 'git am: ' + applied.stderr.decode().strip()
            else:
                after = summary(called(name, tree))
            # Each of the three fails, and none for want of a module.
            shown = 'import' not in before[name] and all(before[name].values())
            rows.append((branch, name, patch, summary(before[name])
                         or 'passes', after or 'passes', shown and not after))
    return rows


def parse_args():
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--ppdet', help='PaddleDetection checkout')
    branches = sorted({b for p in PATCHES for b in p[1]})
    parser.add_argument('--branch',
                        choices=branches,
                        help='default: each of ' + ', '.join(branches))
    parser.add_argument('--call',
                        choices=sorted(CLASSES),
                        help='only run one call, with the ppdet on PYTHONPATH')
    args = parser.parse_args()
    if not args.call and not args.ppdet:
        parser.error('--ppdet CHECKOUT is missing')
    args.branches = [args.branch] if args.branch else branches
    return args


def main():
    args = parse_args()
    if args.call:
        print(json.dumps(call(args.call)))
        return
    if git(args.ppdet, 'rev-parse', '--git-dir').returncode:
        raise UserError("--ppdet '%s' is no git repository: name a checkout of "
                        'PaddleDetection' % args.ppdet)
    rows = []
    print('| branch | file | patch | before | after | |')
    print('|-|-|-|-|-|-|')
    with tempfile.TemporaryDirectory() as folder:
        for branch in args.branches:
            for row in check_branch(args.ppdet, branch, folder):
                rows.append(row)
                print('| %s | %s | %s | %s | %s | %s |' %
                      (row[:5] + ('ok' if row[5] else 'MISS', )),
                      flush=True)
    if not all(row[5] for row in rows):
        raise CheckFailed('%d of %d checks missed' %
                          (sum(not row[5] for row in rows), len(rows)))


if __name__ == '__main__':
    sys.exit(cli.run(main))
