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
"""A ppdet configuration and trained weights -> an inference model."""

import logging
import os
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

import yaml

from . import runtime
from .errors import UserError, unknown
from .files import (
    check_writable,
    replace_directory,
    work_directory,
    writing,
)
from .program.fold import Folded, fold
from .program.model import Model, ModelFiles

FILES = ('model.pdmodel', 'model.pdiparams', 'infer_cfg.yml')
# Keys that ppdet asks for and that a configuration need not hold.
OPTIONAL = ('use_gpu', 'use_npu', 'use_xpu', 'use_mlu', 'fuse_normalize',
            'filename', 'weights', 'metric', 'num_classes', 'export')


def load_weights(model: Any, weights: str) -> None:
    """Load weights, all of them or none.

    ppdet's own loader drops what does not fit with a log line, and exports a
    detector whose head is random.

    Raises:
        UserError: no such file, not weights, or not this model's.
    """
    import numpy as np
    import paddle
    from ppdet.utils.checkpoint import is_url
    from ppdet.utils.download import get_weights_path
    path = weights
    if is_url(weights):
        try:
            path = get_weights_path(weights)
        except (Exception, SystemExit) as e:
            raise UserError("weights '%s' cannot be downloaded (%s); fetch the "
                            "file yourself and give -o weights=FILE" %
                            (weights, str(e).splitlines()[0]
                             if str(e) else 'no connection')) from None
    if not path.endswith('.pdparams'):
        path += '.pdparams'
    if not os.path.isfile(path):
        raise UserError("weights '%s' do not exist; give a .pdparams file or "
                        "a URL with -o weights=..." % path)
    try:
        state = paddle.load(path)
        state = {k: np.asarray(v) for k, v in state.items()}
    except Exception as e:
        raise UserError(
            "weights '%s' cannot be read: %s" %
            (path,
             (str(e).strip().splitlines() or [type(e).__name__])[0])) from None
    wanted = model.state_dict()
    missing = [k for k in wanted if k not in state]
    wrong = [
        k for k in wanted
        if k in state and tuple(state[k].shape) != tuple(wanted[k].shape)
    ]
    if missing or wrong:
        name = (wrong or missing)[0]
        what = "'%s' is %s, the model wants %s" % (
            name, list(state[name].shape),
            list(wanted[name].shape)) if wrong else "'%s' is not there" % name
        raise UserError(
            "weights '%s' are of another model: %d of %d parameters do not "
            "fit, %s; check the configuration and -o num_classes=..." %
            (path, len(missing) + len(wrong), len(wanted), what))
    model.set_state_dict({
        k: paddle.to_tensor(state[k]).astype(v.dtype)
        for k, v in wanted.items()
    })


@dataclass(frozen=True)
class Exported:
    """The files written, and what folding did if a size was asked for."""
    files: List[str]
    folded: Optional[Folded] = None


