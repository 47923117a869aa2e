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
"""How long AutoCompression prepares a model before it trains, with Paddle's
IrGraph and PaddleSlim's merge as they are and with
`act.compress.irgraph.fast_irgraph()` and `act.compress.merging.fast_merge()`.

    python benchmarks/preparation.py --model_dir DIR [--unpatched] [--pact]

Each way runs in a process of its own. With --unpatched, which takes minutes,
the programs and the values of their variables are compared as well; a
difference is exit code 1. Results: benchmarks/results/preparation_NAME.json.
"""

import argparse
import contextlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [
    os.path.join(ROOT, 'deploy', 'auto_compression'),
    os.path.join(ROOT, 'tests')
]

from act import runtime  # noqa: E402

QUANTIZATION = {
    'quantize_op_types': ['conv2d'],
    'onnx_format': True,
    'activation_quantize_type': 'moving_average_abs_max',
    'weight_quantize_type': 'channel_wise_abs_max',
}
PROGRAMS = ('test', 'train', 'converted')


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--model_dir',
        required=True,
        help='inference model: model.pdmodel and model.pdiparams')
    parser.add_argument(
        '--unpatched',
        action='store_true',
        help='measure Paddle as it is too, and compare the programs')
    parser.add_argument('--pact',
                        action='store_true',
                        help='quantize with use_pact: true')
    parser.add_argument('--name',
                        help="of the result (default: the model directory's)")
    parser.add_argument('--worker', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(model_dir, pact, way, path):
    """Prepare as AutoCompression does, timing each step, and write programs,
    values and seconds to a file. Wants a process of its own."""
    import logging

    import numpy as np
    paddle = runtime.import_paddle()
    from act.compress import irgraph
    from act.compress.merging import fast_merge
    from paddleslim.auto_compression import create_compressed_program as build
    from paddleslim.common.load_model import load_inference_model
    from paddleslim.common.patterns import find_final_nodes
    from paddleslim.common.recover_program import recover_inference_program
    from paddleslim.quant import quanter
    logging.disable(logging.INFO)
    paddle.enable_static()
    paddle.seed(0)
    place = paddle.CPUPlace()
    executor, scope = paddle.static.Executor(
        place), paddle.static.global_scope()
    seconds = {}

    @contextlib.contextmanager
    def step(name):
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        seconds[name] = {
            'wall': round(time.perf_counter() - wall, 2),
            'cpu': round(time.process_time() - cpu, 2)
        }

    def values(*programs):
        held = {}
        for program in programs:
            for var in program.list_vars():
                found = scope.find_var(var.name) if var.persistable else None
                if found is not None and var.name not in ('feed', 'fetch'):
                    held[var.name] = np.array(found.get_tensor())
        return held

    files = {
        'model_filename': 'model.pdmodel',
        'params_filename': 'model.pdiparams'
    }
    preprocess = {} if not pact else {
        'act_preprocess_func': quanter.pact,
        'optimizer_func': quanter.get_pact_optimizer,
        'executor': executor,
    }
    made = {'seconds': seconds}
    ways = {
        'fast': irgraph.fast_irgraph,
        'ordered': irgraph.ordered_irgraph,
        'original': contextlib.nullcontext
    }
    merge = fast_merge if way == 'fast' else contextlib.nullcontext
    with ways[way](), merge():
        with step('load'):
            program, feeds, fetches = load_inference_model(model_dir,
                                                           executor=executor,
                                                           **files)
        with step('find distillation nodes'):
            nodes = [
                prefix + var.name() for var in find_final_nodes(program)
                for prefix in ('teacher_', '')
            ]
        with step('student'):
            startup = paddle.static.Program()
            student = build.ProgramInfo(
                startup, recover_inference_program(program, startup), feeds,
                fetches)
        with step('merge teacher, add loss and optimizer'):
            distillation = {
                'teacher_model_dir': model_dir,
                'node': [],
                'loss': 'l2',
                'alpha': 1.0
            }
            distillation.update(('teacher_' + k, v) for k, v in files.items())
            train, test = build.build_distill_program(
                executor,
                place,
                distillation, {
                    'learning_rate': 1e-6,
                    'optimizer_builder': {
                        'optimizer': {
                            'type': 'SGD'
                        },
                        'weight_decay': 4e-5
                    }
                },
                student,
                default_distill_node_pair=nodes)
        with step('quantize the test program'):
            made['test'] = quanter.quant_aware(test.program,
                                               place,
                                               QUANTIZATION,
                                               scope=scope,
                                               for_test=True)
        with step('quantize the train program'):
            made['train'] = quanter.quant_aware(train.program,
                                                place,
                                                QUANTIZATION,
                                                scope=scope,
                                                return_program=True,
                                                **preprocess)
        made['values'] = values(made['test'], made['train'])
        with step('convert'):
            made['converted'] = quanter.convert(made['test'],
                                                place,
                                                QUANTIZATION,
                                                scope=scope)
        made['converted values'] = values(made['converted'])
    for kind in PROGRAMS:
        made[kind] = made[kind].desc.serialize_to_string()
    with open(path, 'wb') as f:
        pickle.dump(made, f)


def measure(arguments, way, folder):
    """Run `prepare` in a process. Returns what it wrote."""
    path = os.path.join(folder, way)
    command = [
        sys.executable,
        os.path.abspath(__file__), '--model_dir', arguments.model_dir,
        '--worker', way, path
    ] + ['--pact'] * arguments.pact
    # One thread: what is measured is Python code.
    subprocess.run(command,
                   env=dict(os.environ, OMP_NUM_THREADS='1'),
                   stderr=subprocess.DEVNULL,
                   check=True)
    with open(path, 'rb') as f:
        return pickle.load(f)


def compare(fast, original):
    """What differs, by kind of result."""
    runtime.import_paddle()
    import program_equality as equality
    names, found = [{}, {}], {}
    for kind in PROGRAMS:
        pair = [equality.parse(made[kind]) for made in (fast, original)]
        for known, program in zip(names, pair):
            known.update(equality.canonical_names(program))
        found[kind] = equality.compare(*pair)
    for kind in 'values', 'converted values':
        found[kind] = equality.compare_values(fast[kind], original[kind],
                                              *names)
    return found


def total(seconds):
    return {
        clock: round(sum(step[clock] for step in seconds.values()), 2)
        for clock in ('wall', 'cpu')
    }


def main():
    arguments = parse_arguments()
    if arguments.worker:
        way, path = arguments.worker
        prepare(arguments.model_dir, arguments.pact, way, path)
        return 0
    name = arguments.name or os.path.basename(
        os.path.abspath(arguments.model_dir)) + '_pact' * arguments.pact
    record = {
        'model': name,
        'quantization': dict(QUANTIZATION, use_pact=arguments.pact),
        'threads': 1,
        'environment': runtime.environment(),
        'load_average_before': os.getloadavg(),
        'seconds': {},
    }
    with tempfile.TemporaryDirectory() as folder:
        made = {'fast': measure(arguments, 'fast', folder)}
        if arguments.unpatched:
            # With PACT the gradient that a threshold gets depends on addresses,
            # so the program is compared with that of a fixed order.
            way = 'ordered' if arguments.pact else 'original'
            made[way] = measure(arguments, way, folder)
            record['differences'] = compare(made['fast'], made[way])
            record['equal'] = not any(record['differences'].values())
    for way, result in made.items():
        record['seconds'][way] = dict(result['seconds'],
                                      total=total(result['seconds']))
    path = os.path.join(HERE, 'results', 'preparation_%s.json' % name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        json.dump(record, f, indent=2)
        f.write('\n')
    for step in record['seconds']['fast']:
        print('%-40s' % step +
              '  '.join('%s %8.2f s (cpu %8.2f s)' %
                        (way, seconds[step]['wall'], seconds[step]['cpu'])
                        for way, seconds in record['seconds'].items()))
    if arguments.unpatched:
        print('programs and values equal: %s' % record['equal'])
    print('written: %s' % path)
    return 0 if record.get('equal', True) else 1


if __name__ == '__main__':
    sys.exit(main())
