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
"""Which images span the shapes of a model's tensors, and what it takes to find
them.

For the data set's own sizes, and for 5000 drawn from them with some of extreme
ratio: how many images are needed, the time to find them, and what the published
rule of four images (least height, least width, greatest width where the height
is the shorter side's target, greatest height where the width is) leaves out.

With --config_path: a range file is collected for that model, another of the
images that the published rule takes, and one without the input of most tokens;
recorded is what of the data each refuses. Files are left in --output_dir.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from typing import Any, Dict, List, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROJECT = os.path.join(ROOT, 'deploy', 'auto_compression')
sys.path.insert(0, PROJECT)

import record  # noqa: E402
from act import cli  # noqa: E402

# Ratios of sides that are added to those of a data set.
RATIOS = (1.0, 2.5, 3.3, 4.2, 5.9, 7.7)

BOXES = 7  # an image of COCO val2017 has 7.4 on average


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument('--reader',
                        default='dino_800',
                        help='of configs/readers, with keep_ratio')
    parser.add_argument('--dataset_dir', required=True, help='COCO layout')
    parser.add_argument('--drawn', type=cli.positive, default=5000)
    parser.add_argument('--rounds', type=cli.positive, default=5)
    parser.add_argument('--config_path',
                        type=cli.path,
                        help='YAML of an exported model')
    parser.add_argument('--model_path', type=cli.path)
    parser.add_argument('--output_dir',
                        type=cli.path,
                        default=os.path.join(ROOT, 'output', 'shape_ranges'))
    parser.add_argument('--output_json',
                        default=os.path.join(ROOT, 'benchmarks', 'results',
                                             'shape_ranges.json'))
    return parser.parse_args()


def published(sizes: Any, short: int) -> List[int]:
    """The images of the published rule: indices into (N, 2) input sizes."""
    import numpy as np
    height, width = sizes.T
    found = [int(height.argmin()), int(width.argmin())]
    for fixed, free in ((height, width), (width, height)):
        at = np.flatnonzero(fixed == short)
        if len(at):
            found.append(int(at[free[at].argmax()]))
    return sorted(set(found))


def left_out(sizes: Any, chosen: Sequence[int]) -> List[str]:
    """What of the data some inputs do not span, in words."""
    from act.shapes import levels
    names, values = levels.quantities(levels.as_runs(sizes))
    some = values[:, chosen]
    missing = []
    for name, every, found in zip(names, values, some):
        if (every.min(), every.max()) != (found.min(), found.max()):
            missing.append(
                '%s: %d to %d of %d to %d' %
                (name, found.min(), found.max(), every.min(), every.max()))
    return missing


def annotation_file(path: str, sizes: Any) -> str:
    """An annotation file of images of these heights and widths, with as many
    boxes as COCO's images have on average."""
    listed = [{
        'id': at + 1,
        'file_name': '%d.jpg' % at,
        'height': h,
        'width': w
    } for at, (h, w) in enumerate(sizes.tolist())]
    with open(path, 'w', encoding='utf-8') as f:
        json.dump(
            {
                'images':
                listed,
                'annotations': [{
                    'id': at + 1,
                    'image_id': 1 + at // BOXES,
                    'category_id': 1,
                    'bbox': [10.5, 20.5, 30.25, 40.75],
                    'area': 1232.6875,
                    'iscrowd': 0
                } for at in range(BOXES * len(listed))],
                'categories': [{
                    'id': 1,
                    'name': 'one'
                }]
            }, f)
    return path


def draw(sizes: Any, count: int) -> Any:
    """Sizes drawn from others, one in a hundred of them of extreme ratio."""
    import numpy as np
    random = np.random.default_rng(0)
    drawn = sizes[random.integers(0, len(sizes), count)]
    extreme = np.flatnonzero(random.random(count) < 0.01)
    long = random.integers(500, 1200, len(extreme))
    short = long / random.choice(RATIOS, len(extreme))
    turned = np.stack([long, short.round().astype(int)], 1)
    turned[::2] = turned[::2, ::-1]
    drawn[extreme] = turned
    return drawn


def measure(name: str, rule: Any, sizes: Any, rounds: int) -> Dict[str, Any]:
    """One row: the cover of some image sizes, timed from their annotation
    file."""
    import numpy as np
    from act import annotations
    from act.shapes.cover import cover
    with tempfile.TemporaryDirectory() as work:
        path = annotation_file(os.path.join(work, 'found.json'), sizes)
        times: Dict[str, List[float]] = {'read': [], 'find': []}
        for _ in range(rounds):
            start = time.perf_counter()
            content = annotations.read(path)
            images = np.array([(i['height'], i['width'])
                               for i in content['images']])
            read = time.perf_counter()
            made = rule.sizes(*images.T)
            chosen = cover(made)
            times['find'].append(time.perf_counter() - read)
            times['read'].append(read - start)
    theirs = published(made, rule.steps[0].short)
    row = {
        'sizes': name,
        'images': len(sizes),
        'distinct_inputs': len(np.unique(made, axis=0)),
        'needed': len(chosen),
        'inputs': made[chosen].tolist(),
        'read_seconds': float(np.median(times['read'])),
        'find_seconds': float(np.median(times['find'])),
        'published_images': len(theirs),
        'published_inputs': made[theirs].tolist(),
        'published_leaves_out': left_out(made, theirs),
        'ours_leaves_out': left_out(made, chosen),
    }
    print('%s: %d of %d images, %.3f s; the published rule leaves out %d' %
          (name, len(chosen), len(sizes), row['read_seconds'] +
           row['find_seconds'], len(row['published_leaves_out'])),
          flush=True)
    return row


