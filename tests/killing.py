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
"""Runs of run.py that SIGKILL ends at a moment of choice, and by several
processes, for tests and benchmarks."""

import glob
import json
import os
import signal
import subprocess
import sys
import time

from act.files import file_digest

# What lies in the directory of results while a step goes on.
STEPS = {
    'checkpoint': 'run_checkpoints/.checkpoint_*',
    'convert': '.compress_*/.convert_*',
    'result': '.compress_*/result/model.pdmodel',
}


class Halt:
    """A moment at which a process stands still: a signal does not come too late
    there, however busy the machine is."""

    def __init__(self, flag, said='', made='', count=1):
        """
        Args:
            flag: a file that is there while it stands still.
            said: what it prints then, or
            made: a pattern of the file or directory that it makes, or opens
                for writing, then.
            count: how often that comes until then.
        """
        self.flag = flag
        moment = dict(flag=flag, said=said, made=made, count=count)
        place = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                             'halting')
        self.env = dict(os.environ,
                        HALT=json.dumps(moment),
                        PYTHONPATH=os.pathsep.join(
                            filter(None,
                                   [place, os.environ.get('PYTHONPATH')])))

    def wait(self, process):
        """
        Raises:
            AssertionError: the process has ended before.
        """
        while not os.path.exists(self.flag):
            assert process.poll() is None, 'the moment never came'
            time.sleep(0.01)

    def go(self):
        os.remove(self.flag)

    def send(self, process, number=signal.SIGKILL):
        """Send the signal at that moment, and wait for the end."""
        self.wait(process)
        process.send_signal(number)
        self.go()
        process.wait()


def start(arguments, place, log, halt=None):
    """Start run.py (or what `arguments` begins with) with the result directory
    'run' below `place`, to stand still at a `Halt`."""
    os.makedirs(place, exist_ok=True)
    with open(log, 'ab') as f:
        return subprocess.Popen(
            [sys.executable, *arguments, '--save_dir', 'run'],
            cwd=place,
            env=halt and halt.env,
            stdin=subprocess.DEVNULL,
            stdout=f,
            stderr=subprocess.STDOUT)


def kill_at(process, place, log, moment):
    """Kill a process at a moment: seconds, a key of STEPS, or what its log
    says; wait for its end. Returns whether it was still running."""
    begin = time.monotonic()

    def come():
        if not isinstance(moment, str):
            return time.monotonic() - begin >= moment
        if moment in STEPS:
            return glob.glob(os.path.join(place, STEPS[moment]))
        with open(log, 'rb') as f:
            return moment.encode() in f.read()

    while process.poll() is None:
        if come():
            process.kill()
            process.wait()
            return True
        time.sleep(0.005)
    return False


def result(place):
    """{file: digest} of the models and the log of a finished run."""
    names = [
        os.path.join(directory, name) for directory in ('', 'last')
        for name in ('model.pdmodel', 'model.pdiparams')
    ]
    found = {n: file_digest(os.path.join(place, 'run', n)) for n in names}
    with open(os.path.join(place, 'run', 'train_log.csv'),
              encoding='utf-8') as f:
        # Without images a second.
        found['log'] = [line.rsplit(',', 1)[0] for line in f]
    return found


def leftovers(place):
    """What lies beside the result."""
    return sorted(set(os.listdir(place)) - {'run'})


def launch(processes, *script):
    """Arguments of python that start a script in several processes."""
    return [
        '-m', 'paddle.distributed.launch', '--nproc_per_node',
        str(processes), '--log_dir', 'log', *script
    ]


def process_of(rank, launcher):
    """The process that launch started for a rank."""
    for name in os.listdir('/proc'):
        try:
            with open('/proc/%s/stat' % name) as f:
                parent = int(f.read().rsplit(')', 1)[1].split()[1])
            with open('/proc/%s/environ' % name, 'rb') as f:
                wanted = b'PADDLE_TRAINER_ID=%d' % rank in f.read().split(b'\0')
        except (OSError, IndexError, ValueError):
            continue
        if wanted and parent == launcher.pid:
            return int(name)
    raise AssertionError('rank %d is not there' % rank)