def export_model(config_path: str,
                 save_dir: str,
                 options: Dict[str, Any],
                 ppdet_dir: str = '',
                 input_size: Optional[Tuple[int, int]] = None) -> Exported:
    """Export a detector as PaddleDetection's tools/export_model.py does.

    One call a process: ppdet merges every configuration it loads into one
    global state.

    Args:
        config_path: ppdet configuration.
        save_dir: directory that will hold FILES; replaced whole, at the end.
        options: laid over the configuration; `weights` names the weights.
        ppdet_dir: a PaddleDetection checkout to use instead of the package.
        input_size: height and width of the one image that the model takes;
            what depends on them alone is folded, see `act.program.fold`.
            None: what the configuration says.

    Raises:
        UserError: bad configuration or weights, class names whose number
            is not the model's, or a size that the network does not take.
    """
    if not os.path.isfile(config_path):
        raise UserError(
            "ppdet configuration '%s' does not exist; name one with -c, as "
            'those of configs/models/' % config_path)
    what = "--save_dir '%s'" % save_dir
    check_writable(save_dir, what, directory=True)
    runtime.import_ppdet(ppdet_dir or None)
    import paddle
    from ppdet.core.workspace import load_config, merge_config
    from ppdet.engine import Trainer
    for name in list(logging.root.manager.loggerDict):
        if name.startswith('ppdet'):
            logging.getLogger(name).setLevel(logging.ERROR)
    try:
        cfg = load_config(config_path)
    except Exception as e:  # ppdet checks nothing before it uses it
        raise UserError("ppdet configuration '%s' cannot be read: %s" %
                        (config_path, _first_line(e))) from None
    for key in options:
        if key not in cfg and key not in OPTIONAL:
            raise unknown('key', key, set(cfg) | set(OPTIONAL), '-o')
    merge_config(options)
    if not cfg.get('architecture'):
        raise UserError("'%s' is no ppdet configuration: key 'architecture' "
                        "is missing" % config_path)
    if not cfg.get('weights'):
        raise UserError("no weights: give -o weights=FILE_OR_URL")
    if input_size:
        _fix_size(cfg['TestReader'], input_size)
    paddle.set_device('gpu' if cfg.get('use_gpu')
                      and paddle.is_compiled_with_cuda() else 'cpu')
    try:
        trainer = Trainer(cfg, mode='test')
    except Exception as e:
        raise UserError(
            "ppdet configuration '%s' and -o make no model: %s; look at the "
            'key that this names' % (config_path, _first_line(e))) from None
    load_weights(trainer.model, cfg.weights)

    with writing(what), work_directory(save_dir, '.export_') as work:
        try:
            trainer.export(work)
        except Exception as e:
            if not input_size:
                raise
            raise UserError('--input_size %d %d: the network cannot be built '
                            'for this size (%s); try a multiple of 32' %
                            (*input_size, _first_line(e))) from None
        made = os.path.join(work, cfg.filename)
        model = Model.load_written(ModelFiles(made), what)
        folded = None
        if input_size:
            folded = _fold(model, input_size)
        with open(os.path.join(made, 'infer_cfg.yml')) as f:
            labels = yaml.safe_load(f)['label_list']
        if len(labels) != int(cfg.num_classes):
            raise UserError(
                "the model has %d classes, its TestDataset names %d: set "
                "TestDataset.anno_path in '%s' to your annotation file or a "
                "list of names" % (cfg.num_classes, len(labels), config_path))
        whole = os.path.join(work, 'whole')
        if folded:
            model.save(ModelFiles(whole))
            moved = FILES[2:]
        else:
            os.makedirs(whole)
            moved = FILES
        for name in moved:
            os.replace(os.path.join(made, name), os.path.join(whole, name))
        replace_directory(whole, save_dir)
    return Exported([os.path.join(save_dir, name) for name in FILES], folded)


def _fix_size(reader: Any, size: Tuple[int, int]) -> None:
    """Give a TestReader one size. Deployment resizes as it says, so that it
    must not keep an image's ratio."""
    reader['inputs_def'] = dict(reader.get('inputs_def') or {},
                                image_shape=[1, 3, *size])
    for transform in reader.get('sample_transforms') or []:
        if 'Resize' in transform:
            transform['Resize'].update(target_size=list(size), keep_ratio=False)


def _fold(model: Model, size: Tuple[int, int]) -> Folded:
    """Fold a model for one image of this size."""
    block = model.program.global_block()
    shapes = {}
    for name in model.inputs():
        shape = list(block.var(name).shape)
        # ppdet leaves the batch open, whatever the configuration says.
        shapes[name] = [1, 3, *size] if len(shape) == 4 else [1] + shape[1:]
    return fold(model, shapes)


def _first_line(error: BaseException) -> str:
    """An error of another library's in one line, its kind included: ppdet's
    KeyErrors say only the key."""
    said = [line for line in str(error).splitlines() if line.strip()]
    return '%s: %s' % (type(error).__name__, said[0].strip() if said else '')