def headers(records: Sequence[Any], rounds: int) -> Dict[str, Any]:
    """Time to read sizes from the images, and how many differ from what the
    annotation files say."""
    import numpy as np
    from act.shapes import sizes
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        found, _ = sizes.measured(records)
        times.append(time.perf_counter() - start)
    return {
        'images': len(records),
        'milliseconds_an_image': 1e3 * float(np.median(times)) / len(records),
        'differing': int((found != sizes.annotated(records)).any(1).sum())
    }


def cpu_seconds() -> float:
    """CPU time of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def collected(args: argparse.Namespace, reader: Any,
              records: Sequence[Any]) -> Dict[str, Any]:
    """Range files of a model, and what they refuse."""
    import numpy as np
    from act import config, data, runtime
    from act.program.model import Model, ModelFiles
    from act.shapes import collect, inputs, ranges, rule
    from act.shapes.cover import cover
    settings = config.load(args.config_path)
    settings.Reader = reader[0]
    files = ModelFiles.named(settings.Global, args.model_path
                             or settings.Global.model_dir)
    made = rule.of(reader[1])
    found = inputs.of_images(records, reader[1].bad, made, 1)
    sizes = found.runs[:, 1:]
    tokens = sum(np.prod(-(-sizes // s), 1) for s in (8, 16, 32, 64))
    choices = {
        'ours':
        cover(sizes),
        'published':
        published(sizes, made.steps[0].short),
        'without the most tokens':
        [i for i in cover(sizes) if tokens[i] < tokens.max()],
    }
    wanted = sorted({tuple(sizes[i]) for c in choices.values() for i in c})
    at = {
        tuple(size): index
        for index, size in reversed(list(enumerate(map(tuple, sizes))))
    }
    names = Model.load(files).inputs()
    start, before = time.perf_counter(), cpu_seconds()
    runs = dict(
        zip(
            wanted,
            collect.run(files, [
                data.feed(found.feed(at[size], reader[1].pipeline), names,
                          settings.Global.input_mapping, settings.path)
                for size in wanted
            ], runtime.cpu_count())))
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - before
    os.makedirs(args.output_dir, exist_ok=True)
    rows, best = [], None
    for name, chosen in choices.items():
        keys = [tuple(sizes[i]) for i in chosen]
        meta = ranges.Meta(files.digest(), runtime.PADDLE, 'data', 'image',
                           [(1, int(h), int(w)) for h, w in keys])
        file = ranges.RangeFile(
            os.path.join(args.output_dir,
                         name.replace(' ', '_') + '.pbtxt'),
            ranges.merge([runs[k] for k in keys]), meta,
            'python paddle_inference_eval.py --collect_shapes_only')
        best = best or file
        with open(file.path, 'w', encoding='utf-8') as f:
            f.write(ranges.text_of(file))
        narrower = [
            n for n, r in file.ranges.items()
            if (r.min_shape, r.max_shape) != (best.ranges[n].min_shape,
                                              best.ranges[n].max_shape)
        ]
        refused = [
            i for i, size in enumerate(sizes)
            if ranges.outside(file, np.array([[1, *size]])) or any(
                not a <= b <= c
                for a, b, c in zip(file.ranges['image'].min_shape[2:], size,
                                   file.ranges['image'].max_shape[2:]))
        ]
        said = None
        if refused:
            worst = max(refused, key=lambda i: tokens[i])
            try:
                ranges.check_input(
                    file, {'image': (1, 3, *sizes[worst])},
                    'image %r' % os.path.basename(records[worst].path))
            except ranges.Refused as e:
                said = e.why
        rows.append({
            'images': name,
            'inputs': [list(map(int, k)) for k in keys],
            'variables': len(file.ranges),
            'narrower_than_ours': len(narrower),
            'first_of_them': narrower[:3],
            'refused_images': len(refused),
            'refusal_of_the_largest': said,
        })
        print('%s: %d inputs, %d of %d images refused, %d variables narrower' %
              (name, len(keys), len(refused), len(sizes), len(narrower)),
              flush=True)
    return {
        'model': settings.name,
        'inputs_run': len(wanted),
        'seconds': seconds,
        'cpu_seconds': cpu,
        'files': rows
    }


def main() -> None:
    args = parse_args()
    os.chdir(PROJECT)
    from act import config, data, files, runtime
    from act.shapes import rule, sizes
    section = config.ReaderSection(file='configs/readers/%s.yml' % args.reader,
                                   dataset_dir=args.dataset_dir)
    reader = data.open_reader(section)
    made = rule.of(reader)
    records = [*reader.train().records, *reader.val().records]
    real = sizes.annotated(records)
    rows = [
        measure('of the data set', made, real, args.rounds),
        measure('drawn from them, 1% of extreme ratio', made,
                draw(real, args.drawn), args.rounds),
    ]
    result = {
        'covers': rows,
        'headers': headers(records, args.rounds),
    }
    if args.config_path:
        result['collected'] = collected(args, (section, reader), records)
    files.write_whole(args.output_json,
                      (json.dumps(dict(runtime.environment(),
                                       command=record.command(sys.argv),
                                       reader=args.reader,
                                       **result),
                                  indent=1) + '\n').encode())


if __name__ == '__main__':
    sys.exit(cli.run(main))
