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
from typing import Any, Dict, List, Optional, Set, Tuple

import yaml

from . import runtime, weights
from .config import Settings
from .errors import UserError, nearest, unknown
from .files import (
    check_writable,
    replace_directory,
    work_directory,
    writing,
)
from .postprocess import WITH_NMS, form_of
from .program.fold import Folded, fold
from .program.model import Model, ModelFiles

FILES = ('model.pdmodel', 'model.pdiparams', 'infer_cfg.yml')
# Keys that ppdet asks for and that a configuration need not hold.
OPTIONAL = ('use_gpu', 'use_npu', 'use_xpu', 'use_mlu', 'fuse_normalize',
            'filename', 'weights', 'metric', 'num_classes', 'export')


@dataclass(frozen=True)
class Exported:
    """The files written, and what folding did if a size was asked for."""
    files: List[str]
    folded: Optional[Folded] = None


def configured(settings: Settings) -> Tuple[str, str, Dict[str, Any]]:
    """What a compression YAML's model is exported from.

    Returns:
        the ppdet configuration, the model directory, and options for
        `export_model`.

    Raises:
        UserError: the YAML has no Export section.
    """
    export = settings.Export
    if export is None:
        raise UserError("'%s' has no Export section; export the model with -c "
                        'PPDET_CONFIG' % settings.path)
    return export.config, settings.Global.model_dir, dict(
        export.options, weights=export.weights)


def export_model(config_path: str,
                 save_dir: str,
                 options: Dict[str, Any],
                 ppdet_dir: str = '',
                 input_size: Optional[Tuple[int, int]] = None,
                 random_weights: bool = False) -> Exported:
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
        random_weights: draw the weights with a fixed seed, those too that
            training would begin with at one value.

    Raises:
        UserError: bad configuration or weights, an NMS that was to be left
            out and was not, class names whose number is not the model's, or a
            size that the network does not take.
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
    known = set(cfg).union(OPTIONAL, _shared_keys(cfg, cfg.get('architecture')))
    for key in options:
        if key not in known:
            # Where none is alike, its 300 modules do not help.
            plain = {k for k in known if not hasattr(cfg.get(k), 'schema')}
            raise unknown('key', key, known if nearest(key, known) else plain,
                          '-o')
    merge_config(options)
    if not cfg.get('architecture'):
        raise UserError("'%s' is no ppdet configuration: key 'architecture' "
                        "is missing" % config_path)
    if not cfg.get('weights') and not random_weights:
        raise UserError("no weights: give -o weights=FILE_OR_URL")
    path = None if random_weights else weights.locate(cfg.weights)
    if input_size:
        _fix_size(cfg['TestReader'], input_size)
    paddle.set_device('gpu' if cfg.get('use_gpu')
                      and paddle.is_compiled_with_cuda() else 'cpu')
    if random_weights:
        paddle.seed(0)
    try:
        trainer = Trainer(cfg, mode='test')
    except Exception as e:
        raise UserError(
            "ppdet configuration '%s' and -o make no model: %s; look at the "
            'key that this names' % (config_path, _first_line(e))) from None
    if path is not None:
        weights.load(trainer.model, path)
    else:
        _draw_constants(trainer.model)

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
        _check_form(model, cfg)
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


def _draw_constants(model: Any) -> None:
    """Draw the matrices that are initialised with one value, as prediction
    layers are with 0: they could not be quantized, and would be timed in
    float."""
    from paddle.nn.initializer import Normal
    for parameter in model.parameters():
        value = parameter.numpy()
        if value.ndim > 1 and (value == value.flat[0]).all():
            Normal(0.0, 0.01)(parameter)


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


def _check_form(model: Model, cfg: Any) -> None:
    """Raise UserError if NMS was to be left out and was not: each architecture
    has its own key for it, and ignores the others'."""
    form = form_of([tuple(v.shape) for v in model.outputs()])
    export = cfg.get('export') or {}
    if form == WITH_NMS and not export.get('nms', True):
        raise UserError(
            'export.nms=False has no effect on architecture %s: the model '
            'holds its NMS; PP-YOLOE leaves it out with exclude_nms=True' %
            cfg.architecture)


def _shared_keys(cfg: Any, name: Any, above: Tuple[str, ...] = ()) -> Set[str]:
    """Keys at the top of a configuration that a module takes, or a module that
    it is built of: width_mult, exclude_nms. They need not stand there."""
    name = name.get('name') if isinstance(name, dict) else name
    module = cfg.get(name) if isinstance(name, str) else None
    if not hasattr(module, 'schema') or name in above:
        return set()
    return set(module.shared).union(*(_shared_keys(cfg, part, above + (name, ))
                                      for part in module.values()))


def _first_line(error: BaseException) -> str:
    """An error of another library's in one line, its kind included: ppdet's
    KeyErrors say only the key."""
    said = [line for line in str(error).splitlines() if line.strip()]
    return '%s: %s' % (type(error).__name__, said[0].strip() if said else '')
