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
"""Why a deployed model is slow.

Examples:
    python diagnose.py profile --model_path output/picodet_s_320_lcnet_qat \\
        --compare inference_model/picodet_s_320_lcnet_demo
    python diagnose.py profile --help
"""

import argparse
import sys

from act import cli


def parse_args() -> argparse.Namespace:
    parser = cli.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest='task', required=True, metavar='TASK')
    profile = commands.add_parser(
        'profile',
        help='where the time goes, by operator and layer, and why',
        description='Where the time of a deployed model goes, by operator and '
        'by layer, what really ran, and why it is slow.')
    cli.add_model(profile)
    profile.add_argument(
        '--compare',
        metavar='MODEL_DIR',
        type=cli.path,
        help='reference model, as the float one: profiled beside it')
    profile.add_argument('--runs',
                         type=cli.positive,
                         default=20,
                         help='that are timed (default: 20)')
    profile.add_argument('--output_dir',
                         type=cli.path,
                         default='output/profile',
                         help='for picture and record (default: '
                         'output/profile)')
    profile.add_argument('--output_json',
                         type=cli.path,
                         help='file for the record')
    cli.add_overrides(profile, 'the YAML')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from act import deployed, files
    from act.profile import run
    from act.program import faster
    settings, model_path = deployed.find(args.config_path, args.model_path,
                                         cli.parse_overrides(args.opt),
                                         args.reader_config)
    files.check_outputs(args.output_dir, args.output_json)
    options = run.Options(precision=args.precision,
                          use_mkldnn=args.use_mkldnn,
                          threads=args.cpu_threads,
                          batch_size=args.batch_size,
                          runs=args.runs,
                          output_dir=args.output_dir,
                          output_json=args.output_json,
                          rewrites=faster.chosen(args.no_rewrite))
    run.profile(settings, model_path, options, sys.argv, args.compare)


if __name__ == '__main__':
    sys.exit(cli.run(main))
